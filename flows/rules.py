"""Which rules a comparison goes by: those of its epoch, or those in force today."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from crucible.normalise import NO_RULES, RuleSet, load_rules
from crucible.store import Store, Work


class Rules:
    """The rules of a flow host. Those of an epoch never change, so each is read once."""

    def __init__(self, store: Store, file: Path | None) -> None:
        self._store = store
        self._file = file
        self._of_epochs: dict[int, RuleSet] = {}

    def today(self) -> RuleSet:
        """The rules in the file that have not expired; raises ``SettingsError`` when it does not fit."""
        if self._file is None:
            return NO_RULES
        return load_rules(self._file).active(datetime.now(UTC).date())

    async def of(self, work: Sequence[Work]) -> dict[str, RuleSet]:
        """The rules for each evaluation by its id; one that is no traffic goes by those of today."""
        today = self.today() if any(each.route is None for each in work) else NO_RULES
        return {
            each.id: today if each.route is None else await self._of_epoch(each.route.epoch) for each in work
        }

    async def _of_epoch(self, number: int) -> RuleSet:
        if number not in self._of_epochs:
            self._of_epochs[number] = (await self._store.rollout.epoch(number)).key.rules
        return self._of_epochs[number]
