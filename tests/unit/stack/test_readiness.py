"""Whether a server is there: asked again and again, and given up at once when nobody asks any more."""

import asyncio
import socket

import pytest

from deployments.stack.service import fault_of


@pytest.mark.parametrize("steps", range(0, 16, 2))
async def test_a_question_to_a_redis_that_says_nothing_can_be_cancelled_at_any_point(steps: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        asking = asyncio.create_task(fault_of(f"redis://127.0.0.1:{silent.getsockname()[1]}/0"))
        for _ in range(steps):
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
