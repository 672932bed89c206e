"""``crucible breakers`` against a real server."""

import json
from pathlib import Path

from structlog.testing import capture_logs

from crucible.settings import BreakerSettings
from tasks.resilience.breaker import Breakers
from tests.support.in_process import Run, run
from tests.support.valkey import Valkey, valkey

__all__ = ["run", "valkey"]


def test_breakers_are_shown_with_what_opened_them(run: Run, valkey: Valkey) -> None:
    breakers = Breakers(valkey.url, BreakerSettings(open_s=60), {})  # still open when it is looked at
    gate = breakers.shared("executor-3")
    with capture_logs():
        for _ in range(BreakerSettings().minimum):
            gate.leave(gate.admit(), "failed")
    breakers.close()
    shown = run("breakers", "--json", REDIS_URL=valkey.url)
    assert (shown.code, shown.stderr) == (0, "")
    found = {each.pop("dependency"): each for each in json.loads(shown.stdout)["breakers"]}
    assert found["executor-3"].pop("open_until") is not None
    assert found["executor-3"] == {"state": "open", "failures": 10, "volume": 10, "probing": False}
    assert {name for name, each in found.items() if each["state"] == "closed"} == {
        *("executor-1", "executor-2", "celery-redis")
    }
    table = run("breakers", REDIS_URL=valkey.url).stdout
    assert "executor-3" in table
    assert "10 of 10" in table


def test_without_a_redis_it_says_what_is_missing(run: Run, tmp_path: Path) -> None:
    assert "CRUCIBLE_REDIS_URL" in run("breakers").stderr
    away = run("breakers", REDIS_URL="redis://127.0.0.1:1/0")
    assert (away.code, away.stdout) == (4, "")
    assert "Redis at 127.0.0.1:1 does not answer" in away.stderr
