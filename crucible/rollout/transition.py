"""Changes of the migration's state. Each gives a new state of the next version, or says why there is none."""

from typing import Any

from crucible.errors import InputError
from crucible.rollout.stage import Rollout, Stage


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
