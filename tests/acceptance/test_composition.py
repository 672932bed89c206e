"""The whole composition on a real Docker daemon: used through the gateway, broken part by part, ended."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urljoin

import httpx
import pytest
from docker.models.containers import Container

from tests.support.composition import PATIENCE_S, Composition, service_of
from tests.support.posting import Posting
from tests.support.waiting import patiently

USER = 10001
SERVICES = 15
KINDS = (
    *("redis", "celery-redis", "postgres", "prefect", "executor-1", "executor-3"),
    *("legacy-worker-1", "celery-worker", "flows", "controller", "api", "flower", "gateway"),
)
"""One container of each kind, and an executor of each leg."""

MORE = {"celery-worker", "legacy-worker-1", "api", "flows", "controller"}
"""Of which there may be several by --scale."""

SERVERS = {"redis": 6379, "celery-redis": 6380, "postgres": 5432, "prefect": 4200, "gateway": 8080}
"""What no executor has to do with, and the ports on which it listens."""

TYPES = {"css": "text/css", "ico": "image/", "js": "javascript", "png": "image/png", "svg": "image/svg+xml"}
_LINKED = re.compile(r"""(?:src|href)="([^"#?]+[.](css|js|svg|ico|png))(?:[?][^"]*)?\"""")


@pytest.fixture
def visitor(running: Composition) -> Iterator[httpx.Client]:
    """Somebody with a browser, who has signed in."""
    with httpx.Client(
        base_url=running.url,
        headers={"Accept": "text/html"},
        timeout=60,
        trust_env=False,
        follow_redirects=True,
    ) as client:
        key = {"key": running.secrets["crucible_api_key"], "next": "/"}
        home = client.post("/dashboard/login", data=key, headers={"Origin": running.url})
        assert (home.status_code, home.url.path) == (200, "/"), home.text
        yield client


def test_everything_is_up_and_no_process_is_root(running: Composition) -> None:
    containers = running.containers()
    assert len(containers) == SERVICES
    for name, container in containers.items():
        listed = container.top(ps_args="-eo pid,uid,args")["Processes"]
        # Docker looks whether a container is well as the user with whom it began, and begins to as root.
        docker_s = ("answers", "runc init")
        users = {int(uid) for _, uid, command in listed if not any(each in command for each in docker_s)}
        assert users == {USER}, (name, listed)


def test_a_sweep_through_the_gateway_passes(running: Composition) -> None:
    order = {"limit": 60, "min_evaluations": 10}
    answers: list[httpx.Response] = []

    def is_taken() -> bool:
        answers.append(running.client.post("/api/sweeps", json=order))
        return answers[-1].status_code == 202

    running.wait(is_taken, "no sweep is taken")  # before the flows service has told Prefect of its sweeps
    started = answers[-1]
    path = f"/api{started.headers['location']}"
    running.wait(lambda: running.client.get(path).json()["verdict"], "the sweep does not end")
    swept = running.client.get(path).json()
    counts = swept["counts"]
    assert swept["verdict"] == "pass", counts
    assert counts["matched"] >= 10
    assert counts["submitted"] == 60


def test_one_evaluation_is_answered_with_a_link_that_browsers_can_follow(
    running: Composition, visitor: httpx.Client
) -> None:
    body = {"language": "python", "code": "print(6 * 7)"}
    answer = running.client.post("/api/evaluations?wait=60", json=body)
    assert answer.status_code == 200, answer.text
    settled = answer.json()
    assert settled["classification"] == "match"
    levels = {settled["comparison"][leg]["isolation_level"] for leg in ("legacy", "celery")}
    assert levels == {"namespaces+rlimits+seccomp"}
    link = settled["links"]["flow_run"]
    assert link.startswith("http://127.0.0.1:8080/prefect/runs/")
    assert visitor.get(link.removeprefix("http://127.0.0.1:8080")).status_code == 200


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/", "Crucible"),
        ("/dashboard/evaluations", "Crucible"),
        ("/dashboard/rollout", "Crucible"),
        ("/prefect/", "Prefect"),
        ("/flower/", "Flower"),
    ],
)
def test_every_page_comes_with_all_it_needs(visitor: httpx.Client, path: str, says: str) -> None:
    page = visitor.get(path)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert says in page.text
    linked = {(urljoin(str(page.url), where), kind) for where, kind in _LINKED.findall(page.text)}
    assert linked
    for url, kind in linked:
        found = visitor.get(url)
        assert found.status_code == 200, url
        assert TYPES[kind] in found.headers["content-type"], url


