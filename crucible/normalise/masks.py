"""Built-in kinds that put a mark in the place of what no two runs have in common.

Each masks part of a word, and only in surroundings it knows: numbers that a program computed stay compared.
"""

import re

_ADDRESS = re.compile(
    rb"""(?<=\bat[ ]0x)[0-9a-fA-F]{6,16}\b    # <Node object at 0x7f3a5c0d2e10>
       | (?<=[A-Za-z0-9_$;]@)[0-9a-f]{6,8}\b   # Main$Node@1b6d3586""",
    re.VERBOSE,
)
_TEMP_PATH = re.compile(
    rb"""(?<![\w.-])(?<!<temp>)(/(?:var/)?tmp/)
      (?: tmp[a-z0-9_]{8} | tmp\.[A-Za-z0-9]{10} | cc[A-Za-z0-9]{6} | (?:go-build|junit)[0-9]{6,20} )
      (?!\w)""",
    re.VERBOSE,
)
_TIMING = re.compile(
    rb"""(?<=\()(?: [0-9]{1,12}(?:\.[0-9]{1,12})?(?:ns|us|\xc2\xb5s|ms) | [0-9]{1,12}\.[0-9]{1,12}s )(?=\))
       | (?:(?<=\bin[ ])|(?<=\btook[ ]))[0-9]{1,12}\.[0-9]{1,12}
         (?: (?:ns|us|\xc2\xb5s|ms|s)\b | (?=[ ]seconds?\b) )
       | (?<=\bduration_ms[ ])[0-9]{1,12}(?:\.[0-9]{1,12})?(?!\S)""",
    re.VERBOSE,
)
_TIMESTAMP = re.compile(
    rb"""(?<![0-9])(20[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-2][0-9])
      :[0-5][0-9]:[0-5][0-9](?:[.,][0-9]{1,9})?(?![0-9])""",
    re.VERBOSE,
)


def memory_addresses(stream: bytes) -> bytes:
    """Mask addresses of objects: what follows ``at 0x``, and Java's identity hashes behind ``@``."""
    return _ADDRESS.sub(b"<address>", stream)


def temp_paths(stream: bytes) -> bytes:
    """Mask names below ``/tmp`` and ``/var/tmp`` that Python, gcc, Go, JUnit and ``mktemp`` make up."""
    return _TEMP_PATH.sub(rb"\1<temp>", stream)


def timings(stream: bytes) -> bytes:
    """Mask how long something took, as test runners say it: ``in 0.002s``, ``took 1.5ms``, ``(12.3ms)``."""
    return _TIMING.sub(b"<time>", stream)


def timestamps(stream: bytes) -> bytes:
    """Mask minutes and seconds of ISO 8601 times since 2000; date and hour stay, so that time zones show."""
    return _TIMESTAMP.sub(rb"\1:<mm:ss>", stream)


def line_endings(stream: bytes) -> bytes:
    """End lines with LF, where every line of the stream that ends does so with CRLF.

    A stream that mixes them is left alone: its program means something by it. So is a carriage return by
    itself, and there are as many line feeds as before.
    """
    ends = stream.count(b"\n")
    if stream.count(b"\r\n") != ends or b"\r\r\n" in stream:
        return stream
    return stream.replace(b"\r\n", b"\n")
