"""What a rule is, and a set of them."""

import json
import tomllib
from datetime import date
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails

from crucible.errors import SettingsError
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


_NEEDED = {
    "name": "every rule has a name of its own",
    "kind": f"kinds are {', '.join(Kind)}",
    "owner": "every rule has an owner, who answers for it",
    "expires": "every rule has a first day without it, as in expires = 2027-01-31",
}


def load_rules(path: Path) -> RuleSet:
    """The rules in a TOML file of ``[[rule]]`` tables.

    Raises ``SettingsError`` naming the file, the rule and the key; the operator's fault.
    """
    tables = _tables(path)
    rules: dict[str, Rule] = {}
    for number, table in enumerate(tables, start=1):
        rule = _rule(path, number, table)
        if rule.name in rules:
            raise SettingsError(
                f"{path}, rule {rule.name!r}, key 'name': another rule has it; names are unique"
            )
        rules[rule.name] = rule
    return RuleSet(rules=tuple(rules.values()))


def _tables(path: Path) -> list[Any]:
    try:
        content = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: not UTF-8 at byte {error.start + 1}; convert the file") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: not TOML: {error}") from None
    tables = content.pop("rule", [])
    if content:
        raise SettingsError(f"{path}, key {next(iter(content))!r}: unknown; there are only [[rule]] tables")
    if not isinstance(tables, list):
        raise SettingsError(f"{path}, key 'rule': a table; write [[rule]] with two brackets")
    return tables


def _rule(path: Path, number: int, table: Any) -> Rule:
    try:
        return Rule.model_validate(table)
    except ValidationError as error:
        name = table.get("name") if isinstance(table, dict) else None
        key, problem = _first_fault(error)
        where = f"{path}, rule {name!r}" if isinstance(name, str) else f"{path}, rule number {number}"
        raise SettingsError(f"{where}{f', key {key!r}' if key else ''}: {problem}") from None


def _first_fault(error: ValidationError) -> tuple[str, str]:
    """Key and problem; an unknown key before others, for a misspelt one is why another is missing."""
    faults = error.errors(include_url=False)
    fault = next((each for each in faults if each["type"] == "extra_forbidden"), faults[0])
    return ".".join(str(part) for part in fault["loc"]), _problem(fault)


def _problem(fault: ErrorDetails) -> str:
    key = str(fault["loc"][0]) if fault["loc"] else ""
    match fault["type"]:
        case "extra_forbidden":
            return f"unknown; known keys are {', '.join(Rule.model_fields)}"
        case "missing":
            return f"missing; {_NEEDED[key]}"
        case "enum":
            return f"no kind is called {fault['input']!r}; kinds are {', '.join(Kind)}"
        case "value_error":
            return str(fault["ctx"]["error"])
        case "string_pattern_mismatch":
            return f"{fault['input']!r} is no name; use small letters, digits, - and _, 60 at most"
        case _:
            return f"{fault['msg']}: {fault['input']!r}"
