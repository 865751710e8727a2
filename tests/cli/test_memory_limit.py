"""Code that takes too much memory is stopped, and the limit is that of before afterwards."""

import resource
import sys

import pytest

from cli.memory_limit import OutOfMemory, taking_at_most

LIMIT = 100_000_000
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the limit is known on Linux alone")


def limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_AS)


def test_what_takes_little_is_let_be():
    before = limits()
    with taking_at_most(LIMIT):
        assert limits() != before
        assert len(bytes(LIMIT // 4)) == LIMIT // 4
    assert limits() == before


def test_what_takes_too_much_is_stopped_and_the_limit_put_back():
    before = limits()
    with pytest.raises(OutOfMemory, match="more than 100 MB of memory"), taking_at_most(LIMIT):
        bytes(2 * LIMIT)
    assert limits() == before and len(bytes(2 * LIMIT)) == 2 * LIMIT


def test_little_by_little_is_too_much_too():
    with pytest.raises(OutOfMemory), taking_at_most(LIMIT):
        text = "ab"
        while True:
            text += text


def test_a_lower_limit_stays():
    low, high = limits()
    with taking_at_most(LIMIT):
        inner = limits()
        with taking_at_most(10 * LIMIT):
            assert limits() == inner
        assert limits() == inner
    assert limits() == (low, high)
