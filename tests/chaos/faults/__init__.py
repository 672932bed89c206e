"""All faults, in the order in which they strike."""

from tests.chaos.fault import Fault
from tests.chaos.faults import clocks, deliveries, disks, executors, loops, processes, redises, servers


def all_faults(seed: int) -> tuple[Fault, ...]:
    """Those that are always the same, and those that ``seed`` chooses. Those with faked clocks come last."""
    return (
        *processes.FAULTS,
        *processes.pairs(seed),
        *redises.FAULTS,
        *executors.FAULTS,
        *servers.FAULTS,
        *disks.FAULTS,
        *loops.FAULTS,
        *deliveries.FAULTS,
        *clocks.FAULTS,
    )
