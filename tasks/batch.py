"""A batch of evaluations on its way through the legs: what is asked, and the pairs that come back."""

import asyncio
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from crucible.compare import compare
from crucible.fingerprints import fingerprint
from crucible.models import LEGS, Classification, Comparison, Evaluation, Leg, Observation
from crucible.normalise import NO_RULES, RuleSet
from crucible.store import Work
from tasks.dispatch import Dispatch
from tasks.exchange import Answer, Exchange
from tasks.run_traces import BatchTrace, untraced
from tasks.settler import Settler

OnPair = Callable[[Comparison], None]
RulesOf = Callable[[Work], RuleSet]


def no_rules(_work: Work) -> RuleSet:
    """Byte for byte."""
    return NO_RULES


@dataclass(slots=True)
class _Pair:
    """One evaluation on its way. ``legs`` are those that it waits for."""

    work: Work
    legs: set[Leg]
    seen: dict[Leg, Observation | None] = field(default_factory=dict)
    cancelled: bool = False
    reasons: dict[Leg, str] = field(default_factory=dict)
    waited_s: dict[Leg, float] = field(default_factory=dict)


class Batch:
    """Evaluations of the ledger, sent as run number ``run``, each to the legs of its route.

    ``on_pair`` gets each comparison the moment its last side is there, long before the batch ends. While its
    flow run has no id yet, pairs wait for that.
    """

    def __init__(
        self,
        work: Sequence[Work],
        run: int,
        flow_run_id: str | None,
        exchange: Exchange,
        reply_to: str,
        on_pair: OnPair,
        rules_of: RulesOf = no_rules,
        trace: BatchTrace | None = None,
    ) -> None:
        self._run = run
        self._flow_run_id = flow_run_id
        self._early: list[_Pair] = []
        self._asking: dict[Leg, asyncio.Task[None]] = {}
        self._exchange = exchange
        self._reply_to = reply_to
        self._on_pair = on_pair
        self._rules_of = rules_of
        self._trace = trace or untraced()
        self._pairs = {each.id: _opened(each, run) for each in work}
        self._found: dict[str, Comparison] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def flow_run_id(self) -> str:
        """The flow run it belongs to; not to be asked for before that has an id."""
        assert self._flow_run_id is not None  # noqa: S101 (says what the caller has to know)
        return self._flow_run_id

    def ask_ahead(self) -> None:
        """Ask all legs now; whoever asks one of them later waits for what was asked here."""
        self._asking = {leg: asyncio.create_task(self._ask(leg)) for leg in LEGS}
        for asking in self._asking.values():
            asking.add_done_callback(_look_at)

    def begin(self, flow_run_id: str) -> None:
        """The flow run has this id, from now on."""
        self._flow_run_id = flow_run_id
        self._trace.began(flow_run_id)
        early, self._early = self._early, []
        for pair in early:
            self._compare(pair)

    @property
    def run_ids(self) -> list[str]:
        """The ids under which the legs know these runs."""
        return [self._run_id(each) for each in self._pairs]

    @property
    def comparisons(self) -> list[Comparison]:
        """The comparisons so far, each evaluation's latest."""
        return list(self._found.values())

    async def ask(self, leg: Leg) -> None:
        """Run what waits for ``leg`` on it; returns when all of that has its answer or was given up."""
        await (self._asking.pop(leg, None) or self._ask(leg))

    async def _ask(self, leg: Leg) -> None:
        now_ms = time.time_ns() // 1_000_000
        dispatches = [
            self._dispatch(pair.work, leg, now_ms) for pair in self._pairs.values() if leg in pair.legs
        ]
        if dispatches:
            await self._exchange.ask(leg, dispatches, lambda answer: self._receive(leg, answer))

    def reopen(self, evaluation_ids: Collection[str], leg: Leg) -> None:
        """Have these run on ``leg`` as well; their comparisons are made again when that has answered."""
        for evaluation_id in evaluation_ids:
            del self._found[evaluation_id]
            self._pairs[evaluation_id].legs = {leg}

    def abandon(self) -> None:
        """No flow run has taken it up: what was asked runs on, for whoever asks for it next."""
        for leg in self._asking:
            self._exchange.abandon(leg, self.run_ids)
        self._trace.close()

    def close(self) -> None:
        """Nothing of it is seen through any more: what nobody has come to ask for is cancelled."""
        for asking in self._asking.values():
            asking.cancel()
        self._trace.close()

    def _dispatch(self, work: Work, leg: Leg, now_ms: int) -> Dispatch:
        run_id = self._run_id(work.id)
        place = self._trace.asked(run_id, leg) or work.traceparent
        repeats = self._trace.repeats(run_id, leg)
        return Dispatch(run_id, work.evaluation, self._reply_to, place, now_ms, repeats)

    def _run_id(self, evaluation_id: str) -> str:
        return f"{evaluation_id}.{self._run}"

    def _receive(self, leg: Leg, answer: Answer) -> None:
        pair = self._pairs[answer.run_id.rpartition(".")[0]]
        pair.legs.discard(leg)
        self._trace.answered(answer.run_id, leg, answer)
        pair.seen[leg] = answer.observation
        pair.cancelled |= answer.cancelled
        if answer.reason is not None:
            pair.reasons[leg] = answer.reason
        if answer.waited_s is not None:
            pair.waited_s[leg] = answer.waited_s
        if pair.legs:
            return
        if self._flow_run_id is None:
            self._early.append(pair)
        else:
            self._compare(pair)

    def _compare(self, pair: _Pair) -> None:
        run_id = self._run_id(pair.work.id)
        with self._trace.comparing(run_id):
            comparison = _compared(pair, self.flow_run_id, self._rules_of(pair.work))
        self._found[pair.work.id] = comparison
        self._trace.compared(run_id, comparison, is_settled_next=self._run == 0)
        self._on_pair(comparison)


