"""The cache: one making per key, bounded, and failures are never kept."""

import asyncio

import pytest

from tidepool.egress.cache import Cache, Made
from tidepool.egress.proxy import BURST, REQUESTS_PER_S, Pace


def test_waiters_share_one_making_and_a_cancelled_one_takes_nothing_from_them():
    made = []

    async def make() -> Made[int]:
        made.append(1)
        await asyncio.sleep(0.02)
        return Made(7, 1, 60)

    async def scenario():
        cache: Cache[int] = Cache(10)
        first = asyncio.create_task(cache.get("k", make))
        others = [asyncio.create_task(cache.get("k", make)) for _ in range(5)]
        await asyncio.sleep(0)
        first.cancel()
        assert await asyncio.gather(*others) == [7] * 5
        assert await cache.get("k", make) == 7

    asyncio.run(scenario())
    assert len(made) == 1


def test_old_and_costly_values_go():
    async def scenario():
        cache: Cache[int] = Cache(10)
        calls: list[str] = []

        def making(key: str, cost: int, ttl_s: float = 60):
            async def make() -> Made[int]:
                calls.append(key)
                return Made(len(calls), cost, ttl_s)

            return cache.get(key, make)

        await making("a", 4)
        await making("b", 4)
        await making("a", 4)  # used again: "b" is now the older one
        await making("c", 4)
        await making("a", 4)
        await making("b", 4)
        assert calls == ["a", "b", "c", "b"]
        await making("huge", 11)
        await making("huge", 11)
        assert calls[4:] == ["huge", "huge"], "what is larger than all is not kept"
        await making("brief", 1, ttl_s=0)
        await making("brief", 1, ttl_s=0)
        assert calls[6:] == ["brief", "brief"]

    asyncio.run(scenario())


def test_a_failure_reaches_everyone_and_is_not_kept():
    async def fail() -> Made[int]:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def work() -> Made[int]:
        return Made(1, 1, 60)

    async def scenario():
        cache: Cache[int] = Cache(10)
        results = await asyncio.gather(*(cache.get("k", fail) for _ in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [ValueError] * 3
        with pytest.raises(ValueError, match="no"):
            await cache.get("k", fail)
        assert await cache.get("k", work) == 1

    asyncio.run(scenario())


def test_the_pace_lets_a_burst_through_and_then_a_steady_rate():
    pace = Pace()
    delays = [pace.delay(1000.0) for _ in range(BURST + 10)]
    assert delays[: BURST - 1] == [0.0] * (BURST - 1)
    assert delays[-1] == pytest.approx(10 / REQUESTS_PER_S)
    assert pace.delay(1000.0 + 60) == 0.0
