"""The Lua scripts that make claiming, answering and queue-keeping atomic, as functions of Python.

``signatures`` declares each script once, under the name of its file. From that come the ``local`` variables
in which the Lua text finds its keys and arguments, and a callable that mypy checks.
"""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import (
    Annotated,
    Any,
    Generic,
    ParamSpec,
    Self,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import redis
import redis.asyncio

P = ParamSpec("P")
R = TypeVar("R")

Key = Annotated[str, "key"]
Keys = Annotated[Sequence[str], "key"]

# Behind what is one value each come lists and optional values, in the order of the signature. The number of
# values that one of them has is the argument in front of them.
_READERS = """\
local _used = {{[KEYS] = {keys}, [ARGV] = {arguments}}}
local function _one(source)
  _used[source] = _used[source] + 1
  return source[_used[source]]
end
local function _many(source)
  local found = {{}}
  for i = 1, tonumber(_one(ARGV)) do found[i] = _one(source) end
  return found
end
local function _named(values, ...)
  local found = {{}}
  for i, name in ipairs({{...}}) do found[name] = values[i] end
  return values[1] and found
end"""


def source(name: str) -> str:
    """Text of the file of that name."""
    return (files(__name__) / f"{name}.lua").read_text("utf-8")


def script(*shared: str) -> Callable[[Callable[P, R]], "Script[P, R]"]:
    """Make a function without body, all of whose parameters are given by name, the signature of a script.

    ``Key`` and ``Keys`` are keys, and so are the fields of a named tuple, which in Lua is a table of those
    fields. What may be None is nil then. ``shared`` names the files whose functions the script uses.
    """
    return lambda signature: Script(signature, shared)


class Script(Generic[P, R]):
    """A script and its parameters."""

    def __init__(self, signature: Callable[P, R], shared: Sequence[str]) -> None:
        self._name, self.shared = signature.__name__, tuple(shared)
        hints = get_type_hints(signature, include_extras=True)
        parameters = [_Parameter.of(name, hint) for name, hint in hints.items() if name != "return"]
        self._keys = [each for each in parameters if each.is_key and not each.is_counted]
        self._arguments = [each for each in parameters if not each.is_key and not each.is_counted]
        self._counted = [each for each in parameters if each.is_counted]

    def on(self, client: redis.Redis) -> Callable[P, R]:
        """The script on the server of ``client``; when called it raises what ``client`` raises.

        Raises ``TypeError`` where the script does not use its parameters as declared.
        """
        run = client.register_script(self.text())

        def call(*_: P.args, **given: P.kwargs) -> R:
            return cast("R", run(*self._flat(given)))

        return call

    def on_loop(self, client: redis.asyncio.Redis) -> Callable[P, Awaitable[R]]:
        """As ``on``, for a client of an event loop."""
        run = client.register_script(self.text())

        async def call(*_: P.args, **given: P.kwargs) -> R:
            return cast("R", await run(*self._flat(given)))

        return call

    def text(self) -> str:
        """What the server gets. Raises ``TypeError`` as ``on`` does."""
        body = source(self._name)
        words = set(re.findall(r"\w+", re.sub(r"--.*", "", body)))
        if by_number := words & {"KEYS", "ARGV"}:
            raise TypeError(f"{self._name}.lua reads {by_number}; name what it needs in its signature")
        declared = (*self._keys, *self._arguments, *self._counted)
        if unused := {each.name for each in declared} - words:
            raise TypeError(f"{self._name}.lua does not use {unused}; take them out of its signature")
        return "\n".join([*map(source, self.shared), *self._header(), body])

    def _header(self) -> Iterator[str]:
        for each_of_one in (self._keys, self._arguments):
            for place, each in enumerate(each_of_one, 1):
                yield f"local {each.name} = {each.reader.format(place)}"
        if self._counted:
            yield _READERS.format(keys=len(self._keys), arguments=len(self._arguments))
        for each in self._counted:
            yield f"local {each.name} = {each.reader}"

    def _flat(self, given: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
        keys = [given[each.name] for each in self._keys]
        arguments = [given[each.name] for each in self._arguments]
        for each in self._counted:
            value = given[each.name]
            values = () if value is None else value if each.is_several else (value,)
            arguments.append(len(values))
            (keys if each.is_key else arguments).extend(values)
        return keys, arguments


@dataclass(frozen=True, slots=True)
class _Parameter:
    """``reader`` is Lua that reads it: the value at a place, or as many as were counted for it."""

    name: str
    reader: str
    is_key: bool
    is_several: bool
    is_counted: bool

    @classmethod
    def of(cls, name: str, hint: Any) -> Self:
        is_optional = type(None) in get_args(hint)
        kind = get_args(hint)[0] if is_optional else hint
        is_marked = get_origin(kind) is Annotated
        plain = get_args(kind)[0] if is_marked else kind
        fields = getattr(plain, "_fields", ())
        is_list = get_origin(plain) is Sequence
        table = "KEYS" if is_marked or fields else "ARGV"
        if fields:
            reader = f"_named(_many({table}), {', '.join(map(repr, fields))})"
        elif is_list:
            reader = f"_many({table})"
        else:
            reader = f"_many({table})[1]" if is_optional else f"{table}[{{}}]"
        if plain in {int, float}:
            reader = f"tonumber({reader})"
        is_several = bool(fields) or is_list
        return cls(name, reader, table == "KEYS", is_several, is_several or is_optional)
