"""The table of threats in the document on security names tests that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROW = re.compile(r"^\| (\d+) \|.*$", re.MULTILINE)
REFERENCE = re.compile(r"`((?:[\w/]+/)?test_\w+\.py)::(test_\w+)`")
THREATS = 57
HERE = "contract/sandbox"


def rows() -> dict[int, str]:
    text = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    return {int(found[1]): found[0] for found in ROW.finditer(text)}


def test_every_threat_has_a_row() -> None:
    assert sorted(rows()) == list(range(1, THREATS + 1))


@pytest.mark.parametrize("number", range(1, THREATS + 1))
def test_a_threat_is_held_by_tests_that_exist(number: int) -> None:
    named = REFERENCE.findall(rows()[number])
    assert named
    for file, test in named:
        path = ROOT / "tests" / (file if "/" in file else f"{HERE}/{file}")
        assert re.search(rf"^(async )?def {test}\(", path.read_text(encoding="utf-8"), re.MULTILINE), test
