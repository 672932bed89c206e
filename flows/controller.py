"""``python -m flows.controller``: does what one process does for all that share a store.

Of several controllers each duty is done by the one that has its lease.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial

from crucible.settings import Settings, load
from crucible.telemetry.metrics import metrics_served
from flows.batching import flow_runs_batched
from flows.duties.catalogue import all_duties
from flows.duties.leases import Duty, DutyLeases
from flows.duties.reruns import Confirmation
from flows.flow_runs import prefect_session
from flows.host import Endpoints, flow_host
from flows.process import call_on_ending, flow_options, run_process, say_ready
from tasks.background import BackgroundService
from tasks.events import EventReader

Loop = Callable[[BackgroundService], Awaitable[None]]

_PROCESS = "controller"
_LEASES = "duty leases"
_FOLLOWING = "events of mismatches"

FINISH_WITHIN_S = 2.0
"""Nobody waits here for flow runs: another controller goes on with them."""

_LEAST_BOUND_S = 15.0
_LEASES_BOUND_S = 30.0
_FOLLOWING_BOUND_S = 60.0
_ASK_AGAIN_S = 1.0
"""How often a controller without a lease looks whether it has it now, at least."""


def main() -> int:
    """Work until SIGTERM; exits as ``run_process`` says."""
    return run_process(_PROCESS, _serve)


@asynccontextmanager
async def embedded_controller(endpoints: Endpoints, stopping: asyncio.Event) -> AsyncIterator[None]:
    """A controller beside what else this process does, until ``stopping`` or the end of the context.

    To be entered inside ``prefect_session``. It has a flow host of its own, so that its evaluations are not
    taken for those of the process.
    """
    working = asyncio.Event()
    # A task of its own: flows find their host by the context of the task that runs them.
    running = asyncio.create_task(control(endpoints, stopping, working.set, embedded=True))
    begun = asyncio.create_task(working.wait())
    await asyncio.wait({running, begun}, return_when=asyncio.FIRST_COMPLETED)
    begun.cancel()
    try:
        if not running.done():
            yield
    finally:
        stopping.set()
        await running


async def control(
    endpoints: Endpoints,
    stopping: asyncio.Event,
    on_working: Callable[[], object],
    *,
    embedded: bool = False,
) -> None:
    """Do the duties that this process has the leases of, until ``stopping``.

    To be called inside ``prefect_session``. Raises
    ``StoreError`` or ``ServiceUnavailable`` when it cannot begin.
    """
    async with (
        flow_host(endpoints, _PROCESS, embedded=embedded) as host,
        aclosing(EventReader(endpoints.redis_url)) as events,
        aclosing(Confirmation(host, events)) as confirmation,
        flow_runs_batched(host, FINISH_WITHIN_S) as batcher,
        all_duties(host, endpoints, batcher, confirmation, events) as duties,
    ):
        leases = DutyLeases(
            host.store.duties, host.lease.owner, [each.name for each in duties], host.settings.lease_s
        )
        kept = dict(_services(leases, duties))
        host.background.every(leases.renew_every_s, _LEASES, leases.renew, bound_s=_LEASES_BOUND_S)
        host.background.keep(_FOLLOWING, confirmation.follow, bound_s=_FOLLOWING_BOUND_S, required=False)
        for name, (loop, bound_s) in kept.items():
            host.background.keep(name, loop, bound_s=bound_s, required=False)
        try:
            with host.listening(confirmation.put):
                on_working()
                await stopping.wait()
        finally:
            for name in (*kept, _FOLLOWING, _LEASES):
                await host.background.end(name)
            await leases.give_up()


def _services(leases: DutyLeases, duties: Sequence[Duty]) -> Iterator[tuple[str, tuple[Loop, float]]]:
    """What goes on in the background for each duty, by name, and within which bound."""
    for each in duties:
        bound_s = each.bound_s or max(3 * each.every_s, _LEAST_BOUND_S)
        yield f"duty: {each.name}", (partial(_rounds, leases, each), bound_s)


async def _rounds(leases: DutyLeases, duty: Duty, service: BackgroundService) -> None:
    while True:
        is_held = await leases.run(duty.name, duty.round)
        service.round_done()
        if not is_held:
            await asyncio.sleep(min(duty.every_s, _ASK_AGAIN_S))
        elif duty.wait is not None:
            await duty.wait()
        else:
            await asyncio.sleep(duty.every_s)


async def _serve() -> None:
    stopping = asyncio.Event()
    options = flow_options(load(Settings))
    call_on_ending(stopping.set)
    with metrics_served():
        async with prefect_session():
            await control(options.endpoints, stopping, say_ready)


if __name__ == "__main__":
    sys.exit(main())
