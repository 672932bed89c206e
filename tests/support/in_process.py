"""The command line inside the test's own process: without a start of Python."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from cli.main import main
from tests.support.command_line import Done

Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Run]:
    """Runs ``crucible`` with these words; settings are given by keyword, without ``CRUCIBLE_``."""
    monkeypatch.setenv("CRUCIBLE_HOME", str(tmp_path / "home"))

    def run_main(*words: str | Path, **settings: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["crucible", *map(str, words)])
        with monkeypatch.context() as given:
            for name, value in settings.items():
                given.setenv(f"CRUCIBLE_{name}", value)
            with pytest.raises(SystemExit) as ended:
                main()
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    yield run_main
    structlog.reset_defaults()
