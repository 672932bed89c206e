"""A parity sweep as people start it: a deployment of Prefect, on a whole stack whose executor-3 differs."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import orjson
import psutil
import pytest

from crucible.corpus import validate
from crucible.models import SweepReport
from crucible.signature import verify_signature
from deployments.stack import ServiceStatus, StackState
from tests.support.command_line import CommandLine, far_from_now
from tests.support.corpora import ledger, line, prints, write_corpus
from tests.support.stacks import bearer, stack_up
from tests.support.webhook import Receiver

pytestmark = pytest.mark.stack

SECRET = "a long random text"
DEPLOYMENT = "parity-sweep/scheduled"
CRON = far_from_now()

_PATIENCE_S = 240
_DRIFTS = line("zone/local-hour", "import time; print(time.localtime(0).tm_hour)  # not to be told")


class Scheduled(NamedTuple):
    """A stack that is up, and who is told of its verdicts."""

    crucible: CommandLine
    state: StackState
    receiver: Receiver


@pytest.fixture(scope="module")
def scheduled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scheduled]:
    """A stack whose executor-3 lives in another time zone; nothing of it may be left at the end."""
    receiver = Receiver()
    settings = {
        "EXECUTOR_3_TZ": "Asia/Tokyo",
        "SCHEDULE_POLL_S": "1",
        "SCHEDULE_CRON": CRON,
        "WEBHOOK_URL": receiver.url,
        "WEBHOOK_SECRET": SECRET,
        "WEBHOOK_ALLOW_PRIVATE": "true",
    }
    home = tmp_path_factory.mktemp("scheduled") / "home"
    with closing(receiver), stack_up(home, **settings) as crucible:
        yield Scheduled(crucible, crucible.state(), receiver)


@pytest.fixture
def prefect(scheduled: Scheduled) -> Iterator[httpx.Client]:
    """Prefect's own API."""
    # A connection each: Prefect's server hangs up after it has asked for patience.
    one_each = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(base_url=f"{scheduled.state.prefect_api_url}/", timeout=60, limits=one_each) as client:
        yield client


def eventually(found: Callable[[], Any]) -> Any:
    """What ``found`` gives, once it gives something."""
    deadline = time.monotonic() + _PATIENCE_S
    while not (result := found()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)
    return result


def started(prefect: httpx.Client, **parameters: object) -> str:
    """The id of a sweep, started as by the form of its deployment."""
    return started_by(prefect, DEPLOYMENT, {"min_evaluations": 1} | parameters)


def started_by(prefect: httpx.Client, name: str, parameters: dict[str, object]) -> str:
    """The id of a run of the deployment ``name``."""
    deployment = prefect.get(f"deployments/name/{name}").raise_for_status().json()
    body = {"parameters": parameters}
    return str(_post(prefect, f"deployments/{deployment['id']}/create_flow_run", body)["id"])


def _post(prefect: httpx.Client, path: str, body: dict[str, Any]) -> Any:
    """What Prefect answers; on SQLite it may ask for patience while somebody else writes."""

    def taken() -> httpx.Response | None:
        response = prefect.post(path, json=body)
        return None if response.status_code == 503 else response.raise_for_status()

    return eventually(taken).json()


def state_of(prefect: httpx.Client, run_id: str) -> dict[str, Any]:
    state: dict[str, Any] = prefect.get(f"flow_runs/{run_id}").raise_for_status().json()["state"]
    return state


def ended(prefect: httpx.Client, run_id: str) -> tuple[str, str, str]:
    """Type, name and message of a run's last state, once it has one."""
    final = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

    def last() -> dict[str, Any] | None:
        state = state_of(prefect, run_id)
        return state if state["type"] in final else None

    state = eventually(last)
    return state["type"], state["name"], state["message"]


def artifacts_of(prefect: httpx.Client, run_id: str) -> dict[str, dict[str, Any]]:
    """What a run left in Prefect, by key."""
    body = {"flow_runs": {"id": {"any_": [run_id]}}}
    return {each["key"]: each for each in _post(prefect, "artifacts/filter", body)}


