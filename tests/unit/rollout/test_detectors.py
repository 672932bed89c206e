"""Detectors of many strata: together they are wrong no more often than one."""

from datetime import UTC, datetime

from crucible.rollout.epoch import Epoch, EpochKey
from crucible.settings import GateSettings
from crucible.store.pairing import Detectors, Pair, advance

# A mismatch multiplies the statistic by 100: three reach this, and do not reach twice as much.
EPOCH = Epoch(
    number=1,
    opened_at=datetime(2026, 11, 22, tzinfo=UTC),
    key=EpochKey(policy=GateSettings(p_ok=1e-4, p1=1e-2, alarm_at=9e5)),
)


def mismatch(*strata: str) -> Pair:
    return Pair(1, "ev", strata, mismatch=True, against_celery=True, critical=False)


def test_one_detector_alarms_at_the_third_mismatch_in_a_row() -> None:
    known: Detectors = {}
    alarms = [advance(known, mismatch("all"), EPOCH) for _ in range(3)]
    assert alarms == [(), (), ("all",)]


def test_two_share_the_budget_of_false_alarms_so_that_it_takes_a_fourth() -> None:
    known: Detectors = {}
    alarms = [advance(known, mismatch("all", "language:c"), EPOCH) for _ in range(4)]
    assert alarms == [(), (), (), ("all", "language:c")]


def test_a_detector_that_another_pair_has_begun_counts_too() -> None:
    known: Detectors = {}
    advance(known, mismatch("language:ruby"), EPOCH)
    assert [advance(known, mismatch("all"), EPOCH) for _ in range(4)] == [(), (), (), ("all",)]
