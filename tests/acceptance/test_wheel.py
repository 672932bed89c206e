"""What an installation has that was not made from a source tree: all of it, or a page would be missing."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.composition import ROOT

PACKAGES = ("api", "cli", "corpora", "crucible", "deployments", "executors", "flows", "tasks")
LEFT_OUT = tuple(f"deployments/{each}" for each in ("compose", "images", "kubernetes", "monitoring"))
"""What is for those who have the source."""


def contents(folder: Path) -> set[str]:
    """The files of all packages in ``folder``, but not what Python makes of them."""
    found = (path for name in PACKAGES for path in (folder / name).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)) for path in found if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment in which nothing but Crucible's wheel is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip(sys.executable, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (wheel,) = folder.glob("*.whl")
    pip(environment / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    return next(environment.glob("lib/python3.*/site-packages"))


def pip(python: object, *words: object) -> None:
    """A command of this environment's pip, for the environment of ``python``."""
    command = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", *words]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_holds_every_template_script_and_migration(installed: Path) -> None:
    wanted = {path for path in contents(ROOT) if not path.startswith(LEFT_OUT)}
    assert any(path.startswith("api/dashboard/static/") for path in wanted)
    assert contents(installed) == wanted


def test_the_images_lock_is_a_part_of_the_whole_lock() -> None:
    whole, runtime = (
        {line.split()[0] for line in (ROOT / name).read_text().splitlines() if "==" in line[:60]}
        for name in ("requirements.lock", "requirements-runtime.lock")
    )
    assert runtime - whole == set()
    assert {"pytest", "mypy", "ruff", "playwright"} & {pin.partition("==")[0] for pin in runtime} == set()