def test_the_api_and_prefect_answer_programs_in_json(running: Composition, visitor: httpx.Client) -> None:
    ready = running.client.get("/api/ready")
    assert (ready.status_code, ready.json()["status"]) == (200, "ok")
    prefect = visitor.get("/prefect/api/health")
    assert (prefect.status_code, prefect.json()) == (200, True)
    assert running.client.get("/api/openapi.json").headers["content-type"].startswith("application/json")


def test_a_key_made_in_the_api_s_container_opens_the_api(running: Composition) -> None:
    command = ["crucible", "keys", "create", "--name", "reader", "--scope", "read", "--json"]
    done = running.containers()["api"].exec_run(command)
    assert done.exit_code == 0, done.output
    key = json.loads(done.output)["key"]
    answer = running.client.get("/api/evaluations", headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text


def test_the_store_can_be_copied_as_the_documents_say(running: Composition) -> None:
    done = running.containers()["postgres"].exec_run(["pg_dump", "-h", "/tmp", "crucible"])
    assert done.exit_code == 0, done.output[-500:]
    assert b"CREATE TABLE public.evaluation" in done.output


def test_strangers_are_let_in_nowhere(running: Composition) -> None:
    with httpx.Client(base_url=running.url, timeout=60, trust_env=False) as stranger:
        asked = {
            path: stranger.get(path).status_code for path in ("/", "/prefect/", "/flower/", "/api/sweeps/x")
        }
    assert set(asked.values()) == {401}


def test_no_secret_shows_in_what_docker_tells_of_the_containers(running: Composition) -> None:
    secrets = set(re.findall(r"[0-9a-f]{48}", " ".join(running.secrets.values())))
    assert len(secrets) == 7
    for name, container in running.containers().items():
        told = f"{container.attrs} {container.logs().decode(errors='replace')} {container.top()}"
        assert [secret for secret in secrets if secret in told] == [], name


def test_an_executor_reaches_neither_the_servers_nor_anything_outside(running: Composition) -> None:
    containers = running.containers()
    reached = {
        f"{name} at {address}:{port}": _is_reached(containers["executor-1"], address, port)
        for name, port in SERVERS.items()
        for address in _addresses(containers[name])
    }
    assert len(reached) >= len(SERVERS)
    assert [server for server, code in reached.items() if code == 0] == []
    (executors,) = _addresses(containers["executor-2"])
    # The question can be answered; a container that has something else to do needs longer to begin.
    assert _is_reached(containers["executor-1"], executors, 8100, within_s=30) == 0


def _addresses(container: Container) -> list[str]:
    networks = container.attrs["NetworkSettings"]["Networks"].values()
    return [network["IPAddress"] for network in networks]


def _is_reached(container: Container, address: str, port: int, within_s: int = 2) -> int:
    """0 where the container can connect to that address."""
    command = ["timeout", str(within_s), "bash", "-c", f"exec 3<> /dev/tcp/{address}/{port}"]
    code: int = container.exec_run(command).exit_code
    return code


def test_whatever_dies_comes_back_and_no_evaluation_is_lost(running: Composition) -> None:
    with Posting(running.client) as posting:
        for service in KINDS:
            posting.wait_for(1)
            running.recovered(service, running.kill(service))
        posting.wait_for(1)
    assert len(posting.accepted) > len(KINDS)
    patiently(
        lambda: all(posting.state(each)["status"] == "settled" for each in posting.accepted), PATIENCE_S
    )
    found = [posting.state(each)["classification"] for each in posting.accepted]
    assert found == ["match"] * len(found)


def test_more_of_a_kind_work_by_their_number_alone(running: Composition, visitor: httpx.Client) -> None:
    running.scale(celery_worker=2, legacy_worker_1=2, api=2, flows=2, controller=2)
    found = running.all_containers()
    numbers = Counter(map(service_of, found))
    assert {name for name, number in numbers.items() if number == 2} == MORE
    hosts = {each.attrs["Config"]["Hostname"] for each in found if service_of(each) == "celery-worker"}

    def all_listed() -> bool:
        listed = visitor.get("/flower/workers?json=1").text
        return all(f"celery-worker@{each}" in listed for each in hosts)

    patiently(all_listed)

    programs = [{"language": "python", "code": f"print({number})"} for number in range(40)]
    done = running.client.post("/api/evaluations?wait=60", json=programs).raise_for_status().json()
    assert [each["classification"] for each in done] == ["match"] * len(programs)
    running.scale(**{name.replace("-", "_"): 1 for name in MORE})
    assert len(running.all_containers()) == SERVICES


def test_taken_down_it_leaves_nothing(running: Composition) -> None:
    assert running.left() != []
    running.down()
    assert running.left() == []
