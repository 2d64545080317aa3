"""The ringer: behind the answers, losing nothing, delaying nobody."""

import threading
import time
from collections.abc import Iterable

import pytest

from webhook_app.ringer import BackgroundRinger


class FakeBell:
    def __init__(self) -> None:
        self.rung: list[set[int]] = []
        self.works = True
        self.going = threading.Event()
        self.going.set()
        self.entered = threading.Event()

    def wake(self, partitions: Iterable[int]) -> bool:
        self.entered.set()
        assert self.going.wait(10)
        self.rung.append(set(partitions))
        return self.works


def until(what: object, deadline_s: float = 5) -> None:
    deadline = time.monotonic() + deadline_s
    while not what():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_what_is_named_while_a_ring_is_under_way_is_rung_right_after_it() -> None:
    bell = FakeBell()
    ringer = BackgroundRinger(bell.wake)
    bell.going.clear()
    ringer({1})
    assert bell.entered.wait(5)
    ringer({1})
    ringer({2})
    bell.going.set()
    assert ringer.flush(5)
    assert bell.rung == [{1}, {1, 2}]


@pytest.mark.fault("F51")
def test_what_could_not_be_rung_is_tried_again_and_nothing_waits_for_it() -> None:
    bell = FakeBell()
    ringer = BackgroundRinger(bell.wake, retry_s=0.02)
    bell.works = False
    ringer({1})
    until(lambda: len(bell.rung) >= 3)
    assert not ringer.flush(0)
    bell.works = True
    assert ringer.flush(5)
    assert all(partitions == {1} for partitions in bell.rung)


def test_a_new_partition_is_rung_at_once_also_while_others_wait_to_be_tried_again() -> None:
    bell = FakeBell()
    ringer = BackgroundRinger(bell.wake, retry_s=60)
    bell.works = False
    ringer({1})
    until(lambda: bell.rung)
    bell.works = True
    ringer({2})
    assert ringer.flush(5)
    assert bell.rung[-1] == {1, 2}
