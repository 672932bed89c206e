"""Who may ask what: scopes, and the keys that carry them."""

import hashlib
from datetime import datetime
from enum import StrEnum
from secrets import token_urlsafe
from typing import Annotated

from pydantic import Field

from crucible.models.frozen import Frozen

_PREFIX = "crk"
_SECRET_BYTES = 32
_MOST_SHOWN = 200
"""Longer texts are no keys of ours, and are not looked into."""


class Scope(StrEnum):
    """What a key allows: submit evaluations, read all there is, operate (cancel, sweeps, rollout), or all.

    ``traces`` allows to hand in spans, which processes of ours do with the executors' token.
    """

    SUBMIT = "submit"
    READ = "read"
    OPERATE = "operate"
    TRACES = "traces"
    ADMIN = "admin"


class ApiKey(Frozen):
    """A key as the store knows it; its text is known to nobody but its holder.

    ``per_minute`` is how many requests it may make in a minute; null: as many as the API's setting says.
    """

    id: str
    name: Annotated[str, Field(min_length=1, max_length=200)]
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    per_minute: Annotated[int, Field(ge=1, le=10_000_000)] | None = None

    def has_expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= now


def allows(scopes: frozenset[Scope], wanted: Scope) -> bool:
    """Whether ``scopes`` hold ``wanted``; admin holds all, the others nothing but themselves."""
    return wanted in scopes or Scope.ADMIN in scopes


def new_key_text(key_id: str) -> str:
    """The text of a new key: its id, and 256 bits of chance."""
    return f"{_PREFIX}_{key_id.rpartition('-')[2]}_{token_urlsafe(_SECRET_BYTES)}"


def key_id_in(text: str) -> str | None:
    """The id in the text of a key; null for a text of another form."""
    prefix, _, rest = text.partition("_")
    number, _, secret = rest.partition("_")
    if len(text) > _MOST_SHOWN or prefix != _PREFIX or not (number.isalnum() and number.isascii() and secret):
        return None
    return f"key-{number}"


def digest_of(text: str) -> str:
    """What is stored of the text of a key: SHA-256, in hexadecimal.

    No slow hash with salt, as for passwords: those stand against guessing, and 256 bits of chance cannot
    be guessed however fast the hash is. Each request would pay for it.
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
