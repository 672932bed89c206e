"""The store: the ledger of evaluations, what was observed of them, and the sweeps they belong to."""

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from crucible.errors import StoreError
from crucible.models import Classification, Comparison, Counts, Evaluation, Observation, SweepReport
from crucible.store import encoding, queries
from crucible.store.database import Database, migrate, parse
from crucible.store.entries import LedgerRow, RunObservation, Settled, Submission, Timing, Work
from crucible.store.keys import KeyStore, Repeatable, RequestStore, enter_request
from crucible.store.listing import Listing, recorded
from crucible.store.ownership import DutyStore, OwnershipStore
from crucible.store.retention import RetentionStore, StoreInfo, measured
from crucible.store.rollout import RolloutStore
from crucible.store.settlement import LedgerSettler, enter_traffic, rooted
from crucible.store.spans import SpanStore
from crucible.store.tables import evaluation_tags, evaluations, observations, sweep_tallies, sweeps
from crucible.store.tally import Moves

_CHUNK = 1000
"""Ids named in one statement: databases bound the number of parameters."""

_TIMINGS_PAGE = 2000


class Store:
    """A place where nothing submitted is lost and nothing is counted twice.

    Safe to use from many coroutines of one event loop; several processes may open the same store.
    Every method raises ``ServiceUnavailable`` when the database server has gone and ``StoreError``
    when the database refuses; whatever was to be written is then not written at all.
    """

    def __init__(self, database: Database, owner: str | None = None) -> None:
        self._database = database
        self._owner = owner
        self.rollout = RolloutStore(database)
        self.ownership = OwnershipStore(database)
        self.spans = SpanStore(database)
        self.listing = Listing(database)
        self.keys = KeyStore(database)
        self.requests = RequestStore(database)
        self.retention = RetentionStore(database)
        self.duties = DutyStore(database)

    @classmethod
    async def open(cls, url: str, owner: str | None = None) -> Self:
        """Open the store at ``url``, creating it or bringing it to the newest revision if need be.

        What is entered through it is in the hands of ``owner``, a flow host, until that one is no more.
        Raises ``SettingsError`` when ``url`` names no SQLite file or Postgres database,
        ``ServiceUnavailable`` when the server does not answer, and ``StoreError`` when the store
        cannot be written, is no database, or was made by a newer version of Crucible.
        """
        database = Database(parse(url))
        try:
            await migrate(database)
        except BaseException:
            await database.close()
            raise
        return cls(database, owner)

    async def check(self) -> None:
        """Raise as everything here does when the store does not answer, or its disk is about full."""
        await self._database.check()

    async def measured(self) -> StoreInfo:
        """How large the store is, and what was let go."""
        return await measured(self._database)

    async def close(self) -> None:
        """Close all connections; the store is of no further use."""
        await self._database.close()

    async def begin_sweep(self, sweep_id: str, parameters: dict[str, Any]) -> None:
        """Record that a sweep has begun. Its evaluations can be submitted from now on.

        Whoever runs it may begin one again that was only announced; one that has ended stays as it is.
        """
        async with self._database.write() as connection:
            begin = queries.begin_sweep(on_sqlite=self._database.is_sqlite)
            await connection.execute(begin, encoding.sweep_values(sweep_id, parameters, self._owner))

    async def announce_sweep(self, sweep_id: str, parameters: dict[str, Any]) -> None:
        """Record a sweep that somebody else has been asked to run; one that has begun stays as it is."""
        async with self._database.write() as connection:
            announce = queries.new_rows(sweeps, on_sqlite=self._database.is_sqlite)
            await connection.execute(announce, encoding.sweep_values(sweep_id, parameters, self._owner))

    async def finish_sweep(self, report: SweepReport) -> None:
        """Record what a sweep found; raises ``StoreError`` when it was never begun."""
        values = {
            "finished_at": datetime.now(UTC),
            "verdict": report.verdict,
            "report": report.model_dump_json(exclude_defaults=True),
        }
        async with self._database.write() as connection:
            done = await connection.execute(
                update(sweeps).where(sweeps.c.id == report.sweep_id).values(values)
            )
            if done.rowcount != 1:
                raise StoreError(f"sweep {report.sweep_id} is not in the store; begin it before finishing it")

    async def has_sweep(self, sweep_id: str) -> bool:
        """Whether a sweep of that id was ever begun."""
        async with self._database.read() as connection:
            return await connection.scalar(select(sweeps.c.id).where(sweeps.c.id == sweep_id)) is not None

    async def sweep(self, sweep_id: str) -> SweepReport | None:
        """The report of a sweep; null when there is no such sweep or it is not finished."""
        async with self._database.read() as connection:
            report = await connection.scalar(select(sweeps.c.report).where(sweeps.c.id == sweep_id))
        if report is None:
            return None
        return encoding.decoded(SweepReport.model_validate_json, report, f"report of {sweep_id}")

    async def submit(
        self, submissions: Sequence[Submission], request: Repeatable | None = None
    ) -> Sequence[str] | None:
        """Enter evaluations in the ledger, all or none. To be called before anything is enqueued.

        Traffic is routed as the rollout stands at that moment. What is no traffic may be submitted again, in
        doubt whether it was before. When ``request`` was made before, nothing is entered, and the ids are
        returned that it submitted then. Raises ``RequestReused`` when it came with another body.
        """
        if not submissions:
            return None
        now = datetime.now(UTC)
        async with rooted(submissions) as traces, self._database.write() as connection:
            if request is not None:
                ids = [each.id for each in submissions]
                earlier = await enter_request(connection, request, ids, on_sqlite=self._database.is_sqlite)
                if earlier is not None:
                    return earlier
            routes = await enter_traffic(connection, submissions, on_sqlite=self._database.is_sqlite)
            rows = [
                encoding.submission_values(each, routes.get(each.id), now, self._owner, traces.get(each.id))
                for each in submissions
            ]
            await _enter(connection, rows, once=not routes, on_sqlite=self._database.is_sqlite)
            if tags := encoding.tag_values(submissions):
                tags_anew = queries.new_rows(evaluation_tags, on_sqlite=self._database.is_sqlite)
                await connection.execute(tags_anew, tags)
        return None

    async def load(self, ids: Sequence[str]) -> list[tuple[str, Evaluation]]:
        """The evaluations submitted under ``ids``, in that order; raises ``StoreError`` on an unknown id."""
        found: dict[str, Evaluation] = {}
        async with self._database.read() as connection:
            for chunk in _chunks(ids):
                rows = await connection.execute(queries.payloads(chunk))
                found |= {row.id: encoding.evaluation_of(row) for row in rows}
        _require_known(ids, found)
        return [(evaluation_id, found[evaluation_id]) for evaluation_id in ids]

    async def work(self, ids: Sequence[str]) -> list[Work]:
        """As ``load``, with what a flow needs to know besides."""
        found: dict[str, Work] = {}
        async with self._database.read() as connection:
            for chunk in _chunks(ids):
                rows = await connection.execute(queries.work(chunk))
                found |= {row.id: encoding.work_of(row) for row in rows}
        _require_known(ids, found)
        return [found[evaluation_id] for evaluation_id in ids]

    async def settle(self, comparisons: Sequence[Comparison]) -> Settled:
        """Give evaluations their column, with both observations as run 0.

        The first comparison of an evaluation stands: a later one, in this call or another, changes
        nothing and is not counted. All or none; raises ``StoreError`` on one that was never submitted.
        """
        first = {comparison.evaluation_id: comparison for comparison in reversed(comparisons)}
        order = dict.fromkeys(comparison.evaluation_id for comparison in comparisons)
        # Large outputs are compressed before others have to wait for the transaction.
        observed = {
            each: encoding.observation_values(each, 0, its.legacy, its.celery, its.waited_s)
            for each, its in first.items()
        }
        async with self._database.write() as connection:
            settler = LedgerSettler(connection, on_sqlite=self._database.is_sqlite)
            for chunk in _chunks(sorted(first)):
                rows = await settler.lock(chunk)
                _require_known(chunk, rows)
                # In the order in which they came: it is the order in which they count.
                await settler.settle(rows, [first[each] for each in order if each in rows], observed)
            await settler.finish()
        return settler.settled

    async def add_run(
        self, evaluation_id: str, run: int, legacy: Observation | None, celery: Observation | None
    ) -> None:
        """Record what a confirming re-run saw (``run`` from 1). What is recorded already stays as it is."""
        rows = encoding.observation_values(evaluation_id, run, legacy, celery)
        if not rows:
            return
        async with self._database.write() as connection:
            await connection.execute(queries.new_rows(observations, on_sqlite=self._database.is_sqlite), rows)

    async def reclassify(self, comparison: Comparison) -> bool:
        """Classify a mismatch in the light of its re-runs; return whether this call did.

        Only a mismatch is touched, and only by a comparison that rests on more re-runs than the one
        there: a repeated or late call changes nothing. Raises ``StoreError`` on a classification
        that re-runs cannot give.
        """
        if comparison.classification not in (Classification.MISMATCH, Classification.NONDETERMINISTIC):
            raise StoreError(
                f"{comparison.evaluation_id} cannot be classified again as {comparison.classification}; "
                "re-runs leave a mismatch a mismatch or find it nondeterministic"
            )
        async with self._database.write() as connection:
            settler = LedgerSettler(connection, on_sqlite=self._database.is_sqlite)
            return await settler.reclassify(comparison)

    async def counts(self, sweep_id: str) -> Counts:
        """The columns of a sweep's ledger, as they were kept while its evaluations moved."""
        async with self._database.read() as connection:
            found = await connection.execute(
                select(sweep_tallies).where(sweep_tallies.c.sweep_id == sweep_id)
            )
            row = found.one_or_none()
        return (
            Counts() if row is None else Counts(**{name: getattr(row, name) for name in Counts.model_fields})
        )

    async def page(
        self,
        sweep_id: str,
        classifications: Collection[Classification],
        after_id: str | None,
        limit: int,
        *,
        unexpected: bool = False,
    ) -> list[Comparison]:
        """At most ``limit`` comparisons of a sweep with ids above ``after_id``, ordered by id.

        Those in one of ``classifications`` and, with ``unexpected``, also those so remarked.
        """
        if not classifications and not unexpected:
            return []
        query = queries.page(sweep_id, classifications, after_id or "", limit, unexpected=unexpected)
        async with self._database.read() as connection:
            return [encoding.comparison_of(row) for row in await connection.execute(query)]

    async def evaluation_state(self, evaluation_id: str) -> LedgerRow | None:
        """Where an evaluation stands; null when it was never submitted."""
        async with self._database.read() as connection:
            found = await connection.execute(queries.ledger_rows().where(evaluations.c.id == evaluation_id))
            row = found.one_or_none()
        return None if row is None else encoding.ledger_row_of(row)

    async def evaluation_states(self, ids: Sequence[str]) -> list[LedgerRow]:
        """Where evaluations stand, in the order of ``ids``; those never submitted are left out."""
        found: dict[str, LedgerRow] = {}
        async with self._database.read() as connection:
            for chunk in _chunks(ids):
                rows = await connection.execute(queries.ledger_rows().where(evaluations.c.id.in_(chunk)))
                found |= {row.id: encoding.ledger_row_of(row) for row in rows}
        return [found[each] for each in ids if each in found]

    async def comparison(self, evaluation_id: str) -> Comparison | None:
        """The comparison of an evaluation; null when it is not settled or was never submitted."""
        state = await self.evaluation_state(evaluation_id)
        return None if state is None else state.comparison

    async def unsettled(self, sweep_id: str, limit: int) -> list[str]:
        """At most ``limit`` ids of a sweep that have no column yet, the oldest first."""
        async with self._database.read() as connection:
            return list(await connection.scalars(queries.unsettled(sweep_id, limit)))

    def recorded(self, limit: int) -> AsyncIterator[tuple[str, Evaluation]]:
        """The newest ``limit`` evaluations of traffic and their ids, each program once, newest first."""
        return recorded(self._database, limit)

    async def runs(self, evaluation_id: str) -> list[RunObservation]:
        """Everything seen of an evaluation, by run, legacy before celery."""
        async with self._database.read() as connection:
            rows = (await connection.execute(queries.runs(evaluation_id))).all()
        found: list[RunObservation] = []
        for row in rows:
            before = found[-1].observation if found and found[-1].run == row.run else None
            seen = encoding.observation_of(row.body, evaluation_id, row.leg, row.run, before)
            found.append(RunObservation(row.run, row.leg, seen))
        return found

    async def timings(self, sweep_id: str) -> AsyncIterator[Timing]:
        """How long each settled evaluation ran, where both legs saw it. In no useful order, page by page."""
        after: queries.Position = ("", "")
        while True:
            async with self._database.read() as connection:
                rows = (await connection.execute(queries.timings(sweep_id, after, _TIMINGS_PAGE))).all()
            for row in rows:
                yield Timing(row.name, row.language, row.legacy_s, row.celery_s)
            if len(rows) < _TIMINGS_PAGE:
                return
            after = (rows[-1].classification, rows[-1].id)


async def _enter(
    connection: AsyncConnection, rows: Sequence[encoding.Values], *, once: bool, on_sqlite: bool
) -> None:
    """Insert ledger rows, and count those of sweeps that were not there before."""
    enter = queries.enter_once(on_sqlite=on_sqlite) if once else queries.enter()
    moves = Moves()
    for sweep_id, classification in (await connection.execute(enter, rows)).all():
        if sweep_id is not None:
            moves.enter_sweep(sweep_id)
            if classification is not None:
                moves.move_in_sweep(sweep_id, None, Classification(classification))
    await moves.write(connection, on_sqlite=on_sqlite)


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + _CHUNK] for start in range(0, len(ids), _CHUNK))


def _require_known(ids: Sequence[str], known: Collection[str]) -> None:
    missing = next((evaluation_id for evaluation_id in ids if evaluation_id not in known), None)
    if missing is not None:
        raise StoreError(
            f"evaluation {missing} is not in the store; submit it first, or name the store that has it"
        )
