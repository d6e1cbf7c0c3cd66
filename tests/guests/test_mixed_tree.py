"""
A tree with one of each, a listener, a Twisted service, a trio service, a thread and a child program, survives the
failure of each in turn, as the supervision promises say.
"""

from __future__ import annotations

import os
import re
import signal
import socket

import pytest

from tests.guests.tac import start
from tests.system.daemon import Place
from tests.system.places import FORMS

#: In the order of their start.
KINDS = ("listener", "twisted", "trio", "thread", "program")

#: Each answers ``who`` at a unix socket of its name with its life and its process, and fails at ``fail``.
SHOP = """
import os, signal, socket, sys
from dataclasses import dataclass

import trio

import plait
from plait import Application, Backoff, Limit, Listener, Program, Thread
from plait.guests.trio import TrioService
from plait.guests.twisted import TwistedService
from twisted.application import internet
from twisted.internet import endpoints, protocol, reactor

lives = {}

def tell(word):
    with open(os.environ["TOLD"], "w") as told:
        told.write(word + chr(10))

def began(name):
    lives[name] = lives.get(name, 0) + 1
    tell(name)

def answer(name, asked):
    if asked == b"fail":
        raise ValueError("no luck with " + name)
    return f"{lives[name]} {os.getpid()}".encode()


@dataclass(frozen=True, repr=False)
class Counted(Listener):
    async def run(self, context):
        began("listener")
        try:
            await super().run(context)
        finally:
            context.log.info("put away")

async def converse(reader, writer):
    while asked := await reader.read(100):
        writer.write(answer("listener", asked))


class Converse(protocol.Protocol):
    def dataReceived(self, asked):
        self.transport.write(answer("twisted", asked))

class Port(internet.StreamServerEndpointService):
    def startService(self):
        super().startService()
        began("twisted")

    def stopService(self):
        print("put away")
        return super().stopService()

def port():
    return Port(endpoints.UNIXServerEndpoint(reactor, "twisted.sock"), protocol.Factory.forProtocol(Converse))


async def serve(task_status):
    if os.path.exists("trio.sock"):
        os.unlink("trio.sock")
    listening = trio.socket.socket(socket.AF_UNIX)
    try:
        await listening.bind("trio.sock")
        listening.listen()
        async with trio.open_nursery() as nursery:
            await nursery.start(trio.serve_listeners, in_trio, [trio.SocketListener(listening)])
            task_status.started()
            began("trio")
    finally:
        plait.current().log.info("put away")
        listening.close()

async def in_trio(stream):
    async for asked in stream:
        await stream.send_all(answer("trio", asked))


def work(stop, context):
    if os.path.exists("thread.sock"):
        os.unlink("thread.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("thread.sock")
        listening.listen()
        listening.settimeout(0.05)
        context.ready()
        began("thread")
        try:
            while not stop.is_set():
                try:
                    client, _ = listening.accept()
                except TimeoutError:
                    continue
                with client:
                    while asked := client.recv(100):
                        client.sendall(answer("thread", asked))
        finally:
            context.log.info("put away")


PROGRAM = '''
import os, signal, socket, sys
if os.path.exists("program.sock"):
    os.unlink("program.sock")
lives = open("program.lives", "a+b", buffering=0)
lives.write(b".")
listening = socket.socket(socket.AF_UNIX)
listening.bind("program.sock")
listening.listen()
def leave(number, frame):
    print("put away", flush=True)
    sys.exit()
signal.signal(signal.SIGTERM, leave)
print("listens", flush=True)
with open(os.environ["TOLD"], "w") as told:
    told.write("program" + chr(10))
while True:
    client, _ = listening.accept()
    with client:
        while asked := client.recv(100):
            client.sendall(f"{lives.tell()} {os.getpid()}".encode())
'''

application = Application(
    "shop",
    [
        Counted("unix:listener.sock", converse, name="listener"),
        TwistedService(port, name="twisted", unhandled="fail"),
        TrioService(serve, name="trio"),
        Thread(work, name="thread"),
        Program([sys.executable, "-S", "-c", PROGRAM], name="program", ready_line="listens"),
    ],
    strategy=os.environ["STRATEGY"],
    backoff=Backoff(base=0.01),
    limit=Limit(None),
)
"""


@pytest.fixture
def place(place: Place) -> Place:
    """One with the application in it."""
    (place.folder / "shop.py").write_text(SHOP)
    place.allow("shop.py", "program.lives", *(f"{name}.sock" for name in KINDS[2:]))
    return place


def ask(place: Place, name: str, what: bytes = b"who") -> tuple[int, int]:
    """Return the life of the service *name*, and its process, as it says; zeros if it hangs up."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(place.folder / f"{name}.sock"))
        client.sendall(what)
        try:
            answer = client.recv(100)
        except ConnectionResetError:
            answer = b""
    life, pid = answer.split() if answer else (0, 0)
    return int(life), int(pid)


def hear(place: Place, names: set[str]) -> None:
    """Wait until exactly the services *names* have said that they have begun, each once."""
    assert sorted(place.heard() for _ in names) == sorted(names)


def affected(strategy: str, name: str) -> set[str]:
    """Return who gets a new life when *name* fails."""
    if name == "listener":  # what fails there is an answer to one client
        return set()
    if strategy == "one_for_one":
        return {name}
    return set(KINDS) if strategy == "one_for_all" else set(KINDS[KINDS.index(name) :])


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@FORMS
@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one", "one_for_all"])
def test_each_may_fail_and_all_serve_again(
    place: Place, monkeypatch: pytest.MonkeyPatch, strategy: str, daemonize: bool, loop: str
) -> None:
    """Who fails gets a new life, and with it whom the strategy says; the others keep theirs, and their connections."""
    monkeypatch.setenv("STRATEGY", strategy)
    running = start(place, daemonize, "-r", loop, name="shop.py")
    hear(place, set(KINDS))
    lives = {name: ask(place, name) for name in KINDS}
    assert {name: life for name, (life, _) in lives.items()} == dict.fromkeys(KINDS, 1)

    for name in KINDS:
        again = affected(strategy, name)
        if name == "program":
            os.kill(lives["program"][1], signal.SIGKILL)
        else:
            assert ask(place, name, b"fail") == (0, 0)
        hear(place, again)
        for each in KINDS:
            before, now = lives[each], ask(place, each)
            assert now[0] == before[0] + (each in again), f"{each}, after {name} had failed"
            assert (now[1] != before[1]) == (each == "program" and each in again)
            lives[each] = now

    ended = running.stop()
    assert ended.code == 0
    log = ended.output
    put_away = re.findall(r"\[shop/(\w+)#info\] put away(?: stream=stdout)?$", log, re.MULTILINE)
    assert put_away[-len(KINDS) :] == list(reversed(KINDS))
    for name in KINDS[:-1]:
        assert f"no luck with {name}" in log
    failed = re.findall(r"\[shop/(\w+)#\w+\] waiting, starts again[^(]*\((.*)\)", log)
    assert [name for name, _ in failed] == list(KINDS[1:])
    assert "SIGKILL" in failed[-1][1]
