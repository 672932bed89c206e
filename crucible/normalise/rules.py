"""What a rule is, and a set of them."""

import json
from datetime import date
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from crucible.models.frozen import Frozen
from crucible.normalise.pattern import compiled

Stream = Literal["stdout", "stderr"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$")]


class Kind(StrEnum):
    """What a rule overlooks, in the order in which rules are applied."""

    LINE_ENDINGS = "line_endings"
    TIMESTAMPS = "timestamps"
    TIMINGS = "timings"
    MEMORY_ADDRESSES = "memory_addresses"
    TEMP_PATHS = "temp_paths"
    PATTERN = "pattern"
    HASH_ORDERED = "hash_ordered"


class Rule(Frozen):
    """One thing that a comparison overlooks, in ``fields`` of evaluations in ``languages`` (none named: all).

    ``expires`` is the first day without it. ``budget`` is the largest part of pairs that may need it.
    ``version`` is raised by whoever changes what the rule means. ``pattern`` is there for its own kind only.
    """

    name: Name
    kind: Kind
    owner: Annotated[str, Field(min_length=1, max_length=200)]
    expires: date
    version: Annotated[int, Field(ge=1, strict=True)] = 1
    pattern: Annotated[str | None, Field(validate_default=True)] = None
    fields: Annotated[tuple[Stream, ...], Field(min_length=1)] = ("stdout", "stderr")
    languages: tuple[str, ...] = ()
    budget: Annotated[float, Field(gt=0, le=0.1, strict=True)] = 0.01
    note: str | None = None

    @field_validator("pattern")
    @classmethod
    def _is_safe(cls, pattern: str | None, info: ValidationInfo) -> str | None:
        kind, name = info.data.get("kind"), info.data.get("name", "")
        if kind is not Kind.PATTERN and pattern is not None:
            raise ValueError(f"only rules of kind {Kind.PATTERN} have one")
        if kind is Kind.PATTERN and pattern is None:
            raise ValueError(f"missing; a rule of kind {Kind.PATTERN} says what it masks")
        if pattern is not None and compiled(pattern).search(_token(name)):
            raise ValueError(
                f"matches inside <{name}>, which is put in its place; give the rule another name"
            )
        return pattern

    @property
    def token(self) -> bytes:
        """What a ``pattern`` puts in the place of what it masks."""
        return _token(self.name)


class RuleSet(Frozen):
    """Rules with unique names."""

    rules: tuple[Rule, ...] = ()

    @field_validator("rules")
    @classmethod
    def _names_are_unique(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        names = [rule.name for rule in rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name!r} names more than one rule")
        return rules

    @property
    def digest(self) -> str:
        """The version of the set: 16 hexadecimal digits that change with anything in it."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return sha256(text.encode()).hexdigest()[:16]

    def active(self, today: date) -> "RuleSet":
        """The rules that have not expired."""
        return RuleSet(rules=tuple(rule for rule in self.rules if today < rule.expires))

    def applied_to(self, language: str) -> tuple[Rule, ...]:
        """The rules for programs in ``language``, in the order of kinds; within a kind as they stand."""
        fitting = [rule for rule in self.rules if not rule.languages or language in rule.languages]
        return tuple(sorted(fitting, key=lambda rule: list(Kind).index(rule.kind)))


NO_RULES = RuleSet()
"""Every byte counts."""


def _token(name: str) -> bytes:
    return f"<{name}>".encode()
