"""What a sandbox adds, from how long single runs took."""

import pytest

from bench.sandboxes import Way, grids, ratios


def way(milliseconds: float, per_second: float = 10.0) -> Way:
    """A way whose runs took evenly more, around ``milliseconds``."""
    return Way(tuple(milliseconds * (0.5 + step / 100) / 1000 for step in range(101)), per_second)


WAYS = {
    "bare": way(10, 100.0),
    "process sandbox": way(14, 70.0),
    "prewarmed Docker": way(25, 4.0),
    "cold docker run": way(500),
}


def test_percentiles_are_in_milliseconds() -> None:
    assert [round(WAYS["bare"].percentile_ms(each), 3) for each in (50, 95, 99)] == [10.0, 14.5, 14.9]


def test_ratios_are_those_that_were_asked_for() -> None:
    found = {each.name: (round(each.value, 2), each.is_met) for each in ratios(WAYS)}
    assert found == {
        "process sandbox / bare, p50": (1.4, True),
        "prewarmed Docker / bare, p50": (2.5, True),
        "cold docker run / prewarmed Docker, p50": (20.0, True),
    }


@pytest.mark.parametrize(("name", "slower"), [("process sandbox", 16), ("prewarmed Docker", 31)])
def test_a_sandbox_that_is_too_slow_is_told_so(name: str, slower: float) -> None:
    assert [each.is_met for each in ratios(WAYS | {name: way(slower)}) if each.name.startswith(name)] == [
        False
    ]


def test_without_a_docker_command_there_is_no_ratio_to_it() -> None:
    without = {name: each for name, each in WAYS.items() if name != "cold docker run"}
    assert len(ratios(without)) == 2


def test_the_table_has_a_row_for_each_way() -> None:
    table = grids(WAYS)[1]
    assert [row[0] for row in table.rows] == list(WAYS)
    assert table.rows[0] == ("bare", "10.0", "14.5", "14.9", "100.0")
