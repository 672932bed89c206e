"""What Kustomize makes of ``deployments/kubernetes``; Kustomize itself, nothing that stands for it."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[3] / "deployments" / "kubernetes"
EXAMPLE = FOLDER / "overlays" / "example"

Resource = dict[str, Any]

_OLDEST = 5
"""Kustomize's major version."""


@dataclass(frozen=True)
class Cluster:
    """All resources of one rendering."""

    resources: tuple[Resource, ...]

    def of_kind(self, *kinds: str) -> Iterator[Resource]:
        """Those of these kinds."""
        return (each for each in self.resources if each["kind"] in kinds)

    def get(self, kind: str, name: str) -> Resource:
        """The one of that kind and name."""
        (found,) = (each for each in self.of_kind(kind) if each["metadata"]["name"] == name)
        return found


@cache
def rendered(*components: str, overlay: Path | None = None) -> Cluster:
    """The base with ``components``, or an overlay as it is; skips the test where there is no Kustomize."""
    if overlay is not None:
        return _built(overlay)
    with TemporaryDirectory() as folder:
        to = os.path.relpath(FOLDER, Path(folder).resolve())
        text = {"resources": [f"{to}/base"], "components": [f"{to}/components/{name}" for name in components]}
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(text))
        return _built(Path(folder).resolve())


def _built(folder: Path) -> Cluster:
    built = subprocess.run([*_kustomize(), folder], capture_output=True, text=True, check=False, timeout=60)
    assert built.returncode == 0, built.stderr
    assert built.stderr == ""  # nothing that is out of date
    return Cluster(tuple(yaml.safe_load_all(built.stdout)))


@cache
def _kustomize() -> tuple[str, ...]:
    """The command that renders a folder: that of kustomize, else the one inside kubectl."""
    if _major("kustomize", "version") >= _OLDEST:
        return ("kustomize", "build")
    if _major("kubectl", "version", "--client") >= _OLDEST:
        return ("kubectl", "kustomize")
    pytest.skip("no Kustomize 5 here: install kubectl 1.27 or newer, or kustomize")


def _major(*asked: str) -> int:
    if shutil.which(asked[0]) is None:
        return 0
    said = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=60).stdout
    found = re.search(r"(?:^|Kustomize Version: )v(\d+)\.", said)
    return int(found[1]) if found else 0
