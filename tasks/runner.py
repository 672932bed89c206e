"""What a worker of either leg does with one run: claim it, have it executed, report what came of it."""

from collections.abc import Mapping
from typing import Protocol

import orjson
import structlog

from crucible.errors import CrucibleError
from crucible.telemetry.spans import failed, span
from tasks.claims import Claim, Claims, ClaimState
from tasks.dispatch import Run
from tasks.worker_telling import claimed, ended, told

# A program's words are base64 in an observation, so these bytes can only be the platform's.
_SANDBOX_ERROR = b'"sandbox_error"'
_CANCELLED = b'{"outcome":"cancelled"}'


class Executor(Protocol):
    """Whoever gets a program run."""

    def execute(
        self, run_id: str, language: str, code: str, stdin: str, limits: Mapping[str, object]
    ) -> bytes:
        """See ``ExecutorClient.execute``."""


def run_one(run: Run, claims: Claims, executor: Executor) -> ClaimState:
    """Carries ``run`` through the executor and reports its observation, or a fault.

    Returns the state of the claim: a run that is held or was answered is dropped, since its sender
    sends it again when nobody has it; one that was cancelled is reported as such and not run. Raises
    ``ServiceUnavailable`` when the report could not be made.
    """
    with told(run, claims.leg):
        return _claim_and_run(run, claims, executor)


def _claim_and_run(run: Run, claims: Claims, executor: Executor) -> ClaimState:
    claim = claimed(run, claims)
    if claim.state is ClaimState.CANCELLED:
        _report(claims, claim, _CANCELLED)
    if claim.state is not ClaimState.CLAIMED:
        return claim.state
    try:
        with span("execute", {"leg": claims.leg}):
            observation = executor.execute(run.run_id, run.language, run.code, run.stdin, run.limits)
        if _SANDBOX_ERROR in observation:
            _report_fault(claims, claim, f"the executor's sandbox failed: {_detail(observation)}")
        else:
            _report(claims, claim, observation)
    except CrucibleError as error:
        _report_fault(claims, claim, str(error))
    finally:
        claims.abandon(claim)
    return claim.state


def _report(claims: Claims, claim: Claim, observation: bytes) -> None:
    with span("report", {"leg": claims.leg}):
        was_first = claims.answer(claim, observation)
    ended(claims.leg, "answer" if was_first else "duplicate")


def _report_fault(claims: Claims, claim: Claim, reason: str) -> None:
    structlog.get_logger().warning("no observation", reason=reason)
    with span("report", {"leg": claims.leg}) as reporting:
        failed(reporting, reason)
        claims.fault(claim, " ".join(reason.split()))
    ended(claims.leg, "fault")


def _detail(observation: bytes) -> str:
    return orjson.loads(observation).get("detail") or "it gave no detail"
