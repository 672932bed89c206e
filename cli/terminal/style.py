"""How words and diffs look on a terminal. Text from outside is never read as markup."""

from collections.abc import Iterable

from rich.console import JustifyMethod
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from crucible.models import Verdict
from crucible.report.visible import DiffLine, Kind

VERDICT_STYLES = {
    Verdict.PASS: "bold green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
}
LEG_STYLES = {"legacy": "dark_orange3", "celery": "dodger_blue2"}
INDENT = (0, 0, 0, 4)

_LINE_STYLES = {
    Kind.CONTEXT: "",
    Kind.LEGACY: LEG_STYLES["legacy"],
    Kind.CELERY: LEG_STYLES["celery"],
    Kind.HUNK: "dim",
    Kind.NOTE: "dim",
}


def heading(text: str) -> Text:
    """The title of a part, with an empty line above it."""
    return Text(f"\n{text}", style="bold")


def plain_table(*columns: str, numbers_from: int = 1) -> Table:
    """A table without frame; columns from ``numbers_from`` on are aligned to the right."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, column in enumerate(columns):
        name_style = LEG_STYLES.get(column, "dim")
        justify: JustifyMethod = "right" if index >= numbers_from else "left"
        table.add_column(Text(column, style=name_style), justify=justify, overflow="fold")
    return table


def diff_lines(name: str, diff: Iterable[DiffLine]) -> Padding:
    """One stream's difference: minus is legacy, plus is Celery."""
    lines = [Text(f"{name} (- legacy, + celery)", style="dim")]
    lines += [_diff_line(line) for line in diff]
    return Padding(Text("\n").join(lines), INDENT)


def _diff_line(line: DiffLine) -> Text:
    sign = "" if line.kind is Kind.NOTE else line.kind.value
    text = Text(f"{sign:<2}{line.text}", style=_LINE_STYLES[line.kind])
    start, end = line.changed
    if start < end:
        text.stylize("bold reverse", start + 2, end + 2)
    return text
