"""Which control groups are used, and what is read from them; the contract suite has them at work."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.sandbox.process.jail import cgroup, group
from executors.sandbox.process.jail.group import Version1, Version2
from executors.sandbox.supervision import books

BOTH_ON = "cpu memory pids"


def hierarchy(*bases: Path) -> Version2:
    """A hierarchy whose groups would be made below the first of ``bases`` that is fit."""
    made = Version2()
    made._bases = [str(base) for base in bases]
    return made


def folder(path: Path, controllers: str = BOTH_ON, handed_on: str = "") -> Path:
    """A folder as the kernel makes one for a group."""
    path.mkdir(parents=True)
    (path / "cgroup.controllers").write_text(controllers + "\n", encoding="utf-8")
    (path / "cgroup.subtree_control").write_text(handed_on + "\n", encoding="utf-8")
    return path


def test_groups_go_where_all_that_is_counted_is_handed_on(tmp_path: Path) -> None:
    first, second = folder(tmp_path / "first"), folder(tmp_path / "second")
    folder(first / "crucible", handed_on="cpu memory")
    folder(second / "crucible", handed_on=BOTH_ON)
    found = hierarchy(first, second)
    assert found.parents() == [f"{second}/crucible"]
    assert found.events("7-0") == f"{second}/crucible/7-0/memory.events"


def test_what_is_not_handed_on_yet_is_asked_for(tmp_path: Path) -> None:
    base = folder(tmp_path / "base")
    assert hierarchy(base).parents() == []
    assert hierarchy(base).ready()
    for asked in (base, base / "crucible"):
        assert (asked / "cgroup.subtree_control").read_text(encoding="utf-8") == "+memory +pids"


@pytest.mark.parametrize("controllers", ["", "memory", "cpu pids"])
def test_without_a_controller_there_are_no_groups_and_nothing_is_left(
    tmp_path: Path, controllers: str
) -> None:
    base = folder(tmp_path / "base", controllers)
    assert not hierarchy(base).ready()
    assert hierarchy(base).parents() == []
    assert not (base / "crucible").exists()


def test_a_folder_that_hands_nothing_on_is_left_as_it_was(tmp_path: Path) -> None:
    base = folder(tmp_path / "base")
    (base / "cgroup.subtree_control").unlink()
    (base / "cgroup.subtree_control").mkdir()  # any write fails
    assert not hierarchy(base).ready()
    assert not (base / "crucible").exists()


@pytest.mark.parametrize(
    ("own", "above"),
    [
        ("/sys/fs/cgroup/unit", "/sys/fs/cgroup/unit"),
        ("/sys/fs/cgroup/unit/crucible/12-self", "/sys/fs/cgroup/unit"),
        ("/sys/fs/cgroup/crucible", "/sys/fs/cgroup/crucible"),
        ("/sys/fs/cgroup/crucible/app", "/sys/fs/cgroup/crucible/app"),
    ],
)
def test_the_own_leaf_is_no_place_for_groups(own: str, above: str) -> None:
    assert group._without_leaf(own) == above


def test_version_1_is_used_where_all_its_controllers_are() -> None:
    first = Version1()
    assert isinstance(cgroup._hierarchy(), Version1 if first.ready() else Version2)


def test_own_groups_are_those_of_this_process() -> None:
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    own = group.own_groups()
    assert own
    for line in lines:
        _, controllers, path = line.split(":", 2)
        assert {own[each] for each in controllers.split(",")} == {"" if path == "/" else path}


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), st.integers(0, 2**63), max_size=6))
def test_every_number_of_a_table_is_found_under_its_own_name(table: dict[str, int]) -> None:
    text = "".join(f"{name} {number}\n" for name, number in table.items()).encode()
    assert {name: books.field(text, name.encode() + b" ") for name in table} == table
    assert books.field(text, b"not there ") == 0


def files_of_version_2(tmp_path: Path) -> Path:
    made = folder(tmp_path / "group")
    for name, text in {
        "memory.current": "5000\n",
        "memory.events": "low 0\nhigh 0\nmax 9\noom 3\noom_kill 2\noom_group_kill 0\n",
        "pids.events": "max 4\n",
        "cpu.stat": "usage_usec 1500000\nuser_usec 1\nsystem_usec 2\n",
    }.items():
        (made / name).write_text(text, encoding="utf-8")
    return made


FILES_OF_A_GROUP = (
    *("cgroup.procs", "memory.current", "memory.max", "memory.high", "memory.stat", "memory.events"),
    *("memory.peak", "pids.max", "pids.events", "cpu.stat"),
)


@pytest.mark.parametrize("swaps", [True, False])
def test_swapping_is_forbidden_where_the_kernel_swaps_at_all(tmp_path: Path, *, swaps: bool) -> None:
    made = folder(folder(tmp_path / "base", handed_on=BOTH_ON) / "crucible", handed_on=BOTH_ON) / "7-0"
    made.mkdir()
    for name in FILES_OF_A_GROUP:
        (made / name).write_text("0\n", encoding="utf-8")
    swapping = made / "memory.swap.max"
    if swaps:
        swapping.write_text("max\n", encoding="utf-8")
    hierarchy(tmp_path / "base").enter("7-0")
    assert (swapping.read_text(encoding="utf-8") == "0") if swaps else not swapping.exists()


def test_books_of_version_2_are_read_by_their_names(tmp_path: Path) -> None:
    opened = books.of_version_2(str(files_of_version_2(tmp_path)))
    assert (opened.usage_bytes(), opened.out_of_memory_kills(), opened.refused_processes()) == (5000, 2, 4)
    assert opened.cpu_seconds() == 1.5


def test_a_peak_that_this_kernel_cannot_tell_is_null(tmp_path: Path) -> None:
    opened = books.of_version_2(str(files_of_version_2(tmp_path)), resettable=True)
    opened.restart_peak()
    assert opened.peak_bytes() is None


def test_the_alarm_is_right_once_for_each_time_the_limit_was_met(tmp_path: Path) -> None:
    events = files_of_version_2(tmp_path) / "memory.events"
    alarm = group._EventsAlarm(str(events.parent))
    try:
        assert not alarm.is_right()
        events.write_text("max 10\noom 3\noom_kill 2\n", encoding="utf-8")
        assert not alarm.is_right()  # a limit that was kept by reclaiming
        events.write_text("max 11\noom 4\noom_kill 2\n", encoding="utf-8")
        assert [alarm.is_right(), alarm.is_right()] == [True, False]
    finally:
        os.close(alarm.descriptor)
