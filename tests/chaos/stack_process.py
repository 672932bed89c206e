"""``python -m tests.chaos.stack_process``: the real stack, with doors in its lines and clocks to set.

The environment variable says what is different from the product's own plan. Everything else is the product's.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crucible.errors import CrucibleError
from crucible.settings import Settings, load
from deployments.stack.home import Home
from deployments.stack.plan import Plan, plan_stack
from deployments.stack.running import serve_stack
from deployments.stack.service import ServiceSpec, Tier

VARIABLE = "CHAOS_WIRING"


@dataclass(frozen=True)
class Wiring:
    """By the real URL of a server, the door through which workers or those who run flows reach it.

    ``more`` has further environment by the name of a service.
    """

    workers: Mapping[str, str] = field(default_factory=dict)
    flows: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def text(self) -> str:
        """As the variable has it."""
        return json.dumps({"workers": self.workers, "flows": self.flows, "more": self.more})


def wired_plan(settings: Settings, home: Home) -> Plan:
    """The product's plan, wired as the variable says."""
    wiring = Wiring(**json.loads(os.environ.pop(VARIABLE)))
    plan = plan_stack(settings, home)
    url = _through(wiring.flows, plan.state.prefect_api_url)
    return Plan(
        tuple(_wired(each, wiring) for each in plan.services),
        plan.externals,
        plan.state.model_copy(update={"prefect_api_url": url}),
    )


def _wired(service: ServiceSpec, wiring: Wiring) -> ServiceSpec:
    doors = {Tier.WORKERS: wiring.workers, Tier.DOORS: wiring.flows}.get(service.tier, {})
    environment = {name: _through(doors, value) for name, value in service.environment.items()}
    return replace(service, environment=environment | dict(wiring.more.get(service.name, {})))


def _through(doors: Mapping[str, str], text: str) -> str:
    for server, door in doors.items():
        text = text.replace(server, door)
    return text


def main() -> int:
    """Serve until SIGTERM."""
    try:
        asyncio.run(serve_stack(load(Settings), _say_up, make_plan=wired_plan))
    except CrucibleError as error:
        print(error, flush=True)
        return 4
    return 0


def _say_up(_state: Any) -> None:
    print("up", flush=True)


if __name__ == "__main__":
    # Services import Crucible from where this was started.
    os.environ.setdefault("PYTHONPATH", str(Path.cwd()))
    sys.exit(main())
