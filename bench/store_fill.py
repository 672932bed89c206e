"""Fills a store on Postgres with evaluations of the last ninety days, by the server itself."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from crucible.ids import first_id_at
from crucible.store.database import Database

FROM = "0004"
"""The revision that is filled; what is newer comes by migrating, as it does for stores there are."""

SPAN = timedelta(days=90)
BIG_SWEEP = "sw-of-a-fifth"
OPEN = 100
"""So many of the newest have no column yet, in a store of any size."""

_SMALL_SWEEP = 5000
_SPAN_MS = SPAN // timedelta(milliseconds=1)
_PARTS = 20
_TIME_DIGITS = 10


class Filling:
    """``number`` evaluations: two fifths of sweeps, one of which has half of them, the others traffic."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.since = (datetime.now(UTC) - SPAN).replace(microsecond=0)

    def id_of(self, place: int) -> str:
        """The id of an evaluation; 0 is the oldest."""
        at = self.since + timedelta(milliseconds=place * _SPAN_MS // self.number)
        return f"{first_id_at('ev-', at)[: 3 + _TIME_DIGITS]}{place:016d}"

    async def fill(self, database: Database) -> None:
        """Write all rows, without asking triggers and foreign keys, which they keep by how they are made."""
        step = self.number // _PARTS
        for part in range(_PARTS):
            bounds = {"low": part * step, "high": (part + 1) * step - 1}
            async with database.write() as connection:
                await connection.execute(text("SET LOCAL session_replication_role = replica"))
                await connection.execute(
                    text(f"CREATE TEMPORARY TABLE made ON COMMIT DROP AS {self._made}"), bounds
                )
                if part == 0:
                    await connection.execute(text(_SWEEPS), {"number": self.number, "since": self.since})
                for statement in (_EVALUATIONS, _LEGACY, _CELERY, _TAGS, _EVIDENCE):
                    await connection.execute(text(statement))
        async with database.write() as connection:
            await connection.execute(text(_TALLIES))
            # Which pairs get one is drawn from their ids by a hash that the server does not have.
            await connection.execute(text(_NO_PLANTED_FAULTS))

    @property
    def _made(self) -> str:
        """What is told of each row by its place: everything else follows from it."""
        start_ms = int(self.since.timestamp() * 1000)
        digits = " || ".join(
            f"substr('0123456789ABCDEFGHJKMNPQRSTVWXYZ', ((ms >> {shift}) & 31)::int + 1, 1)"
            for shift in range(5 * (_TIME_DIGITS - 1), -1, -5)
        )
        return f"""
            SELECT i, r, 'ev-' || {digits} || lpad(i::text, 16, '0') AS id,
                to_timestamp(ms / 1000.0) AS at, i % 5 > 1 AS is_traffic,
                CASE i % 5 WHEN 0 THEN '{BIG_SWEEP}'
                    WHEN 1 THEN 'sw-' || lpad((i / {_SMALL_SWEEP})::text, 8, '0') END AS sweep_id,
                CASE WHEN l = 0 THEN 'ruby' WHEN l < 50 THEN 'bash'
                    WHEN l < 100 THEN 'javascript' ELSE 'python' END AS language,
                CASE WHEN i >= {self.number - OPEN} THEN NULL
                    WHEN r < 10 THEN 'mismatch' WHEN r < 15 THEN 'nondeterministic'
                    WHEN r < 16 THEN 'unpaired' WHEN r < 17 THEN 'cancelled'
                    WHEN r < 30 THEN 'not_sampled' ELSE 'match' END AS classification
            FROM generate_series(cast(:low AS bigint), cast(:high AS bigint)) AS i,
                LATERAL (SELECT {start_ms} + i * {_SPAN_MS} / {self.number} AS ms,
                    i * 7919 % 1000 AS r, i * 104729 % 997 AS l) chosen"""  # noqa: S608


_SWEEPS = f"""
    INSERT INTO sweeps (id, started_at, finished_at, parameters, verdict)
    SELECT id, cast(:since AS timestamptz), cast(:since AS timestamptz), '{{}}', 'pass' FROM (
        SELECT 'sw-' || lpad(i::text, 8, '0') AS id
        FROM generate_series(0, cast(:number AS int) / {_SMALL_SWEEP}) AS i
        UNION ALL SELECT '{BIG_SWEEP}') named"""  # noqa: S608

_EVALUATIONS = """
    INSERT INTO evaluations (id, sweep_id, name, language, payload, submitted_at, settled_at,
        classification, unexpected, comparison, reruns, route, epoch, cause, owner, traceparent)
    SELECT id, sweep_id, 'name-' || i, language,
        json_build_object('id', 'name-' || i, 'language', language,
            'code', repeat('print(1)' || chr(10), 30)),
        at, CASE WHEN classification IS NOT NULL THEN at + interval '1 second' END, classification,
        sweep_id IS NOT NULL AND r IN (30, 34, 35, 39),
        CASE WHEN classification IS NOT NULL THEN
            '{"flow_run_ids":["0f8fad5b-d9cb-469f-a165-70867728950e"]}' END,
        CASE WHEN classification = 'mismatch' THEN 3 ELSE 0 END,
        CASE WHEN is_traffic THEN json_build_object('stage', 'shadow', 'version', 1,
            'legs', json_build_array('legacy', 'celery'), 'authority', 'legacy', 'epoch', 0,
            'strata', json_build_array('all', 'language:' || language)) END,
        CASE WHEN is_traffic THEN 0 END,
        CASE WHEN classification = 'mismatch' THEN 'c0ffee' || lpad((i % 20)::text, 10, '0') END,
        'host-of-old', '00-' || md5(i::text) || '-b7ad6b7169203331-01'
    FROM made"""

_OBSERVED = """
    INSERT INTO observations
        (evaluation_id, leg, run, outcome, duration_s, cpu_s, executor, body, waited_s)
    SELECT id, '{leg}', 0, 'ok', duration_s, 0.01, '{executor}',
        json_build_object('outcome', 'ok', 'exit_code', 0,
            'stdout_b64', encode(convert_to({line} || i, 'UTF8'), 'base64'),
            'duration_s', duration_s, 'cpu_s', 0.01, 'memory_peak_mb', 9.5, 'executor', '{executor}',
            'isolation_level', 'namespaces+cgroups+seccomp', 'leg', '{leg}'),
        CASE WHEN is_traffic THEN duration_s / 4 END
    FROM made, LATERAL (SELECT 0.02 + (i * 31337 % 1000) / 10000.0 AS duration_s) took
    WHERE classification IN ('match', 'mismatch', 'nondeterministic'){also}"""
_LEGACY = _OBSERVED.format(
    leg="legacy", executor="executor-1", line="'line '", also=" OR classification = 'unpaired'"
)
_CELERY = _OBSERVED.format(
    leg="celery",
    executor="executor-3",
    line="CASE WHEN classification = 'mismatch' THEN 'LINE ' ELSE 'line ' END",
    also="",
)

_TAGS = """
    INSERT INTO evaluation_tags SELECT 'nightly', id FROM made WHERE i % 10 = 3
    UNION ALL SELECT 'rare', id FROM made WHERE i % 503 = 1"""

_EVIDENCE = """
    INSERT INTO evidence (seq, epoch, evaluation_id, mismatch, against_celery, mutant, caught)
    SELECT (SELECT coalesce(max(seq), 0) FROM evidence) + row_number() OVER (ORDER BY i), 0, id,
        classification <> 'match', classification IN ('mismatch', 'unpaired'), NULL, NULL
    FROM made WHERE is_traffic AND classification IN ('match', 'mismatch', 'unpaired')"""

_NO_PLANTED_FAULTS = """UPDATE epochs SET body = '{"policy": {"mutant_share": 0}}'"""

_COLUMNS = ", ".join(
    f"count(*) FILTER (WHERE {condition})"
    for condition in (
        "true",
        "classification IS NULL",
        *(
            f"classification = '{kind}'"
            for kind in ("match", "mismatch", "nondeterministic", "unpaired", "cancelled", "not_sampled")
        ),
    )
)
_TALLIES = f"""
    INSERT INTO tallies
    SELECT 0, stratum, {_COLUMNS} FROM (
        SELECT classification, unnest(ARRAY['all', 'language:' || language]) AS stratum
        FROM evaluations WHERE epoch = 0) AS each GROUP BY stratum"""  # noqa: S608
