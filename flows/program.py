"""The flows of one program: an evaluation started in the Prefect UI, and the reproduction of one."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from pydantic import ValidationError

from crucible.compare import answer
from crucible.errors import InputError
from crucible.fingerprints import Fingerprint, fingerprint
from crucible.ids import new_evaluation_id, new_evaluation_ids, new_sweep_id
from crucible.minimise import Interesting, minimise
from crucible.models import Classification, Comparison, Evaluation, Expectation, Limits, Verdict
from crucible.report.sides import differing_fields
from crucible.reproducer import AT_MOST, Reproducer, size_of
from crucible.settings import Settings, load
from crucible.store import Submission
from executors.client import languages_of_all
from flows.artifacts import evaluation_page, render_comparison
from flows.confirm import confirm
from flows.evaluate import named, seen_through
from flows.forms import Code, Language, Priority, ProgramLimits, Stdin, Tags
from flows.host import FlowHost, current_host, settle_cancelled, settle_cancelled_sweep, settling_if_it_fails
from flows.process import FlowOptions, flow_options
from tasks.batch import Batch

_WELL = {Classification.MATCH, Classification.NONDETERMINISTIC, Classification.NOT_SAMPLED}


@flow(name="evaluate-program", persist_result=False)
async def evaluate_program(
    *,
    language: Language,
    code: Code,
    stdin: Stdin = "",
    priority: Priority = 5,
    limits: ProgramLimits = Limits(),  # noqa: B008 (frozen)
    tags: Tags = (),
) -> State[Any]:
    """Run one program as the migration stands, compare what the legs saw, and show it.

    It is traffic, as what comes in by the API is. Ends as Failed when the legs answered differently or one
    did not answer, and as Cancelled when it was cancelled: both legs have stopped then.
    """
    host, new_id = current_host(), new_evaluation_id()
    asked = {"language": language, "code": code, "stdin": stdin, "priority": priority, "tags": tags}
    try:
        evaluation = Evaluation(id=new_id, limits=limits, **asked)
        await _refuse_unless_run_here(flow_options(load(Settings)), language)
    except ValidationError as error:
        first = error.errors()[0]
        return Failed(message=f"not evaluated: {'.'.join(map(str, first['loc']))}: {first['msg']}")
    except InputError as error:
        return Failed(message=f"not evaluated: {error}")
    await host.enduring(partial(host.store.submit, [Submission(new_id, evaluation, is_traffic=True)]))
    get_run_logger().info("evaluation %s", evaluation_page(new_id) or new_id)
    state: State[Any] = await host.flow_runs.run(
        str(flow_run.id), _evaluated(host, new_id), partial(settle_cancelled, host, [new_id])
    )
    return state


async def _refuse_unless_run_here(options: FlowOptions, language: str) -> None:
    at = options.endpoints
    here = await asyncio.to_thread(languages_of_all, at.executor_urls, at.executor_token)
    if language not in here:
        raise InputError(f"no executor runs {language!r} here; they run {', '.join(sorted(here))}")


async def _evaluated(host: FlowHost, evaluation_id: str) -> State[Any]:
    batch = await seen_through(host, [evaluation_id], 0, str(flow_run.id))
    if not isinstance(batch, Batch):
        return batch
    comparison = batch.comparisons[0]
    if comparison.classification is Classification.MISMATCH:
        (comparison,) = await confirm(host, [comparison])
    await host.exchange.forget(batch.run_ids)
    await acreate_markdown_artifact(
        render_comparison(comparison, evaluation_page(evaluation_id)),
        key="comparison",
        description=f"What both legs saw of {evaluation_id}: **{comparison.classification}**.",
    )
    said = _in_words(comparison)
    return Completed(message=said) if comparison.classification in _WELL else Failed(message=said)


def _in_words(comparison: Comparison) -> str:
    differing = differing_fields(comparison)
    return f"{comparison.classification}: {differing} differ" if differing else str(comparison.classification)


_STEADY_RUNS = 3
_SPAN_S = 1.1
"""Seconds from the first run of a candidate to the last: a clock that is printed has ticked by then."""

_LONGER = 5
_WALL_FLOOR_S = 2.0
_BLOCK = re.compile(r"^(?![\s})\]])", re.MULTILINE)
_PIECE = re.compile(r"\w+|\s+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class _Step:
    """One way to take a program apart, and to put together what is left of it."""

    pieces: Callable[[Evaluation], Sequence[str]]
    rebuilt: Callable[[Evaluation, Sequence[str]], Evaluation]


@flow(name="reproduce", persist_result=False, validate_parameters=False)
async def reproduce(evaluation_id: str, at_most: int = AT_MOST) -> Reproducer | State[Any] | None:
    """Reduce a mismatch over blocks and lines of code, lines of standard input, then words and signs of code.

    A candidate counts when both legs run it three times, legacy always answers alike, and the fingerprint is
    the mismatch's each time. At most ``at_most`` candidates are tried. They are entered in the ledger under
    a sweep of their own, so that they are evidence of nothing. Null when the whole program does not show the
    mismatch again. Raises ``InputError`` when ``evaluation_id`` is no mismatch of this store.
    """
    host = current_host()
    comparison, evaluation, wanted = await _mismatch(host, evaluation_id)
    sweep_id = new_sweep_id()
    await host.store.begin_sweep(sweep_id, {"reproduces": evaluation_id, "at_most": at_most})
    trial = _Trial(host, sweep_id, wanted, _limits(evaluation.limits, comparison))
    settle = partial(settle_cancelled_sweep, host, sweep_id)
    work = settling_if_it_fails(_reduced(trial, evaluation_id, evaluation, at_most), settle)
    found = await host.flow_runs.run(str(flow_run.id), work, settle)
    await host.store.ownership.end_sweep(sweep_id, Verdict.INCONCLUSIVE)
    return found


async def _mismatch(host: FlowHost, evaluation_id: str) -> tuple[Comparison, Evaluation, Fingerprint]:
    comparison = await host.store.comparison(evaluation_id)
    if comparison is None:
        raise InputError(
            f"{evaluation_id} is not settled in this store; name an evaluation of a sweep, and the store that"
            " has it with CRUCIBLE_HOME or CRUCIBLE_DATABASE_URL"
        )
    wanted = fingerprint(comparison)
    if comparison.classification is not Classification.MISMATCH or wanted is None:
        raise InputError(
            f"{evaluation_id} is classified as {comparison.classification}; only a mismatch can be reproduced"
        )
    ((_, evaluation),) = await host.store.load([evaluation_id])
    return comparison, evaluation.model_copy(update={"expect": Expectation()}), wanted


async def _reduced(
    trial: "_Trial", evaluation_id: str, evaluation: Evaluation, at_most: int
) -> Reproducer | None:
    if not (await trial.hold([evaluation]))[0]:
        return None
    current, left, minimal = evaluation, at_most - trial.programs, True
    for step in _STEPS:
        found = await minimise(step.pieces(current), _asking(trial, step, current), at_most=left)
        current = step.rebuilt(current, found.items)
        left -= found.asked
        minimal &= found.minimal
        get_run_logger().info("%d bytes of %d left", len(current.code), len(evaluation.code))
    return Reproducer(
        evaluation_id=evaluation_id,
        fingerprint=trial.wanted,
        reduced=current,
        before=size_of(evaluation),
        after=size_of(current),
        programs=trial.programs,
        runs=trial.runs,
        minimal=minimal,
    )


def _asking(trial: "_Trial", step: _Step, current: Evaluation) -> Interesting[str]:
    async def ask(candidates: Sequence[tuple[str, ...]]) -> Sequence[bool]:
        return await trial.hold([step.rebuilt(current, pieces) for pieces in candidates])

    return ask


class _Trial:
    """Runs candidates on both legs, and counts."""

    def __init__(self, host: FlowHost, sweep_id: str, wanted: Fingerprint, limits: Limits) -> None:
        self._host = host
        self._sweep_id = sweep_id
        self._limits = limits
        self.wanted = wanted
        self.programs = 0
        self.runs = 0

    async def hold(self, candidates: Sequence[Evaluation]) -> list[bool]:
        """Whether each of ``candidates`` shows the wanted mismatch, steadily."""
        self.programs += len(candidates)
        ids = new_evaluation_ids(len(candidates))
        bounded = [each.model_copy(update={"limits": self._limits}) for each in candidates]
        await self._host.store.submit(
            [Submission(key, each, self._sweep_id) for key, each in zip(ids, bounded, strict=True)]
        )
        seen: dict[str, list[Comparison]] = {key: [] for key in ids}
        open_ids, last_from_s = ids, 0.0
        for run in range(_STEADY_RUNS):
            if not open_ids:
                break
            if run == _STEADY_RUNS - 1:
                await asyncio.sleep(last_from_s - time.monotonic())
            self.runs += len(open_ids)
            for comparison in (await named(self._name(open_ids, run))(open_ids, run)).comparisons:
                seen[comparison.evaluation_id].append(comparison)
            last_from_s = last_from_s or time.monotonic() + _SPAN_S
            open_ids = [key for key in open_ids if self._shows(seen[key])]
        return [key in open_ids for key in ids]

    def _shows(self, runs: Sequence[Comparison]) -> bool:
        rules = self._host.rules.today().applied_to(self.wanted.language)
        found = [fingerprint(each) for each in runs]
        said = {answer(each.legacy, rules) for each in runs if each.legacy is not None}
        return len(said) == 1 and all(
            each is not None and each.digest == self.wanted.digest for each in found
        )

    def _name(self, ids: Sequence[str], run: int) -> str:
        return f"reproduce {self.wanted.digest}: {len(ids)} programs, run {run}"


def _limits(limits: Limits, comparison: Comparison) -> Limits:
    """The limits of candidates: one that hangs must not take much longer than the mismatch itself did."""
    took_s = max(side.duration_s for side in (comparison.legacy, comparison.celery) if side is not None)
    return limits.model_copy(update={"wall_s": min(limits.wall_s, max(_WALL_FLOOR_S, _LONGER * took_s))})


def _with_code(evaluation: Evaluation, pieces: Sequence[str]) -> Evaluation:
    return evaluation.model_copy(update={"code": "".join(pieces)})


def _with_stdin(evaluation: Evaluation, pieces: Sequence[str]) -> Evaluation:
    return evaluation.model_copy(update={"stdin": "".join(pieces)})


_STEPS = (
    _Step(lambda each: list(filter(None, _BLOCK.split(each.code))), _with_code),
    _Step(lambda each: each.code.splitlines(keepends=True), _with_code),
    _Step(lambda each: each.stdin.splitlines(keepends=True), _with_stdin),
    _Step(lambda each: _PIECE.findall(each.code), _with_code),
)
"""Blocks (a line with what is indented below it) first: their lines cannot go one by one. Words and signs
last: there are programs of two lines."""
