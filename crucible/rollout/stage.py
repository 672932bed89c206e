"""Where the migration stands, and where each evaluation goes by it. Pure, and stable over restarts."""

from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Any

from pydantic import Field

from crucible.errors import InputError
from crucible.models import Classification, Comparison, Evaluation, Leg
from crucible.models.frozen import Frozen

BUCKETS = 1_000_000
"""Shares are cut as finely as this: a key's bucket is one of so many, and 1 % are the first 10,000."""

Percent = Annotated[float, Field(ge=0, le=100)]


class Stage(StrEnum):
    """Where the migration stands, in the order in which it goes forward."""

    LEGACY = "legacy"
    SHADOW = "shadow"
    CANARY = "canary"
    LIVE = "live"
    CELERY = "celery"

    @property
    def rank(self) -> int:
        """How far forward this is; 0 is ``legacy``."""
        return list(Stage).index(self)


def stage_in_words(stage: Stage, share: float) -> str:
    """``shadow``, ``canary 5 %``."""
    return f"{stage} {share:g} %" if stage is Stage.CANARY else stage.value


class RouteRule(Frozen):
    """Evaluations that go by a share of their own; the first rule that fits one decides.

    Empty means any. ``priorities`` lists single priorities. ``share`` is Celery's, in percent: 0 keeps them
    on legacy's answer at every stage, 100 gives them Celery's from ``canary`` on. Before ``canary`` no rule
    gives Celery any answer.
    """

    share: Percent
    languages: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    priorities: tuple[Annotated[int, Field(ge=0, le=9)], ...] = ()
    tenants: tuple[str, ...] = ()

    def fits(self, evaluation: Evaluation) -> bool:
        """Whether this rule is about ``evaluation``; with several tags in the rule, one is enough."""
        return (
            (not self.languages or evaluation.language in self.languages)
            and (not self.tags or not set(self.tags).isdisjoint(evaluation.tags))
            and (not self.priorities or evaluation.priority in self.priorities)
            and (not self.tenants or evaluation.tenant in self.tenants)
        )


class Rollout(Frozen):
    """The state of the migration. A change makes a new one whose ``version`` is one higher.

    ``share`` is Celery's part of the answers at ``canary``, ``sample`` the part of evaluations that legacy
    shadows at ``live``, both in percent. ``salt`` mixes the buckets; to change it deals them anew.
    ``epoch`` numbers the span over which evidence is added up. ``revoked`` is the newest version whose stamps
    have lost Celery's authority by a rollback. ``spent`` is the epoch that ended in a rollback: nothing goes
    forward in it any more. While ``held``, nothing goes forward at all.
    """

    version: int = 1
    stage: Stage = Stage.SHADOW
    share: Percent = 0
    sample: Percent = 10
    salt: str = "crucible"
    rules: tuple[RouteRule, ...] = ()
    epoch: int = 0
    revoked: int = 0
    spent: int | None = None
    held: bool = False

    @property
    def is_spent(self) -> bool:
        """Whether the present epoch has ended in a rollback."""
        return self.spent == self.epoch


class Route(Frozen):
    """What is stamped on an evaluation at submission: the stage, who runs it and who answers.

    ``version`` and ``epoch`` are the rollout's at that moment; ``strata`` are those it is counted in.
    ``kept`` says that a rule gives Celery no answer of its kind: what goes wrong with it turns nothing back.
    ``shed`` says that the other leg would have run it as well, and did not for there was too much to do.
    """

    stage: Stage
    version: int
    epoch: int
    legs: tuple[Leg, ...]
    authority: Leg
    strata: tuple[str, ...] = ()
    kept: bool = False
    shed: bool = False


def route(rollout: Rollout, evaluation: Evaluation, evaluation_id: str) -> Route:
    """Where ``evaluation`` goes now.

    Who answers is decided by the evaluation's tenant, else its name, so that one user is always on one side;
    which evaluations legacy shadows at ``live`` is drawn for each one by itself, whatever it is.
    """
    authority: Leg = "celery" if _is_celerys(rollout, evaluation) else "legacy"
    return Route(
        stage=rollout.stage,
        version=rollout.version,
        epoch=rollout.epoch,
        legs=_legs(rollout, authority, evaluation_id),
        authority=authority,
        kept=_rule_share(rollout, evaluation) == 0,
    )


def without_shadow(found: Route) -> Route:
    """``found`` for nobody but the leg that answers; marked as shed where another one would have run it."""
    if found.legs == (found.authority,):
        return found
    return found.model_copy(update={"legs": (found.authority,), "shed": True})


def bucket(salt: str, key: str) -> int:
    """The bucket of ``key``, from 0 to ``BUCKETS`` - 1; even, and the same in every process."""
    digest = sha256(f"{salt}\0{key}".encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8]) % BUCKETS