def report_of(home: Path) -> SweepReport:
    """The newest report in a home."""
    newest = max((home / "reports").iterdir())
    assert {each.name for each in newest.iterdir()} == {"report.html", "report.json", "junit.xml"}
    return SweepReport.model_validate_json((newest / "report.json").read_bytes())


def test_a_sweep_that_passes_completes_and_leaves_verdict_report_and_plot(
    scheduled: Scheduled, prefect: httpx.Client, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(4))
    run_id = started(prefect, corpora=[str(corpus)])
    assert ended(prefect, run_id) == (
        "COMPLETED",
        "Completed",
        "pass: 4 evaluations compared, all equal byte for byte",
    )
    report = report_of(scheduled.crucible.home)
    assert report.counts.matched == 4
    plot_url = f"{scheduled.state.gateway_url}/api/sweeps/{report.sweep_id}/plots/latency.svg"
    plot = httpx.get(plot_url, timeout=60, trust_env=False)
    assert plot.status_code == 200
    assert plot.text.startswith("<svg ")
    artifacts = artifacts_of(prefect, run_id)
    assert set(artifacts) == {"parity-verdict", "parity-latency"}
    assert artifacts["parity-latency"]["data"] == plot_url
    verdict = artifacts["parity-verdict"]["data"]
    assert verdict.startswith("# ✓ Pass")
    assert f"]({plot_url})" in verdict
    assert str(scheduled.crucible.home / "reports" / report.sweep_id / "report.html") in verdict
    assert scheduled.receiver.posted == []


def test_a_sweep_that_finds_a_mismatch_fails_and_somebody_is_told_without_a_word_of_the_program(
    scheduled: Scheduled, prefect: httpx.Client, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", [*prints(2), _DRIFTS])
    scheduled.receiver.posted.clear()
    run_id = started(prefect, corpora=[str(corpus)])
    kind, name, message = ended(prefect, run_id)
    assert (kind, name) == ("FAILED", "Failed")
    assert message.startswith("fail: 1 evaluation answered differently by the two legs")

    [posted] = scheduled.receiver.posted
    signature = posted.headers["x-crucible-signature"]
    assert verify_signature(SECRET.encode(), signature, posted.body, time.time())
    event = orjson.loads(posted.body)
    report = report_of(scheduled.crucible.home)
    assert (event["sweep_id"], event["verdict"]) == (report.sweep_id, "fail")
    assert event["counts"] == report.counts.model_dump()
    assert event["flow_run_url"] == f"{scheduled.state.prefect_url}/runs/flow-run/{run_id}"
    assert b"not to be told" not in posted.body
    assert b"zone/" not in posted.body

    artifacts = artifacts_of(prefect, run_id)
    [row] = orjson.loads(artifacts["parity-mismatches"]["data"])
    assert (row["evaluation"], row["differs in"]) == (_DRIFTS["id"], "stdout")
    assert "the webhook was told" in artifacts["parity-verdict"]["data"]


def test_too_little_to_judge_by_is_a_state_of_its_own_and_told_when_asked_for(
    scheduled: Scheduled, prefect: httpx.Client, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(2))
    scheduled.receiver.posted.clear()
    run_id = started(prefect, corpora=[str(corpus)], min_evaluations=3, notify="unless it passes")
    assert ended(prefect, run_id)[:2] == ("COMPLETED", "Inconclusive")
    [posted] = scheduled.receiver.posted
    assert orjson.loads(posted.body)["verdict"] == "inconclusive"


def test_a_file_that_is_not_there_is_told_in_one_line(scheduled: Scheduled, prefect: httpx.Client) -> None:
    assert ended(prefect, started(prefect, corpora=["/nowhere.jsonl"])) == (
        "FAILED",
        "Failed",
        "not swept: /nowhere.jsonl: no such file",
    )
    assert "nothing to sweep" in ended(prefect, started(prefect, corpora=[]))[2]


def test_what_came_in_by_the_api_is_recorded_and_replayed(
    scheduled: Scheduled, prefect: httpx.Client, tmp_path: Path
) -> None:
    posted = [each | {"id": "same"} for each in prints(3)]
    for _ in range(2):
        url = f"{scheduled.state.api_url}/evaluations"
        httpx.post(
            url, json=posted, params={"wait": 60}, headers=bearer(scheduled.state), timeout=90
        ).raise_for_status()

    recorded = tmp_path / "recorded.jsonl"
    done = scheduled.crucible.run("corpus", "record", recorded, "--json")
    assert (done.code, done.document) == (0, {"recorded": 3, "output": str(recorded)}), done.stderr
    assert validate([recorded], {"python"}, {"python"}).lines == 3

    run_id = started(prefect, corpora=[str(recorded)], recorded=2, limit=4)
    assert "was used before" in ended(prefect, run_id)[2]
    assert ended(prefect, started(prefect, corpora=[], recorded=2))[2].startswith("pass: 2 evaluations")


def test_a_sweep_cancelled_in_the_prefect_ui_accounts_for_every_evaluation(
    scheduled: Scheduled, prefect: httpx.Client, tmp_path: Path
) -> None:
    corpus = write_corpus(tmp_path / "corpus.jsonl", prints(60, seconds=0.5))
    before = ledger(scheduled.crucible.home)
    run_id = started(prefect, corpora=[str(corpus)])
    eventually(lambda: (now := ledger(scheduled.crucible.home)) != before and now["match"] and now[None])
    _post(prefect, f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})
    assert ended(prefect, run_id)[0] == "CANCELLED"
    counted = ledger(scheduled.crucible.home)
    assert counted[None] == 0
    assert counted["cancelled"] > 0
    assert counted.total() == 60


