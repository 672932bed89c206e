"""The Secrets that ``make-secret`` prints, and what a workload is told with them."""

import os
import subprocess
from functools import cache

import yaml

from tests.support.kubernetes.rendering import FOLDER
from tests.support.kubernetes.workloads import FromPod, FromSecret, Workload

Secrets = dict[str, dict[str, str]]
"""The values of the Secret by their keys, for each namespace."""


def made_secrets(**environment: str) -> Secrets:
    """New ones."""
    made = subprocess.run(
        [FOLDER / "make-secret"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    documents = list(yaml.safe_load_all(made.stdout))
    assert {(each["kind"], each["metadata"]["name"]) for each in documents} == {("Secret", "crucible")}
    return {each["metadata"]["namespace"]: each["stringData"] for each in documents}


@cache
def secrets() -> Secrets:
    """Those of all tests."""
    return made_secrets()


def told(workload: Workload) -> dict[str, str]:
    """What its process finds in its environment, with the Secret's values in it."""
    own = {"metadata.name": f"{workload.name}-abc12", **_labels(workload)}
    found = {}
    for name, value in workload.environment.items():
        match value:
            case FromSecret(key):
                found[name] = secrets()[workload.namespace][key]
            case FromPod(path):
                found[name] = own[path]
            case _:
                found[name] = value
    return found


def _labels(workload: Workload) -> dict[str, str]:
    return {f"metadata.labels['{name}']": value for name, value in workload.labels.items()}
