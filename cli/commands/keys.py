"""``crucible keys``: who may use the API, and for what."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import RenderableType
from rich.text import Text

from cli.exits import Json, print_json, show
from cli.migration import on_store
from cli.terminal.style import plain_table
from crucible.errors import InputError
from crucible.ids import new_key_id
from crucible.models.access import ApiKey, Scope, new_key_text
from crucible.report.visible import visible_text
from crucible.store.keys import KeyStore

app = typer.Typer(
    help="""Make, list and revoke the keys of the API.

The scopes: submit (hand in evaluations), read (see all there is), operate (cancel, start sweeps, move
the migration), traces (hand in spans), admin (all of that). The stack's own key, CRUCIBLE_API_KEY, is
in no list and has all.
"""
)

T = TypeVar("T")


@app.command("create")
def create(
    *,
    name: Annotated[str, typer.Option(metavar="NAME", help="Whose it is, or what for.")],
    scope: Annotated[
        list[str],
        typer.Option(metavar="SCOPE", help="submit, read, operate or admin; may stand more than once."),
    ],
    expires_in: Annotated[
        float | None, typer.Option("--expires-in", metavar="DAYS", help="Days after which it opens nothing.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="When it ends, as 2027-01-31T12:00+01:00.")
    ] = None,
    per_minute: Annotated[
        int | None,
        typer.Option("--per-minute", metavar="N", help="Requests it may make in a minute, if not the usual."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it. It is shown this once: the store keeps a digest.

    Example: crucible keys create --name nightly --scope submit --scope read --expires-in 90
    """
    now = datetime.now(UTC)
    try:
        key = ApiKey(
            id=new_key_id(),
            name=name,
            scopes=_scopes(scope),
            created_at=now,
            expires_at=_end(now, expires_in, expires),
            per_minute=per_minute,
        )
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0]).replace("_", "-")
        raise InputError(f"--{option} {first['input']!r}: {first['msg']}") from None
    text = new_key_text(key.id)
    _on_keys(lambda store: store.add(key, text))
    if as_json:
        print_json({"id": key.id, "key": text, **_plain(key)})
    else:
        typer.echo(text)
        typer.echo(f"Key {key.id}; it is not shown again. Send it as: Authorization: Bearer KEY", err=True)


@app.command("list")
def show_all(*, as_json: Json = False) -> None:
    """List all keys there ever were, but not what opens with them.

    Example: crucible keys list
    """
    found = _on_keys(lambda store: store.all())
    show({"keys": [_plain(key) for key in found]}, _table(found, datetime.now(UTC)), as_json=as_json)


@app.command("revoke")
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as list shows it.")],
    *,
    as_json: Json = False,
) -> None:
    """Let a key open nothing any more; a running API knows it within seconds. It cannot be taken back.

    Example: crucible keys revoke key-06F3ZK8G2V4Q9R7T5W1X3Y6Z8A
    """
    found = _on_keys(lambda store: store.revoke(key_id))
    if found is None:
        raise InputError(f"no key has the id {key_id!r}; see crucible keys list")
    show(_plain(found), f"{found.id} ({found.name}) is revoked", as_json=as_json)


def _scopes(words: list[str]) -> frozenset[Scope]:
    found = [word.strip() for each in words for word in each.split(",") if word.strip()]
    unknown = next((word for word in found if word not in set(Scope)), None)
    if unknown is not None:
        raise InputError(f"--scope {unknown!r}: there is none of that name; use {', '.join(Scope)}")
    if not found:
        raise InputError(f"--scope names none; use one or more of {', '.join(Scope)}")
    return frozenset(map(Scope, found))


def _end(now: datetime, in_days: float | None, at: str | None) -> datetime | None:
    if in_days is not None and at is not None:
        raise InputError("--expires-in and --expires contradict each other; give one of them")
    if in_days is None and at is None:
        return None
    try:
        end = datetime.fromisoformat(at) if at is not None else now + timedelta(days=in_days or 0)
    except (ValueError, OverflowError):
        given = f"--expires-in {in_days:g}" if in_days is not None else f"--expires {at!r}"
        raise InputError(
            f"{given}: is no time that can be reached; write it as 2027-01-31T12:00+01:00"
        ) from None
    end = end.astimezone(UTC)
    if end <= now:
        raise InputError(f"the key would have ended at {end:%Y-%m-%d %H:%M} UTC already; name a later time")
    return end


def _on_keys(work: Callable[[KeyStore], Awaitable[T]]) -> T:
    return on_store(lambda store: work(store.keys))


def _table(keys: Sequence[ApiKey], now: datetime) -> RenderableType:
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


def _plain(key: ApiKey) -> dict[str, Any]:
    return {**key.model_dump(mode="json"), "scopes": sorted(key.scopes)}
