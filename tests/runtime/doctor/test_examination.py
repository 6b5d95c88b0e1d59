"""Checks that are late, that fail, and that succeed, carried out together."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from runtime.doctor import Check, Examination, examination
from runtime.errors import ConfigurationError
from runtime.finding import Finding, State, ok


def check(work: Callable[[], Coroutine[Any, Any, list[Finding]]], deadline: float = 5.0) -> Check:
    return Check("part", "somewhere", work, deadline)


async def fine() -> list[Finding]:
    return [ok("part", "fine")]


async def wait_for_ever() -> list[Finding]:
    await asyncio.Event().wait()
    return []


async def wrong() -> list[Finding]:
    raise ConfigurationError("it is wrong: change it")


async def broken() -> list[Finding]:
    raise RuntimeError("no way to http://me:s3cret@host/\nand more")


def test_findings_come_in_the_order_of_their_checks() -> None:
    async def slow() -> list[Finding]:
        await asyncio.sleep(0.05)
        return [ok("part", "slow"), ok("part", "and more")]

    examined = Examination([check(slow), check(fine)])
    assert [each.text for each in examined.findings()] == ["slow", "and more", "fine"]
    assert not examined.stuck


def test_what_is_late_is_a_problem_and_the_others_are_told() -> None:
    began = time.monotonic()
    examined = Examination([check(wait_for_ever, 0.1), check(wait_for_ever, 0.1), check(fine)])
    late, _, there = examined.findings()
    assert time.monotonic() - began < 2
    assert (late.state, late.text) == (State.PROBLEM, "no answer within 0.1 s: somewhere")
    assert (there.state, examined.stuck) == (State.OK, False)


def test_a_thread_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "CANCELLING", 0.05)
    end = threading.Event()

    async def hang() -> list[Finding]:
        await asyncio.to_thread(end.wait)
        return []

    try:
        examined = Examination([check(hang, 0.05)])
        (found,) = examined.findings()
        assert (found.state, examined.stuck) == (State.PROBLEM, True)
    finally:
        end.set()


def test_an_error_is_a_finding_without_a_trace_or_a_password() -> None:
    first, second, third = Examination([check(wrong), check(broken), check(fine)]).findings()
    assert (first.state, first.text) == (State.PROBLEM, "it is wrong: change it")
    assert second.state is State.PROBLEM
    assert second.text == "somewhere: RuntimeError: no way to http://me:***@host/"
    assert third.state is State.OK
