"""The base of all values."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A value: immutable, compared by content, and refusing keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")
