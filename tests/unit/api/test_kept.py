"""What is read once for all who look at a time."""

from api.readiness import Kept


async def test_that_there_is_nothing_is_kept_as_well() -> None:
    times = 0

    async def read() -> None:
        nonlocal times
        times += 1

    kept = Kept(read, for_s=3600)
    for _ in range(3):
        assert await kept.get() is None
    assert times == 1


async def test_what_is_old_is_read_anew() -> None:
    times = 0

    async def read() -> int:
        nonlocal times
        times += 1
        return times

    kept = Kept(read, for_s=0)
    assert [await kept.get() for _ in range(3)] == [1, 2, 3]
