"""Progress of a sweep, on standard error, so that standard output holds nothing but results."""

from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from crucible.models import Counts
from crucible.report import words

PLAIN_EVERY_S = 5.0
"""Where there is no terminal, the least number of seconds from one line to the next."""


class SweepProgress:
    """A bar with rate, remaining time and live counts; without a terminal, a line now and then.

    ``total`` is the number of evaluations to come, null when nobody knows. Use it as a context
    manager; ``update`` may be called as often as there is news.
    """

    def __init__(
        self,
        total: int | None = None,
        console: Console | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._total = total
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._started = clock()
        self._last_line: float | None = None
        self._pending = ""
        self._bar = _bar(self._console) if self._console.is_terminal else None
        self._bar_id = (
            self._bar.add_task("starting", total=total, done="", rate="", counts="") if self._bar else None
        )

    def __enter__(self) -> Self:
        self._started = self._clock()
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
        elif self._pending:
            self._print(self._pending)

    def update(self, counts: Counts, phase: str) -> None:
        """Show ``counts``; ``phase`` says in a word or two what is going on."""
        done = f"{counts.settled:,}" if self._total is None else f"{counts.settled:,} of {self._total:,}"
        rate = f"{counts.settled / max(self._clock() - self._started, 1e-9):,.1f}/s"
        news = f"{counts.matched:,} matched, {counts.mismatched:,} mismatched, {counts.unpaired:,} unpaired"
        if self._bar is not None and self._bar_id is not None:
            self._bar.update(
                self._bar_id,
                completed=counts.settled,
                description=phase,
                done=done,
                rate=rate,
                counts=news,
            )
            return
        self._pending = f"{phase}: {done}, {rate}{self._remaining(counts.settled)}; {news}"
        if self._last_line is None or self._clock() - self._last_line >= PLAIN_EVERY_S:
            self._print(self._pending)

    def _remaining(self, settled: int) -> str:
        if self._total is None or not 0 < settled < self._total:
            return ""
        elapsed = self._clock() - self._started
        return f", {words.seconds(round(elapsed / settled * (self._total - settled)))} left"

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._last_line = self._clock()
        self._pending = ""


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[done]}", markup=False),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[counts]}", markup=False),
        console=console,
        refresh_per_second=5,
        transient=True,
    )
