"""A sweep's report with everything in it that a page, a terminal or XML could stumble over."""

import math
import random
from base64 import b64encode
from datetime import UTC, datetime
from typing import Protocol

import pytest

from crucible.compare import compare
from crucible.models import (
    LEGS,
    Classification,
    Comparison,
    Counts,
    Evaluation,
    Expectation,
    Observation,
    Outcome,
    SweepReport,
)
from crucible.models.sweep import Slowest
from crucible.report.summary import LatencyRecorder
from crucible.verdict import judge, mismatch_rate_upper

HOSTILE = {
    "escape-sequences": (b"\x1b[2J\x1b]0;owned\x07red\x1b[31m\n", b"\x1b[2Jred\n"),
    "closes-the-script": (b"</script><script>alert(1)</script>\n", b"</style><img src=x onerror=alert(1)>\n"),
    "nul-and-invalid-utf8": (b"a\x00b\xff\xfe\n", b"a\x00b\xff\n"),
    "one-megabyte-line": (b"x" * 1_000_000 + b"A" + b"y" * 50, b"x" * 1_000_000 + b"B" + b"y" * 50),
    "right-to-left-override": ("user\u202enimda\n".encode(), b"user\n"),
    "missing-last-newline": (b"one\ntwo \t\nthree", b"one\ntwo\t\nthree\n"),
    "crlf": (b"name,value\r\nalpha,1\r\nbeta,2\r\n", b"name,value\nalpha,1\nbeta,2\n"),
    "time-zone": (
        b"Starting report\nnow: 2024-03-31 02:30:00 UTC\nnext: 2024-03-31 03:30:00 UTC\nrows: 3\nok\n",
        b"Starting report\nnow: 2024-03-31 04:30:00 CEST\nnext: 2024-03-31 05:30:00 CEST\nrows: 3\nok\n",
    ),
}
FLOW_RUN = "5f0a6a3e-7f4d-4e37-9a5e-1d4f0c0b7a{:02d}"


class MakeComparison(Protocol):
    """Makes a comparison from what each leg printed; ``None`` for a leg that did not answer."""

    def __call__(self, name: str, legacy: bytes | None, celery: bytes | None) -> Comparison: ...


def observation(stdout: bytes = b"", outcome: Outcome = Outcome.OK, exit_code: int | None = 0) -> Observation:
    return Observation(
        outcome=outcome,
        exit_code=exit_code,
        stdout_b64=b64encode(stdout).decode(),
        duration_s=0.031,
        cpu_s=0.024,
        memory_peak_mb=9.4,
        executor="executor-1",
        isolation_level="namespaces+cgroups",
    )


def comparison(name: str, legacy: bytes | None, celery: bytes | None) -> Comparison:
    return compare(
        f"ev-{name}",
        Evaluation(id=name, language="python", code=""),
        None if legacy is None else observation(legacy),
        None if celery is None else observation(celery).model_copy(update={"executor": "executor-3"}),
        {}
        if legacy is not None and celery is not None
        else {"celery": "no answer within 120 s of its deadline"},
        FLOW_RUN.format(7),
    )


def unexpected() -> Comparison:
    expectation = Expectation(stdout="42\n")
    evaluation = Evaluation(id="both-wrong", language="bash", code="", expect=expectation)
    return compare("ev-both-wrong", evaluation, observation(b"41\n"), observation(b"41\n"))


def killed() -> Comparison:
    legacy = observation(b"partial\n")
    celery = observation(b"", Outcome.MEMORY_LIMIT, None).model_copy(update={"signal": "SIGKILL"})
    return compare(
        "ev-killed", Evaluation(id="allocates-200-mb", language="c", code=""), legacy, celery
    ).model_copy(update={"reruns": 3})


@pytest.fixture
def make_comparison() -> MakeComparison:
    return comparison


@pytest.fixture
def full_report() -> SweepReport:
    """A failed sweep with at least one comparison of every kind that is detailed."""
    mismatches = [
        comparison(name, *streams).model_copy(update={"reruns": 3}) for name, streams in HOSTILE.items()
    ]
    varying = comparison("prints-the-time", b"12:00:01\n", b"12:00:02\n")
    details = (
        *mismatches,
        killed(),
        unexpected(),
        varying.model_copy(update={"classification": Classification.NONDETERMINISTIC, "reruns": 3}),
        *(comparison(f"unanswered-{number}", b"fine\n", None) for number in range(3)),
    )
    counts = Counts(
        submitted=1237,
        matched=1223,
        mismatched=len(mismatches) + 1,
        nondeterministic=1,
        unpaired=3,
        not_sampled=1,
        unexpected=1,
    )
    return report_of(counts, details)


@pytest.fixture
def passed_report() -> SweepReport:
    """A sweep in which everything agreed."""
    return report_of(Counts(submitted=164, matched=164), ())


def report_of(counts: Counts, details: tuple[Comparison, ...]) -> SweepReport:
    verdict, reasons = judge(counts)
    recorders = {leg: LatencyRecorder() for leg in LEGS}
    chance = random.Random(7)
    for number in range(counts.matched):
        typical = chance.lognormvariate(math.log(0.04 if number % 5 else 0.4), 0.45)
        recorders["legacy"].add(typical)
        recorders["celery"].add(typical * chance.lognormvariate(0.05, 0.1))
    return SweepReport(
        sweep_id="sw-01k5x8m3q7c2t9v4n6b8d0f1g2",
        verdict=verdict,
        reasons=reasons,
        counts=counts,
        mismatch_rate_upper=mismatch_rate_upper(counts),
        confidence=0.95,
        throughput_per_s=38.4,
        duration_s=32.2,
        started_at=datetime(2024, 5, 17, 9, 30, tzinfo=UTC),
        corpora=("corpora/bundled.jsonl",),
        flow_run_ids=tuple(FLOW_RUN.format(number) for number in range(7)),
        flow_run_urls=tuple(
            f"http://127.0.0.1:4200/runs/flow-run/{FLOW_RUN.format(number)}" for number in range(7)
        ),
        details=details,
        slowest=tuple(
            Slowest(name=f"slow-{number}", language="cpp", legacy_s=9.8 / number, celery_s=10 / number)
            for number in range(1, 8)
        ),
        latency={leg: recorder.summary() for leg, recorder in recorders.items()},
        skipped={"rust": 4} if details else {},
        isolation_levels=("namespaces+cgroups",),
        languages={"python": "3.11.2", "javascript": "18.19.0", "bash": "5.2.15", "c": "gcc 12.2.0"},
        resent=2,
        duplicates_dropped=1,
        crucible_version="0.1.0",
    )
