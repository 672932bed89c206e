"""Small faults in Python modules: how they are made, named, chosen, and found again in a changed tree."""

import ast
from collections.abc import Iterator
from copy import deepcopy
from itertools import chain
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.strength.areas import LEFT_OUT, modules

_OPERATORS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
}  # fmt: skip
_WORDS = {"min": "max", "max": "min", "any": "all", "all": "any", "legacy": "celery", "celery": "legacy"}
_UNHEARD = {"debug", "info", "warning", "error", "exception", "close", "aclose", "repr", "cast", "labels"}
"""Calls that no test is to notice: logs, ends of connections, casts."""
_NOT_EXACT = {"timeout", "block", "strict", "transaction"}
_NOT_LOOKED_INTO = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Raise, ast.Assert, ast.JoinedStr)
_RETURNS = 0.4
"""What returns nothing at all is too easily caught to be chosen as often as the others."""


class Fault(NamedTuple):
    """The characters from ``start`` to ``end`` become ``after``.

    The name says module, function and both expressions, and counts equal ones: it is the same wherever
    in its function the expression stands.
    """

    name: str
    kind: str
    start: int
    end: int
    after: str


def found(source: str, module: str) -> Iterator[Fault]:
    """Every fault that can be planted in ``source``, which is that of ``module``."""
    lines = [line.encode() for line in source.splitlines(keepends=True)]
    seen: dict[str, int] = {}
    for function, statement in _statements(ast.parse(source), ""):
        for node, kind, after in _changes(statement):
            base = f"{module}:{function}: {ast.unparse(node)} -> {after}"
            seen[base] = seen.get(base, 0) + 1
            name = base if seen[base] == 1 else f"{base} #{seen[base]}"
            start = len(
                b"".join([*lines[: node.lineno - 1], lines[node.lineno - 1][: node.col_offset]]).decode()
            )
            last = node.end_lineno or node.lineno
            end = len(b"".join([*lines[: last - 1], lines[last - 1][: node.end_col_offset]]).decode())
            yield Fault(name, kind, start, end, after)


def chosen(root: Path, seed: int, in_each: int) -> Iterator[tuple[str, str]]:
    """Area and name of so many faults an area, spread over its modules and kinds; none within another."""
    rng = Random(seed)
    for area, paths in modules(root).items():
        left = {path: list(found((root / path).read_text(), path)) for path in paths}
        taken: dict[str, list[Fault]] = {path: [] for path in paths}
        while any(left.values()) and sum(map(len, taken.values())) < in_each:
            fewest = min(len(taken[path]) for path in paths if left[path])
            path = rng.choice([each for each in paths if left[each] and len(taken[each]) == fewest])
            kinds = sorted({each.kind for each in left[path]})
            kind = rng.choice(
                [each for each in kinds if each != "return" or rng.random() < _RETURNS] or kinds
            )
            one = rng.choice([each for each in left[path] if each.kind == kind])
            taken[path].append(one)
            left[path] = [each for each in left[path] if each.end <= one.start or one.end <= each.start]
        yield from ((area, each.name) for each in chain.from_iterable(map(sorted, taken.values())))


def _statements(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.stmt]]:
    """The statements of all functions, each with its function's qualified name."""
    for child in ast.iter_child_nodes(node):
        name = prefix
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}.{child.name}".lstrip(".")
            if not isinstance(child, ast.ClassDef) and not LEFT_OUT.fullmatch(name):
                yield from ((name, statement) for statement in child.body)
        yield from _statements(child, name)


def _changes(node: ast.AST) -> Iterator[tuple[ast.expr, str, str]]:
    """The expressions in ``node`` that can be changed, each with the kind of change and the new text."""
    if _is_left_out(node):
        return
    if isinstance(node, ast.Expr):
        call = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(call, ast.Call) and _name(call.func) not in _UNHEARD:
            yield node.value, "removed call", "None"
    elif isinstance(node, ast.Return) and isinstance(
        node.value, ast.Call | ast.Name | ast.Attribute | ast.Await
    ):
        yield node.value, "return", "None"
    elif isinstance(node, ast.If | ast.While | ast.IfExp) and not isinstance(node.test, ast.Compare):
        yield node.test, "condition", f"not ({ast.unparse(node.test)})"
    if isinstance(node, ast.expr) and (changed := _changed(deepcopy(node))) is not None:
        yield node, type(node).__name__, ast.unparse(changed)
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and field != "annotation":
                yield from _changes(child)


def _is_left_out(node: ast.AST) -> bool:
    if isinstance(node, ast.keyword):
        return node.arg in _NOT_EXACT or str(node.arg).endswith("_s")
    if isinstance(node, ast.Call):
        return _name(node.func) in _UNHEARD
    return isinstance(node, _NOT_LOOKED_INTO)


def _changed(node: ast.expr) -> ast.expr | None:
    """``node`` with another operator, constant or function."""
    match node:
        case ast.Compare(ops=[operator]) if type(operator) in _OPERATORS:
            node.ops = [_OPERATORS[type(operator)]()]
        case ast.BoolOp(op=operator):
            node.op = _OPERATORS[type(operator)]()
        case ast.BinOp(op=operator) if type(operator) in _OPERATORS and not _has_text(node):
            node.op = _OPERATORS[type(operator)]()
        case ast.UnaryOp(op=ast.Not()):
            return node.operand
        case ast.Constant(value=bool() as value):
            node.value = not value
        case ast.Constant(value=int() | float() as value):
            node.value = value + 1
        case ast.Constant(value=str() as value) if value in _WORDS:
            node.value = _WORDS[value]
        case ast.Call(func=ast.Name(id=name)) if name in _WORDS:
            node.func = ast.Name(_WORDS[name])
        case _:
            return None
    return node


def _has_text(node: ast.AST) -> bool:
    """Whether something in it cannot be computed with: it would fail for its type, wherever it is tested."""
    return any(
        isinstance(each, ast.JoinedStr | ast.List | ast.Tuple)
        or (isinstance(each, ast.Constant) and isinstance(each.value, str))
        for each in ast.walk(node)
    )


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
