"""``crucible dlq`` against real servers: letters are listed, shown without harm, and delivered once more."""

import asyncio
import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from crucible.models import Evaluation
from crucible.settings import CelerySettings, LegacySettings
from deployments.stack import StackState
from tasks.celery_leg.app import broker_priority, queue_keys
from tasks.celery_leg.client import CeleryClient
from tasks.dead_letters import DeadLetters
from tasks.dispatch import Dispatch
from tasks.legacy_leg.queue import encode
from tests.support.command_line import CommandLine
from tests.support.corpora import line
from tests.support.in_process import Run, run
from tests.support.legs import dispatch
from tests.support.letters import bury
from tests.support.stacks import client_of
from tests.support.stores import rows
from tests.support.valkey import Valkey, valkey
from tests.support.waiting import eventually

__all__ = ["run", "valkey"]

LEGACY_QUEUE = "evals:queue:5"
CELERY_QUEUE = queue_keys(CelerySettings())[broker_priority(5)]


@pytest.fixture
def client(valkey: Valkey) -> redis.Redis:
    """A client of an empty server, which is both legs' here."""
    connection = valkey.client()
    connection.flushall()
    return connection


@pytest.fixture
def dlq(run: Run, valkey: Valkey) -> Run:
    """``crucible dlq`` with that server and a store of its own."""
    return lambda *words: run("dlq", *words, REDIS_URL=valkey.url, CELERY_REDIS_URL=valkey.url)


def test_letters_of_both_legs_are_listed(dlq: Run, client: redis.Redis) -> None:
    empty = dlq("list")
    assert (empty.code, empty.stdout) == (0, "no dead letters\n")
    bury(client, "legacy", encode(dispatch("theirs.0"), LegacySettings()), queue=LEGACY_QUEUE)
    bury(client, "celery", b"garbage \x1b[31m")
    listed = dlq("list", "--json").document["letters"]
    assert [(each["id"], each["run_id"]) for each in listed] == [
        ("dl-legacy-1", "theirs.0"),
        ("dl-celery-1", None),
    ]
    assert [each["id"] for each in dlq("list", "--leg", "celery", "--json").document["letters"]] == [
        "dl-celery-1"
    ]
    table = dlq("list").stdout
    assert "dl-legacy-1" in table
    assert "theirs.0" in table


def test_a_letter_is_shown_whole_and_controls_no_terminal(dlq: Run, client: redis.Redis) -> None:
    program = Evaluation(
        id="x", language="python", code="print(1)\n# \x1b]0;title\x07 [red]", stdin="\x1b[2J"
    )
    payload = encode(Dispatch("theirs.0", program, "stream\x1b[0m"), LegacySettings())
    for each in (payload, b"\x1b[31m\xff\x00 not json\nsecond line"):
        bury(client, "legacy", each, queue=LEGACY_QUEUE)
    shown, unreadable = dlq("show", "dl-legacy-1"), dlq("show", "dl-legacy-2")
    for done in (shown, unreadable):
        assert (done.code, done.stderr) == (0, "")
        assert not set(done.stdout.replace("\n", "")) & {chr(code) for code in (*range(32), 127, 155)}
    for part in ("none of this store's", "print(1)", "\\x1b]0;title\\x07 [red]", "\\x1b[2J", "memory_mb 256"):
        assert part in shown.stdout
    for part in ("\\x1b[31m\\xff␀ not json\n", "second line", "5 times and never answered"):
        assert part in unreadable.stdout
    document = dlq("show", "dl-legacy-1", "--json").document
    assert b64decode(document["payload_b64"]) == payload
    assert document["run"]["code"] == program.code
    assert dlq("show", "dl-legacy-2", "--json").document["run"] is None


def test_what_cannot_be_replayed_stays(dlq: Run, client: redis.Redis) -> None:
    bury(client, "celery", b"garbage")
    bury(client, "legacy", encode(dispatch("theirs.0"), LegacySettings()), queue=LEGACY_QUEUE)
    for words in (["show", "dl-legacy-7"], ["replay", "dl-legacy-1", "dl-legacy-7"], ["replay", "nonsense"]):
        done = dlq(*words)
        assert (done.code, done.stdout) == (2, "")
        assert done.stderr == f"crucible: there is no dead letter {words[-1]}; see `crucible dlq list`\n"
    for words in (["replay"], ["replay", "--all", "dl-celery-1"]):
        assert dlq(*words).code == 2
    assert client.llen(LEGACY_QUEUE) == 0
    done = dlq("replay", "--all")
    assert (done.code, done.stdout) == (2, "dl-legacy-1: theirs.0 is on its queue again\n")
    assert "nobody can read the payload of dl-celery-1, so it stays" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [each["id"] for each in dlq("list", "--json").document["letters"]] == ["dl-celery-1"]
    assert client.lrange(LEGACY_QUEUE, 0, -1) == [encode(dispatch("theirs.0"), LegacySettings())]


