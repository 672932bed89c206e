"""``crucible keys`` on a store of its own, and with a stack that runs."""

import re
import time
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from deployments.stack import StackState
from tests.support.command_line import CommandLine
from tests.support.in_process import Run, run

__all__ = ["run"]


def test_a_key_is_shown_once_and_listed_without_what_opens(run: Run) -> None:
    made = run("keys", "create", "--name", "nightly", "--scope", "submit", "--scope", "read", "--json")
    assert made.code == 0
    document = made.document
    assert document["scopes"] == ["read", "submit"]
    assert re.fullmatch(r"crk_[0-9A-Z]{26}_[\w-]{43}", document["key"])

    listed = run("keys", "list", "--json")
    assert [key["id"] for key in listed.document["keys"]] == [document["id"]]
    assert document["key"] not in listed.stdout + run("keys", "list").stdout
    assert document["id"] in run("keys", "list").stdout


def test_without_json_the_key_is_all_there_is_on_standard_output(run: Run) -> None:
    made = run("keys", "create", "--name", "x", "--scope", "read,operate", "--per-minute", "5")
    assert re.fullmatch(r"crk_\w+_[\w-]{43}\n", made.stdout)
    assert "not shown again" in made.stderr
    [key] = run("keys", "list", "--json").document["keys"]
    assert (key["scopes"], key["per_minute"]) == (["operate", "read"], 5)


def test_its_end_may_be_given_in_days_or_as_a_time(run: Run) -> None:
    soon = run("keys", "create", "--name", "x", "--scope", "read", "--expires-in", "1.5", "--json").document
    left = datetime.fromisoformat(soon["expires_at"]) - datetime.now(UTC)
    assert timedelta(days=1.4) < left < timedelta(days=1.6)
    late = run(
        *("keys", "create", "--name", "x", "--scope", "read", "--expires", "2099-01-31T12:00+02:00", "--json")
    ).document
    assert late["expires_at"] == "2099-01-31T10:00:00Z"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--scope", "everything"], "'everything': there is none of that name; use submit, read, operate"),
        (["--scope", ","], "names none"),
        ([], "--scope"),
        (["--scope", "read", "--expires", "soon"], "'soon': is no time"),
        (["--scope", "read", "--expires", ""], "'': is no time"),
        (["--scope", "read", "--expires-in", "nan"], "is no time"),
        (["--scope", "read", "--expires-in", "-1"], "already"),
        (["--scope", "read", "--expires-in", "1", "--expires", "2099-01-01"], "contradict"),
        (["--scope", "read", "--per-minute", "0"], "--per-minute 0"),
        (["--scope", "read", "--name", ""], "--name ''"),
    ],
)
def test_what_does_not_fit_is_one_line_and_makes_no_key(run: Run, words: list[str], part: str) -> None:
    refused = run("keys", "create", *([] if "--name" in words else ["--name", "x"]), *words)
    assert (refused.code, refused.stderr.count("\n")) == (2, 1), refused.stderr
    assert part in refused.stderr
    assert run("keys", "list", "--json").document["keys"] == []


def test_who_revokes_what_there_is_not_is_told(run: Run) -> None:
    refused = run("keys", "revoke", "key-0")
    assert refused.code == 2
    assert "no key has the id 'key-0'" in refused.stderr


@pytest.mark.stack
def test_a_stack_that_runs_knows_a_new_key_at_once_and_a_revoked_one_no_more_within_seconds(
    crucible: CommandLine, stack: StackState
) -> None:
    made = crucible.run("keys", "create", "--name", "visitor", "--scope", "read", "--json").document
    headers = {"Authorization": f"Bearer {made['key']}"}
    with httpx.Client(base_url=stack.api_url, headers=headers, timeout=60) as client:
        assert client.get("/rollout").status_code == 200
        assert client.post("/evaluations", json={}).status_code == 403
        assert crucible.run("keys", "revoke", made["id"]).code == 0
        deadline = time.monotonic() + 30
        while (response := client.get("/rollout")).status_code == 200:
            assert time.monotonic() < deadline, "it still opens"
            time.sleep(0.1)
        assert (response.status_code, "was revoked" in response.json()["detail"]) == (401, True)