def is_within(share: float, salt: str, key: str) -> bool:
    """Whether ``key`` is among the first ``share`` percent, as those of every smaller share are."""
    return bucket(salt, key) < round(share * BUCKETS / 100)


def _is_celerys(rollout: Rollout, evaluation: Evaluation) -> bool:
    if rollout.stage.rank < Stage.CANARY.rank:
        return False
    by_rule = _rule_share(rollout, evaluation)
    by_stage = rollout.share if rollout.stage is Stage.CANARY else 100.0
    share = by_stage if by_rule is None else by_rule
    return is_within(share, rollout.salt, evaluation.tenant or evaluation.id)


def _rule_share(rollout: Rollout, evaluation: Evaluation) -> float | None:
    return next((rule.share for rule in rollout.rules if rule.fits(evaluation)), None)


def _legs(rollout: Rollout, authority: Leg, evaluation_id: str) -> tuple[Leg, ...]:
    match rollout.stage:
        case Stage.LEGACY:
            return ("legacy",)
        case Stage.SHADOW | Stage.CANARY:
            return ("legacy", "celery")
        case Stage.LIVE if authority == "celery" and is_within(
            rollout.sample, f"{rollout.salt} sample", evaluation_id
        ):
            return ("legacy", "celery")
        case _:
            return (authority,)


def forward(rollout: Rollout, stage: Stage, share: float, sample: float) -> Rollout:
    """One step ahead; whether it may be taken is the gates' business. ``sample`` is for ``live``."""
    if stage is Stage.LIVE:
        return changed(rollout, stage=stage, share=share, sample=sample)
    return changed(rollout, stage=stage, share=share)


def back(rollout: Rollout, to: Stage = Stage.LEGACY) -> Rollout:
    """Back to ``to``. Celery loses the authority over whatever is not answered yet, and the epoch is spent.

    Raises ``InputError`` when ``to`` is not behind the present stage.
    """
    if to.rank >= rollout.stage.rank:
        raise InputError(
            f"the stage is {rollout.stage}; {to} is not behind it, so there is nothing to roll back"
        )
    share = 0.0 if to.rank < Stage.CANARY.rank else rollout.share
    return changed(rollout, stage=to, share=share, spent=rollout.epoch)


def into_epoch(rollout: Rollout, epoch: int) -> Rollout:
    """The state in a new epoch: without evidence yet, so Celery answers nothing in it at first."""
    if rollout.stage.rank <= Stage.SHADOW.rank:
        return changed(rollout, epoch=epoch)
    return changed(rollout, epoch=epoch, stage=Stage.SHADOW, share=0.0)


def changed(rollout: Rollout, **changes: Any) -> Rollout:
    """The next version with ``changes``; raises ``InputError`` for values that do not fit.

    Whoever goes back, by whatever way, takes Celery's authority over what is under way.
    """
    values = {**rollout.model_dump(), **changes, "version": rollout.version + 1}
    try:
        found = Rollout.model_validate(values)
    except ValueError as error:
        problem = str(error).splitlines()
        raise InputError(f"the rollout cannot be set so: {' '.join(problem[1:3])}") from None
    if found.stage.rank < rollout.stage.rank and found.revoked < rollout.version:
        return found.model_copy(update={"revoked": rollout.version})
    return found


_AGREED = (Classification.MATCH, Classification.NOT_SAMPLED)


def authority(route: Route, revoked: int) -> Leg:
    """Who answers an evaluation so routed, now that stamps up to version ``revoked`` have lost Celery's."""
    return "legacy" if route.version <= revoked else route.authority


def answered_by(route: Route, comparison: Comparison, revoked: int) -> Leg | None:
    """The leg that answers, or null where the one that has to has no answer.

    Where both ran and disagree legacy answers: it is what users had before. Where Celery should answer and
    cannot, legacy does, if it ran.
    """
    who = authority(route, revoked)
    if who == "celery" and comparison.celery is not None and comparison.classification in _AGREED:
        return "celery"
    return "legacy" if comparison.legacy is not None else None


def is_orphaned(route: Route, comparison: Comparison, revoked: int) -> bool:
    """Whether legacy must run this first: only Celery did, and its answer is missing or no longer wanted."""
    if comparison.legacy is not None or "legacy" in route.legs:
        return False
    if comparison.classification is Classification.CANCELLED:
        return False
    return comparison.celery is None or authority(route, revoked) == "legacy"


def is_critical(comparison: Comparison) -> bool:
    """Whether one confirmed case is enough to turn back.

    So it is where success and failure are taken for each other, and where Celery has lost an evaluation that
    legacy answered.
    """
    if comparison.legacy is None:
        return False
    if comparison.celery is None:
        return True
    return (comparison.legacy.exit_code == 0) != (comparison.celery.exit_code == 0)