def test_without_servers_it_says_what_is_missing(run: Run) -> None:
    assert "CRUCIBLE_REDIS_URL" in run("dlq", "list").stderr
    assert "CRUCIBLE_CELERY_REDIS_URL" in run("dlq", "list", REDIS_URL="redis://127.0.0.1:1/0").stderr
    away = {"REDIS_URL": "redis://127.0.0.1:1/0", "CELERY_REDIS_URL": "redis://127.0.0.1:1/0"}
    done = run("dlq", "list", **away)
    assert (done.code, done.stdout) == (4, "")
    assert "Redis at 127.0.0.1:1 does not answer" in done.stderr


@pytest.fixture
def servers(stack: StackState) -> Iterator[tuple[redis.Redis, redis.Redis]]:
    """The stack's own, with no letters in them before or after."""
    with (
        redis.Redis.from_url(stack.redis_url) as ours,
        redis.Redis.from_url(stack.celery_redis_url) as theirs,
    ):
        yield ours, theirs
        for leg, client in (("legacy", ours), ("celery", theirs)):
            client.delete(f"crucible:dead:{leg}")


async def message_of(valkey: Valkey, run_id: str) -> bytes:
    """A run's message as kombu writes it."""
    leg = CeleryClient(valkey.url, CelerySettings())
    await leg.send([dispatch(run_id)])
    await leg.aclose()
    with valkey.client() as client:
        message = client.rpop(CELERY_QUEUE)
    assert isinstance(message, bytes)
    return message


@pytest.mark.stack
def test_letters_of_a_stack_are_listed_shown_and_replayed(
    crucible: CommandLine, stack: StackState, servers: tuple[redis.Redis, redis.Redis], valkey: Valkey
) -> None:
    ours, theirs = servers
    ours.rpush(LEGACY_QUEUE, b"garbage \x1b[31m")
    theirs.lpush(CELERY_QUEUE, b"more garbage")

    def listed() -> list[str]:
        found = [*DeadLetters(ours, "legacy").all(), *DeadLetters(theirs, "celery").all()]
        return [letter.id for letter in found]

    asyncio.run(eventually(lambda: len(listed()) == 2))
    garbage = listed()
    with client_of(stack) as api:
        settled = api.post("/evaluations", params={"wait": 60}, json=line("settled", "print(6 * 7)")).json()
        # Until it is cancelled below, however long the commands before that take to start.
        sleeping = line("sleeps", "import time; time.sleep(240)", limits={"wall_s": 300})
        sleeps = api.post("/evaluations", json=sleeping).json()
        again = bury(ours, "legacy", encode(dispatch(f"{settled['id']}.0"), LegacySettings()))
        message = asyncio.run(message_of(valkey, f"{sleeps['id']}.0"))
        back = bury(theirs, "celery", message, queue=CELERY_QUEUE)
        shown = crucible.run("dlq", "show", again)
        assert f"{settled['id']} (settled): match" in shown.stdout, shown.stderr
        letters = crucible.run("dlq", "list", "--json").document["letters"]
        assert {each["id"] for each in letters} == {*garbage, again, back}
        done = crucible.run("dlq", "replay", "--all", "--json")
        api.delete(f"/evaluations/{sleeps['id']}").raise_for_status()
        assert done.code == 2, done.stderr
        assert done.document["unreadable"] == garbage
        queued, replayed = done.document["replayed"]
        assert queued == {"id": back, "run_id": f"{sleeps['id']}.0", "queued_again": True}
        assert (replayed["id"], replayed["evaluation_id"]) == (again, settled["id"])
        assert replayed["classification"] == "match"
        assert api.get(f"/evaluations/{replayed['new_evaluation_id']}").json()["name"] == "settled"
    assert listed() == garbage
    assert f"replay-of:{settled['id']}" in tags_of(crucible.home, replayed["new_evaluation_id"])


def tags_of(home: Path, evaluation_id: str) -> list[str]:
    """The tags with which an evaluation is in the ledger."""
    ((payload,),) = rows(home, "SELECT payload FROM evaluations WHERE id = :id", id=evaluation_id)
    tags: list[str] = json.loads(payload)["tags"]
    return tags
