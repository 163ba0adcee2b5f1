"""Working ahead changes when things are done, not what comes out."""

from __future__ import annotations

import threading
import time

import pytest

from lorapipe.training.data.prefetch import prefetched


def test_results_come_in_order_whoever_is_first():
    def work(number: int) -> int:
        time.sleep(0.002 * (number % 3 == 0))
        return number * number

    assert list(prefetched(work, range(50), threads=4)) == [number * number for number in range(50)]


def test_no_more_than_two_a_thread_are_done_ahead_and_several_at_once():
    begun: list[int] = []
    together = threading.Barrier(2, timeout=10)  # passed only by two threads that work at the same time

    def work(number: int) -> int:
        begun.append(number)
        if number < 2:
            together.wait()
        return number

    results = prefetched(work, range(1000), threads=2)
    assert [next(results), next(results)] == [0, 1]
    assert len(begun) <= 6
    results.close()


def test_a_failure_comes_where_its_result_would_have():
    def work(number: int) -> float:
        return 1 / (number - 3)

    results = prefetched(work, range(10), threads=2)
    assert [next(results) for _ in range(3)] == [1 / -3, 1 / -2, 1 / -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
