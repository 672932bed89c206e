"""The pilot goes ahead when the gates allow it, waits when not, and stops after a rollback."""

from crucible.errors import GateRefused, RolloutConflict
from crucible.rollout.assessment import Assessment
from crucible.rollout.stage import Rollout, Stage
from crucible.rollout.status import Moment, drive, next_step
from tests.support.epochs import SETTINGS

REFUSED = Assessment(gates=())


class Story:
    """Books in which each call of ``advance`` goes as told: on, refused, overtaken or turned back."""

    def __init__(self, *events: str) -> None:
        self.events = list(events)
        self.rollout = Rollout()
        self.asked: list[int | None] = []

    async def state(self) -> Rollout:
        return self.rollout

    async def advance(self, actor: str, reason: str, version: int | None = None) -> None:
        assert (actor, reason) == ("pilot", "go")
        self.asked.append(version)
        event = self.events.pop(0)
        if event == "refused":
            raise GateRefused("not yet", REFUSED)
        if event == "turned back":
            self._become(stage=Stage.LEGACY, share=0.0, spent=self.rollout.epoch)
            raise RolloutConflict("turned back meanwhile")
        step = next_step(self.rollout, SETTINGS)
        assert step is not None
        self._become(stage=step.stage, share=step.share)
        if event == "overtaken":
            raise RolloutConflict("somebody else went on")

    def _become(self, **changes: object) -> None:
        self.rollout = self.rollout.model_copy(update={**changes, "version": self.rollout.version + 1})


async def looks(story: Story, until: Stage = Stage.CELERY) -> list[Moment]:
    return [moment async for moment in drive(story, "pilot", "go", until=until, every_s=0.001)]


async def test_it_goes_to_the_end_and_waits_where_it_is_refused() -> None:
    story = Story("on", "refused", "refused", *["on"] * 6)
    seen = await looks(story)
    assert story.rollout.stage is Stage.CELERY
    assert [moment.refused is not None for moment in seen].count(True) == 2
    assert not story.events


async def test_it_stops_at_the_stage_it_was_told() -> None:
    story = Story(*["on"] * 9)
    await looks(story, until=Stage.LIVE)
    assert story.rollout.stage is Stage.LIVE
    assert await looks(story, until=Stage.CANARY) == [Moment(story.rollout)]


async def test_after_a_rollback_it_goes_nowhere() -> None:
    story = Story("on", "on", "turned back")
    assert (await looks(story))[-1].rollout.is_spent
    assert story.rollout.stage is Stage.LEGACY


async def test_it_decides_on_what_it_saw() -> None:
    story = Story("on", "overtaken", "refused", "turned back")
    await looks(story)
    assert story.asked == [1, 2, 3, 3]
