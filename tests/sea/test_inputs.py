"""Generated arguments: seeded, never twice the same, and in keeping with what held for all recorded calls."""

from itertools import islice

import pytest

from sea.inputs import draw, fits, shape_of, vary

RECORDED = [([1, 5, 7], 3, "2024-01-02", {"price": 2.5}), ([2, 4, 9, 11], 4, "2023-11-30", {"price": 3.0})]


@pytest.mark.parametrize("generator", [vary, draw])
@pytest.mark.parametrize("like", [True, False])
def test_the_same_seed_gives_the_same_calls_and_none_twice(generator, like):
    calls = list(islice(generator(RECORDED, 3, like), 100))
    assert calls == list(islice(generator(RECORDED, 3, like), 100))
    assert calls != list(islice(generator(RECORDED, 4, like), 100))
    assert len({repr(call) for call in calls}) == len(calls) >= 30


@pytest.mark.parametrize("generator", [vary, draw])
def test_calls_like_the_recorded_ones_keep_what_held(generator):
    for numbers, count, day, record in islice(generator(RECORDED, 1, like=True), 300):
        assert count == len(numbers) > 0
        assert numbers == sorted(numbers)
        assert min(numbers) > 0
        assert len(day) == 10
        assert (day[4], day[7]) == ("-", "-")
        assert list(record) == ["price"]


@pytest.mark.parametrize("generator", [vary, draw])
def test_other_calls_do_not(generator):
    calls = list(islice(generator(RECORDED, 1), 500))
    assert any(count != len(numbers) for numbers, count, _, _ in calls)
    assert any(min(numbers, default=0) <= 0 for numbers, _, _, _ in calls)


def test_arguments_that_were_always_in_order_stay_so():
    calls = list(islice(vary([(1, 9), (3, 12), (2, 4)], 0, like=True), 100))
    assert all(low <= high for low, high in calls)


@pytest.mark.parametrize("generator", [vary, draw])
def test_generators_end(generator):
    assert len(list(generator([(True,), (False,)], 0))) == 2
    assert list(generator([], 0)) == []
    assert list(generator([()], 0)) == []


@pytest.mark.parametrize(
    ("values", "good", "bad"),
    [
        ([3, 8], 5, -1), ([3, 8], 1, 2.0), ([0, 4], 0, -1), ([-2, 4], -3, 10**6), (["ab", "xyz"], "mn", "a1"),
        ([[1, 2, 3]], [2, 3, 4], [3, 1, 2]), ([[[1, 2], [3, 4]]] * 2, [[5, 6], [7, 8]], [[5, 6, 7]]),
        ([(1, "a")], (2, "a"), (1,)),
        ([1.0, float("inf")], 2.0, 2),
    ],
)  # fmt: skip
def test_shapes(values, good, bad):
    shape = shape_of(values)
    assert fits(good, shape)
    assert not fits(bad, shape)
