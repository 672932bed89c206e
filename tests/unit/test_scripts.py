"""Scripts get what their signatures name, in Lua and in Python, and nothing else."""

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import NamedTuple

import pytest

from tasks import scripts
from tasks.scripts import Key, Keys, Script, script, signatures
from tests.support.valkey import Valkey, valkey

__all__ = ["valkey"]

SIGNATURES = {name: each for name, each in vars(signatures).items() if isinstance(each, Script)}
LIBRARY = set(re.findall(r"\w+", "ARGV KEYS cmsgpack ipairs math redis table tonumber tostring type"))
KEYWORDS = set(
    re.findall(
        r"\w+", "and break do else elseif end false for function if in local nil not or return then true"
    )
)


class Pair(NamedTuple):
    """Two keys."""

    left: str
    right: str


@script()
def everything(
    *,
    key: Key,
    keys: Keys,
    pair: Pair,
    no_pair: Pair | None,
    no_key: Key | None,
    taken: str,
    number: int,
    texts: Sequence[str],
    raw: bytes | None,
    absent: bytes | None,
) -> list[bytes]:
    """One parameter of each kind."""


EVERYTHING = """
redis.call('SET', keys[2], number + 1)
return {key, keys[1], pair.left, pair.right, tostring(no_pair), tostring(no_key), taken, type(number),
  redis.call('GET', keys[2]), #texts .. texts[2], raw, tostring(absent)}
"""


def test_each_kind_of_parameter_arrives(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts, "source", lambda _: EVERYTHING)
    found = everything.on(valkey.client())(
        key="k1",
        keys=["k2", "k3"],
        pair=Pair("k4", "k5"),
        no_pair=None,
        no_key=None,
        taken="KEYS[1]",
        number=41,
        texts=["a", "b"],
        raw=b"\xff\x00",
        absent=None,
    )
    texts = [b"nil", b"nil", b"KEYS[1]", b"number", b"42", b"2b", b"\xff\x00", b"nil"]
    assert found == [b"k1", b"k2", b"k4", b"k5", *texts]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("return key", "does not use"),
        ("return -- " + EVERYTHING.replace("\n", " "), "does not use"),
        (EVERYTHING + "return ARGV[1]", "reads {'ARGV'}"),
    ],
)
def test_a_text_that_does_not_fit_its_signature_is_refused_before_it_is_sent(
    monkeypatch: pytest.MonkeyPatch, text: str, reason: str
) -> None:
    monkeypatch.setattr(scripts, "source", lambda _: text)
    with pytest.raises(TypeError, match=f"everything.lua {reason}"):
        everything.text()


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_script_reads_no_name_that_nobody_gives_it(name: str) -> None:
    assert undeclared(SIGNATURES[name].text()) == set()


def test_a_name_that_nobody_gives_is_found() -> None:
    assert undeclared("local a = 1\nfor i = 1, a do redis.call('SET', b, {c = i}) end") == {"b"}


def test_every_file_has_its_signature() -> None:
    shared = {name for each in SIGNATURES.values() for name in each.shared}
    names = {
        each.name.removesuffix(".lua") for each in files(scripts).iterdir() if each.name.endswith(".lua")
    }
    assert names == SIGNATURES.keys() | shared


def undeclared(lua: str) -> set[str]:
    """The names that ``lua`` reads and neither it nor the server declares."""
    code = re.sub(r"--.*|'[^'\n]*'", " ", lua)
    words = set(re.findall(r"(?<![.:\w])[A-Za-z_]\w*", re.sub(r"(?<=[{,])\s*\w+ = ", " ", code)))
    places = re.findall(r"local ([\w, ]+?)(?: =|\n)|function \w*\(([^)]*)\)|for ([\w, ]+?) (?:in|=)", code)
    functions = set(re.findall(r"function (\w+)", code))
    declared = {name.strip() for place in places for part in place for name in part.split(",")}
    return words - declared - functions - LIBRARY - KEYWORDS