def _look_at(asking: asyncio.Task[None]) -> None:
    """Nobody may come to ask why it failed, and that is no defect."""
    if not asking.cancelled():
        asking.exception()


def cancelled(evaluation_id: str, evaluation: Evaluation, flow_run_id: str | None = None) -> Comparison:
    """What is said of an evaluation that was cancelled, whatever one of its legs may have seen."""
    return Comparison(
        evaluation_id=evaluation_id,
        name=evaluation.id,
        language=evaluation.language,
        classification=Classification.CANCELLED,
        flow_run_ids=() if flow_run_id is None else (flow_run_id,),
    )


def _opened(work: Work, run: int) -> _Pair:
    if work.recorded is not None:
        return _Pair(work, {"celery"}, {"legacy": work.recorded})
    # A re-run is there to compare, so both legs run it whoever answered the first time.
    legs = LEGS if run or work.route is None else work.route.legs
    return _Pair(work, set(legs))


def _compared(pair: _Pair, flow_run_id: str, rules: RuleSet) -> Comparison:
    if pair.cancelled:
        return cancelled(pair.work.id, pair.work.evaluation, flow_run_id)
    legacy, celery = pair.seen.get("legacy"), pair.seen.get("celery")
    found = compare(
        pair.work.id, pair.work.evaluation, legacy, celery, pair.reasons, flow_run_id, rules
    ).model_copy(update={"waited_s": pair.waited_s})
    if len(pair.seen) == 1 and (legacy or celery):
        return found.model_copy(update={"classification": Classification.NOT_SAMPLED})
    cause = fingerprint(found)
    return found if cause is None else found.model_copy(update={"cause": cause.digest})


_USUAL = (Classification.MATCH, Classification.NOT_SAMPLED)
_LOGGED = 20
"""Differing evaluations that one compare step names in its log; the report has them all."""


@task(name="legacy leg", cache_policy=NO_CACHE, persist_result=False)
async def run_on_legacy(batch: Batch) -> None:
    """Run the batch on the legacy leg and wait for its observations."""
    await batch.ask("legacy")


@task(name="celery leg", cache_policy=NO_CACHE, persist_result=False)
async def run_on_celery(batch: Batch) -> None:
    """Run the batch on the celery leg and wait for its observations."""
    await batch.ask("celery")


@task(name="legacy leg takes over", cache_policy=NO_CACHE, persist_result=False)
async def take_over(batch: Batch, orphaned: set[str]) -> None:
    """Run on legacy what Celery alone ran and may answer no more, or could not answer."""
    batch.reopen(orphaned, "legacy")
    await batch.ask("legacy")


@task(name="compare", cache_policy=NO_CACHE, persist_result=False)
async def compare_legs(batch: Batch, settler: Settler) -> set[str]:
    """Close the batch: every pair was compared when it came; here they are durable, counted and logged.

    Returns the evaluations that legacy has to take over.
    """
    await settler.flush()
    orphaned = settler.take_orphans(each.evaluation_id for each in batch.comparisons)
    logger = get_run_logger()
    found = batch.comparisons
    odd = [each for each in found if each.classification not in _USUAL or each.unexpected]
    for comparison in odd[:_LOGGED]:
        logger.warning("%s", describe(comparison))
    logger.info("%d compared, %d alike", len(found), len(found) - len(odd))
    if orphaned:
        logger.warning("%d to be answered by legacy instead of Celery", len(orphaned))
    return orphaned


def describe(comparison: Comparison) -> str:
    """One line on what is odd about a comparison; holds none of the program's own words."""
    what = [f"{each.field} differs" for each in comparison.differences]
    what += [f"{leg}: {reason}" for leg, reason in comparison.reasons.items()]
    what += ["both legs agree and miss the expectation"] if comparison.unexpected else []
    return f"{comparison.name!r} ({comparison.evaluation_id}): {comparison.classification}; {', '.join(what)}"
