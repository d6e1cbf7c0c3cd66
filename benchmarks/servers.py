"""The echo servers that are compared, and the command that starts each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness import Sample, Side
from processes import PROGRAMS, Server, free_port, program, tool

Command = list[str]


@dataclass(frozen=True)
class Kind:
    """A kind of server: its command for a port, what it needs, and which other kind is its 1."""

    name: str
    command: Callable[[int], Command]
    against: str = "bare Protocol"
    needs: tuple[str, ...] = ()
    http: bool = False

    def serve(self) -> Server:
        """Return the server, to be started and ended by ``with``."""
        port = free_port()
        return Server(lambda folder: self.command(port), port)

    def side(self, measure: Callable[[Kind], Sample]) -> Side:
        """Return the side that measures this kind."""
        return Side(self.name, lambda: measure(self), self.against, self.needs)


def bare(name: str, loop: str = "asyncio") -> Callable[[int], Command]:
    """Return how a script of ours is started."""
    return lambda port: program(name, port, *([loop] if loop != "asyncio" else []))


def plaitd(name: str, loop: str = "asyncio") -> Callable[[int], Command]:
    """Return how plaitd is started, in the foreground."""
    return lambda port: [tool("plaitd"), "-n", "-r", loop, "-y", str(PROGRAMS / name)]


def twistd(*arguments: str) -> Callable[[int], Command]:
    """Return how twistd is started, in the foreground."""
    return lambda port: [tool("twistd"), "-n", *arguments, "-y", str(PROGRAMS / "twisted_echo.tac")]


def guest(loop: str) -> Callable[[int], Command]:
    """Return how plaitd is started as the host of the same application, in the foreground."""
    return lambda port: [tool("plaitd"), "-n", "-r", loop, "-y", str(PROGRAMS / "twisted_echo.tac")]


def uvicorn(*arguments: str) -> Callable[[int], Command]:
    """Return how uvicorn is started."""
    place = ["--app-dir", str(PROGRAMS), "--log-level", "warning", "--no-access-log"]
    return lambda port: [tool("uvicorn"), *place, *arguments, "--port", str(port), "asgi_hello:application"]


def gunicorn(port: int) -> Command:
    """Return how gunicorn is started."""
    return [tool("gunicorn"), "--chdir", str(PROGRAMS), "--bind", f"127.0.0.1:{port}", "asgi_hello:wsgi"]


BARE_PROTOCOL = Kind("bare Protocol", bare("bare_protocol.py"))
BARE_STREAMS = Kind("bare streams", bare("bare_streams.py"), "bare streams")
BARE_PROTOCOL_UVLOOP = Kind(
    "bare Protocol, uvloop", bare("bare_protocol.py", "uvloop"), "bare Protocol, uvloop", ("uvloop",)
)
BARE_STREAMS_UVLOOP = Kind(
    "bare streams, uvloop", bare("bare_streams.py", "uvloop"), "bare streams, uvloop", ("uvloop",)
)
PLAIT_PROTOCOL = Kind("plait Protocol", plaitd("plait_protocol.py"))
PLAIT_STREAMS = Kind("plait streams", plaitd("plait_streams.py"), "bare streams")
PLAIT_PROTOCOL_UVLOOP = Kind(
    "plait Protocol, uvloop", plaitd("plait_protocol.py", "uvloop"), "bare Protocol, uvloop", ("uvloop",)
)
PLAIT_STREAMS_UVLOOP = Kind(
    "plait streams, uvloop", plaitd("plait_streams.py", "uvloop"), "bare streams, uvloop", ("uvloop",)
)
TWISTD = Kind("twistd", twistd(), needs=("twisted",))
TWISTD_ASYNCIO = Kind("twistd -r asyncio", twistd("-r", "asyncio"), needs=("twisted",))
GUEST = Kind("plaitd", guest("auto"), "twistd", needs=("twisted",))
GUEST_ASYNCIO = Kind("plaitd -r asyncio", guest("asyncio"), "twistd -r asyncio", needs=("twisted",))
GUEST_UVLOOP = Kind("plaitd -r uvloop", guest("uvloop"), "twistd -r asyncio", needs=("twisted", "uvloop"))
AIORUN = Kind("aiorun", bare("aiorun_echo.py"), needs=("aiorun",))
AIOMISC = Kind("aiomisc", bare("aiomisc_echo.py"), needs=("aiomisc",))
MODE = Kind("mode", bare("mode_echo.py"), needs=("mode",))
ANYIO = Kind("AnyIO", bare("anyio_echo.py"), needs=("anyio",))
UVICORN = Kind("uvicorn", uvicorn("--loop", "asyncio", "--http", "h11"), needs=("uvicorn", "h11"), http=True)
GUNICORN = Kind("gunicorn", gunicorn, needs=("gunicorn",), http=True)
