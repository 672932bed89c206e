"""What a flow host counts."""

from prometheus_client import REGISTRY

from crucible.models import LEGS, Outcome
from tasks.flow_metrics import show_nothing_yet


def test_every_outcome_of_either_leg_is_shown_before_there_is_one() -> None:
    show_nothing_yet()
    for leg in LEGS:
        for outcome in Outcome:
            labels = {"leg": leg, "outcome": outcome.value}
            assert REGISTRY.get_sample_value("crucible_observations_total", labels) is not None
