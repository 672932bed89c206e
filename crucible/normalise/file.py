"""Reading a file of rules."""

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from crucible.errors import SettingsError
from crucible.normalise.rules import Kind, Rule, RuleSet

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
