"""Dead letters on the terminal, where all that comes from outside is shown as safe text, and as JSON."""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli.letters import Opened
from cli.terminal.style import heading, plain_table
from crucible.report.visible import clip, visible, visible_text
from crucible.store import LedgerRow

_WHEN = "%Y-%m-%d %H:%M:%S"
_OF_RUN = ("run_id", "language", "code", "stdin", "limits", "reply_to")


def letters_table(letters: Iterable[Opened]) -> Table:
    """A row for each letter."""
    table = plain_table("id", "when", "run", "reason", "taken", "bytes", numbers_from=4)
    for each in letters:
        letter = each.letter
        cells = (visible_text(each.run_id or ""), clip(letter.reason.encode(errors="replace")))
        when = f"{letter.at.astimezone():{_WHEN}}"
        numbers = (f"{letter.taken:,}", f"{len(letter.payload):,}")
        table.add_row(letter.id, when, *map(Text, cells), *numbers)  # never read as markup
    return table


def render_letter(opened: Opened, state: LedgerRow | None) -> RenderableType:
    """All that is known of one letter, with its whole payload."""
    facts = _indented(f"{name:<11}{value}" for name, value in _facts(opened, state))
    return Group(Text(opened.letter.id, style="bold"), facts, *_contents(opened))


def letter_document(opened: Opened) -> dict[str, Any]:
    """One letter without its payload, for machines."""
    letter = opened.letter
    return {
        "id": letter.id,
        "leg": letter.leg,
        "run_id": opened.run_id,
        "reason": letter.reason,
        "at": letter.at.isoformat(),
        "taken": letter.taken,
        "queue": letter.queue,
        "bytes": len(letter.payload),
    }


def whole_document(opened: Opened, state: LedgerRow | None) -> dict[str, Any]:
    """All that is known of one letter, for machines."""
    run = opened.run
    said = None if state is None else state.comparison
    return {
        **letter_document(opened),
        "payload_b64": b64encode(opened.letter.payload).decode(),
        "run": run and {name: getattr(run, name) for name in _OF_RUN},
        "evaluation": state
        and {
            "id": state.id,
            "name": state.name,
            "classification": state.classification,
            "reasons": said.reasons if said else {},
        },
    }


def _facts(opened: Opened, state: LedgerRow | None) -> Iterator[tuple[str, str]]:
    letter, run = opened.letter, opened.run
    yield "when", f"{letter.at.astimezone():{_WHEN}}"
    yield "reason", visible_text(letter.reason)
    yield "taken", f"{letter.taken} times"
    yield "queue", visible_text(letter.queue or "not known")
    yield "run", visible_text(opened.run_id or "not known")
    yield "evaluation", _in_ledger(opened, state)
    if run is not None:
        yield "language", visible_text(run.language)
        yield "limits", visible_text(", ".join(f"{name} {value}" for name, value in run.limits.items()))
        yield "reply to", visible_text(run.reply_to)


def _in_ledger(opened: Opened, state: LedgerRow | None) -> str:
    if opened.evaluation_id is None:
        return "not known"
    if state is None:
        return "none of this store's"
    standing = state.classification or "open"
    reasons = state.comparison.reasons if state.comparison else {}
    why = "".join(f"; {leg}: {visible_text(reason)}" for leg, reason in reasons.items())
    return f"{state.id} ({visible_text(state.name)}): {standing}{why}"


def _contents(opened: Opened) -> Iterator[RenderableType]:
    run = opened.run
    if run is None:
        yield from _stream("payload", opened.letter.payload)
        return
    yield from _stream("code", run.code.encode())
    if run.stdin:
        yield from _stream("stdin", run.stdin.encode())


def _stream(name: str, data: bytes) -> Iterator[RenderableType]:
    yield heading(f"{name}, {len(data):,} bytes")
    lines = data.removesuffix(b"\n").split(b"\n")
    yield _indented(map(visible, lines))


def _indented(lines: Iterable[str]) -> Text:
    """As text alone: a padding would fill up lines with spaces, which nobody wants to copy with a program."""
    return Text("\n".join(f"    {line}" for line in lines))
