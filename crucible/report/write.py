"""The three files of a report."""

from pathlib import Path
from secrets import token_hex

from crucible.errors import InputError
from crucible.models import SweepReport
from crucible.report.html import render_html
from crucible.report.junit import render_junit


def write_report(report: SweepReport, folder: Path) -> Path:
    """Write ``report.json`` (faithful: it reads back as the same report), ``junit.xml`` and ``report.html``.

    Each file appears whole or not at all, and replaces one of the same name; ``folder`` is made when it
    is not there. Returns the path of ``report.html``. Raises ``InputError`` when the folder cannot be
    written: the caller's fault.
    """
    contents = {
        "report.json": report.model_dump_json(indent=2).encode() + b"\n",
        "junit.xml": render_junit(report),
        "report.html": render_html(report).encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            _write_whole(folder / name, content)
    except OSError as error:
        problem = error.strerror or str(error)
        raise InputError(
            f"the report cannot be written to {str(folder)!r} ({problem}); "
            "name a writable folder with --report"
        ) from error
    return folder / "report.html"


def _write_whole(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
