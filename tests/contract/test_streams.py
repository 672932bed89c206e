"""A reader is not left behind entries that a stream which began anew will not have for long."""

from uuid import uuid4

import pytest

from tasks.connections import connect_async, place_in
from tasks.replies import ReplyReader
from tests.support.valkey import Valkey, valkey

__all__ = ["valkey"]


@pytest.mark.parametrize(
    ("newest", "last", "place"),
    [
        ("2000-1", "2000-1", "2000-1"),
        ("2000-10", "2000-9", "2000-9"),
        ("1000-1", "2000-0", "0-0"),
        (None, "2000-0", "2000-0"),
    ],
)
async def test_reading_begins_anew_only_in_a_stream_that_has_not_come_so_far(
    valkey: Valkey, newest: str | None, last: str, place: str
) -> None:
    client, stream = connect_async(valkey.url), f"stream-{uuid4().hex}"
    if newest is not None:
        await client.xadd(stream, {"a": 1}, id=newest)
    assert await place_in(client, stream, last) == place
    await client.aclose()


async def test_replies_that_were_handed_out_leave_the_stream_and_no_others(valkey: Valkey) -> None:
    client, stream = valkey.client(), f"stream-{uuid4().hex}"
    reply: dict[str, str | int] = {"id": "1.0", "leg": "legacy", "worker": "one", "taken_at": 1}
    reply |= {"finished_at": 2, "observation": "{}"}
    for _ in range(300):
        client.xadd(stream, reply)
    reader = ReplyReader(valkey.url, stream)
    seen = 0
    while seen < 300:
        seen += len(await reader.read())
    client.xadd(stream, reply)
    assert len(await reader.read()) == 1
    assert client.xlen(stream) == 1
    await reader.aclose()
