"""What goes on behind the endpoints, and who hears when it does not any more."""

import asyncio

from structlog.testing import capture_logs

from api.wiring import _going_on


class Part:
    """Goes on until it is told to fail."""

    def __init__(self) -> None:
        self.fail = asyncio.Event()

    async def run(self) -> None:
        """See ``Behind``."""
        await self.fail.wait()
        raise ValueError("a defect")


async def test_a_part_that_ends_by_itself_is_told_and_one_that_is_cancelled_is_not() -> None:
    failing, other = Part(), Part()
    with capture_logs() as lines:
        running = [_going_on(failing), _going_on(other)]
        failing.fail.set()
        await asyncio.wait(running[:1])
        running[1].cancel()
        await asyncio.wait(running)
        await asyncio.sleep(0)
    (line,) = lines
    assert (line["part"], line["log_level"]) == ("Part", "error")
    assert "a defect" in line["reason"]
