"""
Privileged starts: done before there is a loop, then taken over by the life of each service, or taken back
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.logger import Logger

from plait.guests.twisted.names import name_of
from plait.guests.twisted.watching import Watch

if TYPE_CHECKING:
    from plait.guests.twisted.reactor import GuestReactor
    from plait.guests.twisted.waiting import Outcome

#: How long the stops may take, in seconds, of services that had a privileged start and nothing else.
PATIENCE = 10.0

_log = Logger(namespace="twisted.application.service")


class PrivilegedStart(NamedTuple):
    """The privileged start of the service that *watch* is over: what it raised, and what it began to watch."""

    watch: Watch
    error: BaseException | None
    readers: tuple[Any, ...]


class PrivilegedStarts:
    """The privileged starts that no life has taken over yet, in the order in which they were done."""

    def __init__(self, reactor: GuestReactor) -> None:
        self._reactor = reactor
        self._done: list[PrivilegedStart] = []

    def __bool__(self) -> bool:
        return bool(self._done)

    def do(self, watch: Watch) -> None:
        """Do the privileged start of the service of *watch*; what it raises is for the life that takes it over."""
        before = set(self._reactor._readers)
        error: BaseException | None = None
        try:
            watch.start_privileged()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as raised:
            error = raised
        finally:
            # Also of one that is left by ``sys.exit()`` or a signal: it may have begun something.
            self._done.append(PrivilegedStart(watch, error, tuple(self._reactor._readers.keys() - before)))
            if watch.is_touched:
                watch.touch_parents()

    def take(self, watch: Watch) -> PrivilegedStart | None:
        """
        Return the privileged start of the service of *watch*, once.

        What that has begun to watch belongs from now on to the service in whose life this is called.
        """
        start = next((each for each in self._done if each.watch.service is watch.service), None)
        if start is not None:
            self._done.remove(start)
            for reader in start.readers:
                if reader in self._reactor._readers:
                    self._reactor.removeReader(reader)
                    self._reactor.addReader(reader)
        return start

    def forget(self) -> None:
        """Leave those that no life has taken over to the collection that they are in, which has stopped them."""
        self._done.clear()

    async def take_back(self, tell: Callable[[str], object]) -> None:
        """Stop those that no life will take over, the last first; *tell* of each that is left behind."""
        stopping: list[tuple[str, Outcome]] = []
        while self._done:
            watch = self._done.pop().watch
            outcome = watch.stop()
            if outcome is not None:
                stopping.append((name_of(watch.service), outcome))
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(began + PATIENCE):
                for name, outcome in stopping:
                    await self._ended(name, outcome)
        except TimeoutError:
            pass
        finally:
            waited = asyncio.get_running_loop().time() - began
            for name, outcome in stopping:
                if not outcome.is_done:
                    where = outcome.where()
                    outcome.give_up()
                    tell(f"{name}: left behind after its privileged start: did not stop in {waited:.3g} s, at {where}")

    async def _ended(self, name: str, outcome: Outcome) -> None:
        await outcome.future()
        try:
            await outcome.wait()
        except Exception as error:
            # It was never started: what its stop takes for granted need not be there.
            _log.debug("{name}: its stop after the privileged start failed: {error!r}", name=name, error=error)
