"""
One life of a program, from its start to the end of all that came of it
"""

from __future__ import annotations

import asyncio
import os
import re
from signal import SIGCONT, SIGKILL, Signals
from typing import TYPE_CHECKING

from plait.errors import ProgramFailed
from plait.services import descendants
from plait.services.descendants import VARIABLE, Mark
from plait.services.keeper import keeper
from plait.services.output import Output
from plait.services.spawn import RunningProgram, spawn

if TYPE_CHECKING:
    from contextlib import ExitStack

    from plait.services.lock import ProgramLock
    from plait.services.program import Program
    from plait.tree.service import Context

#: What a service manager tells us is not meant for our programs.
NOT_INHERITED = frozenset(
    {b"NOTIFY_SOCKET", b"WATCHDOG_PID", b"WATCHDOG_USEC", b"LISTEN_PID", b"LISTEN_FDS", b"LISTEN_FDNAMES"}
)
#: After a failure the keeper stays so many seconds, since the program is likely to start again.
LINGER = 5.0
#: How long after the start we do what has no hurry, in seconds.
A_MOMENT = 0.01


class ProgramLife:
    """One life of a `Program`: what it holds, let go by *closing* in reverse order."""

    def __init__(self, service: Program, context: Context[RunningProgram], closing: ExitStack) -> None:
        self.service = service
        self.context = context
        self.log = context.log
        self.closing = closing
        self.is_ready = False
        self.has_begun = False
        self.asked = ""  # how it was asked to end
        self.linger = 0.0
        self.mark = Mark(context.path, service.dies_with_us)
        self.later: asyncio.TimerHandle | None = None
        self.outputs = [self._output("stdout"), self._output("stderr")]
        self.program: RunningProgram

    def _output(self, stream: str) -> Output:
        extra = {"stream": stream}
        info = self.log.info
        pattern = re.compile(self.service.ready_line) if self.service.ready_line else None

        def tell(line: str) -> None:
            info("%s", line, extra=extra)
            if pattern is not None and not self.is_ready and pattern.search(line):
                self.ready()

        output = Output(tell)
        self.closing.callback(output.close)
        return output

    def ready(self) -> None:
        """Say, once, that the program can serve."""
        if not self.is_ready:
            self.is_ready = True
            self.context.ready(self.program)

    def start(self, lock: ProgramLock | None) -> None:
        """Start the program."""
        service = self.service
        if service.dies_with_us:
            self._hold_keeper()
        out, err = self.outputs
        assert service.directory is None or isinstance(service.directory, str)
        self.program = program = spawn(
            self.context.path,
            service.command,  # type: ignore[arg-type]  # made a tuple of str at construction
            directory=service.directory,
            environment=self._environment(),
            outputs=(out.writer, err.writer),
            passed=(lock.descriptor,) if lock is not None else (),
        )
        self.has_begun = True
        self.closing.callback(program.close)
        self.mark.put(program.pid)
        out.start()
        err.start()
        if lock is not None:
            lock.write(program.pid)
        if not service.ready_line and not service.notify:
            self.ready()
        self.log.info("%s runs", program)
        # Not now: the program may be on our core, and wait for us to sleep.
        self.later = asyncio.get_running_loop().call_later(A_MOMENT, self._look_after)

    def _look_after(self) -> None:
        self.later = None
        self.mark.put_again()
        if self.service.dies_with_us and self.program.pidfd >= 0:
            keeper.tell(self.program.pid, self.program.pidfd)
            self.closing.callback(keeper.forget, self.program.pid)

    def _hold_keeper(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            keeper.hold(loop)
        except (OSError, AttributeError) as error:
            raise ProgramFailed(
                f"{self.context.path}: cannot start the keeper, which ends the program when plaitd is killed"
                f" ({getattr(error, 'strerror', None) or error}): set dies_with_us=False to do without"
            ) from error
        self.closing.callback(lambda: keeper.release(loop, self.linger))

    def _environment(self) -> dict[bytes, bytes]:
        # As bytes: to decode and encode again takes a tenth of a millisecond from each start.
        environment = {name: value for name, value in os.environb.items() if name not in NOT_INHERITED}
        if self.service.notify:
            from plait.services.notices import Notices

            notices = Notices(self.ready, lambda text: self.log.info("status: %s", text))
            self.closing.callback(notices.close)
            environment[b"NOTIFY_SOCKET"] = os.fsencode(notices.address)
        for name, value in (self.service.environment or {}).items():
            environment[os.fsencode(name)] = os.fsencode(value)
        environment[VARIABLE] = self.mark.environment(os.environb.get(VARIABLE, b""))
        return environment

    async def wait(self) -> None:
        """Wait until the program ends by itself."""
        await self.program.wait()

    async def stop(self) -> None:
        """Ask it to end, and wait at most its grace; cancelled once more, wait no longer."""
        number = Signals(int(self.service.signal))  # no name any more: see __post_init__
        program = self.program
        __plait_where__ = lambda: f"the end of {program}"  # noqa: E731, F841 - read by plait.tree.stack
        self.asked = f" after {number.name}"
        program.send_group(number)
        program.send_group(SIGCONT)
        try:
            async with asyncio.timeout(self.service.grace):
                await program.wait()
                await descendants.leave(self.mark, number)
        except TimeoutError:
            who = "what it started" if program.returncode is not None else "it"
            self.log.warning(
                "%s: %s did not end within %.3g s of %s: killed", program, who, self.service.grace, number.name
            )

    async def end(self) -> None:
        """Kill what is left of it, at once; return when there is nothing, and its last words are told."""
        if not self.has_begun:
            return
        program = self.program
        __plait_where__ = lambda: f"the killing of {program}"  # noqa: E731, F841 - read by plait.tree.stack
        # The program is not reaped yet, so the number of its group is still its own.
        program.send_group(SIGKILL)
        if program.returncode is None:
            descendants.close(descendants.kill(self.mark))  # before the first wait: we may be cancelled again
            await program.wait()
        # What dies by itself is to start again soon; what was asked to end may take a millisecond more.
        thoroughly = bool(self.asked) or self.later is not None
        if self.later is not None:
            self.later.cancel()
        await descendants.end(self.mark, thoroughly)
        program.reap()
        for output in self.outputs:
            output.finish()
        if self.asked:
            self.log.info("%s %s%s", program, program.fate, self.asked)
        if self.mark.beyond:
            self.log.warning("%s: no right to end what it started: %s", program, sorted(self.mark.beyond))

    def judge(self) -> None:
        """Say how it ended by itself; raise `ProgramFailed` when that was no good end."""
        program = self.program
        failed = program.returncode not in self.service.exit_codes
        if self.is_ready and (failed or self.service.restart == "always"):
            self.linger = LINGER
        if not failed:
            self.log.info("%s %s", program, program.fate)
            return
        raise ProgramFailed(f"{program} {program.fate}", program.returncode)
