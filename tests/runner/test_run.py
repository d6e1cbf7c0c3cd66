"""plait.run: an application from a script, without plaitd."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest
from tests.tree.probe import probe

import plait
from plait import Application, GaveUp, Limit, StartFailed, StopApplication, service


@service
async def done(context):  # type: ignore[no-untyped-def]
    context.ready()
    raise StopApplication("the work is done")


def test_it_returns_after_a_clean_stop() -> None:
    """And leaves the signals as they were."""
    before = signal.getsignal(signal.SIGTERM)
    plait.run(Application("app", [probe("one"), done]), reactor="asyncio")

    assert before is signal.getsignal(signal.SIGTERM)


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGTERM, None), (signal.SIGINT, KeyboardInterrupt)])
def test_signals_stop_it_in_order(number: signal.Signals, raised: type[BaseException] | None) -> None:
    """SIGTERM returns; SIGINT raises KeyboardInterrupt, after everything has stopped."""
    stopped = []

    @service
    async def one(context):  # type: ignore[no-untyped-def]
        context.ready()
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("one")

    application = Application("app", [one])
    if raised is None:
        plait.run(application, reactor="asyncio")
    else:
        with pytest.raises(raised):
            plait.run(application, reactor="asyncio")

    assert stopped == ["one"]


@pytest.mark.logs("failed")
def test_it_raises_what_ended_the_application() -> None:
    """A failed start, a group that gave up, an exit code that somebody asked for."""

    @service
    async def exits(context):  # type: ignore[no-untyped-def]
        context.ready()
        raise StopApplication("enough", 3)

    @service
    async def crashes(context):  # type: ignore[no-untyped-def]
        context.ready()
        raise RuntimeError("oh")

    with pytest.raises(StartFailed):
        plait.run(Application("app", [probe("one", fail_starts=1)]), reactor="asyncio")
    with pytest.raises(GaveUp):
        plait.run(Application("app", [crashes], limit=Limit(0)), reactor="asyncio")
    with pytest.raises(SystemExit) as caught:
        plait.run(Application("app", [exits]), reactor="asyncio")
    assert caught.value.code == 3


@pytest.mark.logs("sys.exit")
def test_sys_exit_in_a_callback_stops_in_order() -> None:
    """The loop goes on until everything has stopped; the code is kept."""
    stopped = []

    @service
    async def one(context):  # type: ignore[no-untyped-def]
        context.ready()
        asyncio.get_running_loop().call_soon(exit_with, 4)
        try:
            await asyncio.Event().wait()
        finally:
            stopped.append("one")

    def exit_with(code: int) -> None:
        raise SystemExit(code)

    with pytest.raises(SystemExit) as caught:
        plait.run(Application("app", [one]), reactor="asyncio")

    assert (caught.value.code, stopped) == (4, ["one"])


def test_it_runs_in_a_thread_without_touching_signals() -> None:
    """Where signals cannot be heard, they are not."""
    before = signal.getsignal(signal.SIGTERM)
    application = Application("app", [probe("one"), done])
    thread = threading.Thread(target=lambda: plait.run(application, reactor="asyncio"))
    thread.start()
    thread.join(10)

    assert not thread.is_alive()
    assert before is signal.getsignal(signal.SIGTERM)
