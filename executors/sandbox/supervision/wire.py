"""Frames between the executor service and who watches a program: a JSON header and raw bytes behind it.

A frame without a header asks to cancel the program at work; where that has ended by then, the next
reader passes over it.
"""

import json
import os
import struct
from typing import Any

PREFIX = struct.Struct("!II")
CANCEL = PREFIX.pack(0, 0)

_CHUNK = 1 << 20
_MOST_AT_ONCE = 1024  # what the kernel takes in one call


def encode(header: dict[str, Any], *blobs: bytes | bytearray) -> list[bytes | bytearray]:
    """One frame in parts: lengths of header and blobs, the header, the blobs one after another."""
    text = json.dumps({**header, "sizes": [len(blob) for blob in blobs]}, separators=(",", ":")).encode()
    return [PREFIX.pack(len(text), sum(map(len, blobs))) + text, *blobs]


def decode(text: bytes, body: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """The header and blobs of a frame whose two parts were read."""
    header = json.loads(text)
    blobs, start = [], 0
    for size in header.pop("sizes"):
        blobs.append(body[start : start + size])
        start += size
    return header, blobs


def send(descriptor: int, header: dict[str, Any], *blobs: bytes | bytearray) -> None:
    """Write a whole frame; large blobs are never held twice."""
    parts = encode(header, *blobs)
    sent = os.writev(descriptor, parts[:_MOST_AT_ONCE])
    for part in parts:
        left = memoryview(part)[sent:]
        sent = max(0, sent - len(part))
        while left:
            left = left[os.write(descriptor, left) :]


def receive(descriptor: int) -> tuple[dict[str, Any], list[bytes]] | None:
    """Block until a whole frame is there; null at the end of the stream."""
    header_size = 0
    while not header_size:
        prefix = _exactly(descriptor, PREFIX.size)
        if prefix is None:
            return None
        header_size, body_size = PREFIX.unpack(prefix)
    text, body = _exactly(descriptor, header_size), _exactly(descriptor, body_size)
    return None if text is None or body is None else decode(text, body)


def _exactly(descriptor: int, size: int) -> bytes | None:
    parts = []
    while size:
        part = os.read(descriptor, min(size, _CHUNK))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