def service_of(scheduled: Scheduled) -> ServiceStatus:
    """How the service that starts sweeps is doing."""
    return scheduled.crucible.service("flows")


def test_a_run_without_evaluations_does_not_outlive_the_process_that_ran_it(
    scheduled: Scheduled, prefect: httpx.Client
) -> None:
    waits = started_by(prefect, "rollout/gated", {"until": "canary", "every_s": 0.2})
    eventually(lambda: artifacts_of(prefect, waits))
    before = psutil.Process(service_of(scheduled).pid)
    before.kill()
    kind, _, message = ended(prefect, waits)
    assert (kind, "is no more" in message) == ("CRASHED", True)
    eventually(lambda: service_of(scheduled).pid != before.pid and service_of(scheduled).state == "ready")


def test_the_migration_can_be_driven_from_the_prefect_ui(scheduled: Scheduled, prefect: httpx.Client) -> None:
    there = started_by(prefect, "rollout/gated", {"until": "shadow"})
    assert ended(prefect, there)[:2] == ("COMPLETED", "Completed")

    waits = started_by(prefect, "rollout/gated", {"until": "canary", "every_s": 0.2})
    shown = eventually(lambda: artifacts_of(prefect, waits))["rollout"]["data"]
    assert "| parity | waiting |" in shown
    assert scheduled.crucible.run("rollout", "rollback").code == 0
    assert ended(prefect, waits)[0] == "FAILED"


def test_the_next_sweeps_are_due_when_the_schedule_says(scheduled: Scheduled, prefect: httpx.Client) -> None:
    deployment = prefect.get(f"deployments/name/{DEPLOYMENT}").raise_for_status().json()
    coming = {
        "deployments": {"id": {"any_": [deployment["id"]]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }
    runs = eventually(lambda: _post(prefect, "flow_runs/filter", coming))
    due = [datetime.fromisoformat(each["expected_start_time"]) for each in runs]
    assert {(f"{each.minute} {each.hour} * * *", each.utcoffset()) for each in due} == {(CRON, timedelta(0))}
    assert min(due) > datetime.now(UTC)


def test_the_service_ends_at_once_when_asked_to_and_keeps_its_schedule(
    scheduled: Scheduled, prefect: httpx.Client
) -> None:
    before = psutil.Process(service_of(scheduled).pid)
    before.terminate()
    eventually(lambda: not before.is_running())
    eventually(lambda: service_of(scheduled).pid != before.pid and service_of(scheduled).state == "ready")
    [schedule] = prefect.get(f"deployments/name/{DEPLOYMENT}").raise_for_status().json()["schedules"]
    assert schedule["active"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == (CRON, "UTC")
