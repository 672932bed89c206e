"""A stack is back by itself, and all could see it: each background service fails once, a disk is full."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from deployments.stack import StackState
from tests.support.command_line import CommandLine
from tests.support.planted_faults import Planted, PlantedFaults
from tests.support.small_disk import SmallDisk, mounted_at
from tests.support.stacks import client_of, stack_up
from tests.support.waiting import pauses

PROCESSES = {"api", "controller", "flows", "legacy-worker-1", "legacy-worker-2", "celery-worker"}
PATIENCE_S = 400.0
FULL_S = 15.0
SMALL_MB = {"redis": 96, "celery-redis": 96, "store": 48}
PROGRAM = {"language": "python", "code": "print(6 * 7)"}

Disks = dict[str, SmallDisk | None]

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> PlantedFaults:
    return PlantedFaults(tmp_path_factory.mktemp("planted"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def disks(folder: Path) -> Iterator[Disks]:
    """Small file systems of the store and of either Redis, where one can be mounted."""
    with ExitStack() as exits:
        yield {name: exits.enter_context(mounted_at(folder / name, size)) for name, size in SMALL_MB.items()}


@pytest.fixture(scope="module")
def home(folder: Path, disks: Disks, faults: PlantedFaults) -> Iterator[CommandLine]:
    store = "sqlite:///" + str(folder / "store" / "crucible.db")
    with stack_up(folder, faults.environment, DATABASE_URL=store) as command_line:
        yield command_line


@pytest.fixture(scope="module")
def state(home: CommandLine) -> StackState:
    return home.state()


@pytest.fixture(scope="module")
def client(state: StackState) -> Iterator[httpx.Client]:
    with client_of(state) as made:
        yield made


def services(client: httpx.Client) -> dict[Planted, dict[str, Any]]:
    """Every background service that is reported, whether or not all are ready."""
    document = client.get("/ready").json()
    return {Planted(each["process"], each["name"]): each for each in document["services"]}


def wait(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    between = pauses(0.2, 1.0)
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(next(between))


def kind(fault: Planted) -> str:
    return fault.process.partition("@")[0]


def rounds_of(known: list[Planted]) -> Iterator[list[Planted]]:
    """One service of each process at a time, until all had their turn."""
    by_process: dict[str, list[Planted]] = {}
    for each in known:
        by_process.setdefault(each.process, []).append(each)
    while any(by_process.values()):
        yield [left.pop() for left in by_process.values() if left]


def have_failed(client: httpx.Client, failing: list[Planted], before: dict[Planted, dict[str, Any]]) -> bool:
    """Whether each of these has failed, by what was planted, since ``before``."""
    found = services(client)
    return all(
        each in found
        and found[each]["failures"] > before[each]["failures"]
        and found[each]["last_error"] == each.message
        for each in failing
    )


def are_back(client: httpx.Client, recovering: list[Planted]) -> bool:
    """Whether a round of each of these has gone well since."""
    found = services(client)
    return all(each in found and not found[each]["failing_s"] for each in recovering)


def test_each_service_that_fails_is_shown_and_back_by_itself(
    client: httpx.Client, faults: PlantedFaults
) -> None:
    wait(lambda: {kind(each) for each in services(client)} >= PROCESSES, lambda: services(client).keys())
    before = services(client)
    known = sorted(before)
    for failing in rounds_of(known):
        before |= services(client)
        for each in failing:
            faults.plant(each)
        wait(partial(have_failed, client, failing, before), lambda: services(client))
        wait(partial(are_back, client, failing), lambda: services(client))
    assert client.get("/ready").status_code == 200


def test_the_metrics_of_each_process_have_counted_it(client: httpx.Client, state: StackState) -> None:
    urls = {each.name: str(each.url) for each in state.services}
    known = services(client)
    assert known
    for name in PROCESSES:
        url = urls.get(name, urls["flows"])  # which has the controller in its process
        page = client.get("/metrics").text if name == "api" else httpx.get(url, timeout=60).text
        counted = samples(page, "crucible_background_failures_total")
        well = samples(page, "crucible_background_well")
        for each in known:
            if kind(each) == name:
                assert counted[each.service] >= 1, each
                assert well[each.service] == 1, each


def samples(page: str, name: str) -> dict[str, float]:
    """The values of one metric by service."""
    return {
        sample.labels["service"]: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == name
    }


def test_what_is_posted_afterwards_is_settled(client: httpx.Client) -> None:
    answer = client.post("/evaluations?wait=60", json=PROGRAM)
    assert answer.json()["classification"] == "match"


def test_the_status_says_so_in_words_and_for_machines(home: CommandLine) -> None:
    said = home.run("status").stdout
    assert "background services of 6 processes" in " ".join(said.split())
    document = home.run("status", "--json").document
    assert document["readiness"]["missing"] == {}
    assert {each["process"].partition("@")[0] for each in document["readiness"]["services"]} == PROCESSES


@pytest.mark.parametrize("name", SMALL_MB)
def test_all_that_is_accepted_around_a_full_disk_settles(
    client: httpx.Client, disks: Disks, name: str
) -> None:
    disk = disks[name]
    if disk is None:
        pytest.skip("only root can mount a small file system")
    accepted = list(post(client))
    missing: list[dict[str, str]] = []
    with disk.full():
        ends = time.monotonic() + FULL_S
        while time.monotonic() < ends:
            accepted += post(client)
            answer = client.get("/ready")
            if answer.status_code == 503:
                missing.append(answer.json()["missing"])
            time.sleep(1)  # the disk stays full for a given time; what is posted needs no more
    wait(lambda: client.get("/ready").status_code == 200, lambda: client.get("/ready").text)  # by itself
    accepted += post(client)
    assert any(faults.get(name) for faults in missing), missing
    wait(lambda: set(states(client, accepted)) == {"settled match"}, lambda: states(client, accepted))


def post(client: httpx.Client) -> Iterator[str]:
    """The ids of what the API has accepted of a list of two, which need room in the store."""
    answer = client.post("/evaluations", json=[PROGRAM, PROGRAM | {"stdin": "0" * 100_000}])
    if answer.is_success:
        yield from (each["id"] for each in answer.json())


def states(client: httpx.Client, ids: list[str]) -> list[str]:
    """What has become of each of these."""
    found = [client.get(f"/evaluations/{each}").json() for each in ids]
    return [f"{each['status']} {each['classification']}" for each in found]
