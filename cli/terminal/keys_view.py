"""API keys on the terminal."""

from collections.abc import Sequence
from datetime import datetime

from rich.console import RenderableType
from rich.text import Text

from cli.terminal.style import plain_table
from crucible.models.access import ApiKey
from crucible.report.visible import visible_text


def render_keys(keys: Sequence[ApiKey], now: datetime) -> RenderableType:
    """A row for each key, the oldest first; those that open nothing any more are pale."""
    if not keys:
        return Text("No keys; make one with crucible keys create. The stack's own key is in no list.")
    table = plain_table("id", "name", "scopes", "made", "state", "a minute", numbers_from=5)
    table.columns[0].no_wrap = True  # it is copied from here
    for key in keys:
        ended = key.revoked_at is not None or key.has_expired(now)
        table.add_row(
            key.id,
            visible_text(key.name),
            " ".join(sorted(key.scopes)),
            f"{key.created_at:%Y-%m-%d}",
            _state(key, now),
            "" if key.per_minute is None else f"{key.per_minute:,}",
            style="dim" if ended else None,
        )
    return table


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    if key.expires_at is None:
        return "for ever"
    return f"{'expired' if key.has_expired(now) else 'until'} {key.expires_at:%Y-%m-%d %H:%M} UTC"
