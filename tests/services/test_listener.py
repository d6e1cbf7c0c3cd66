"""The value `Listener`: what it takes, what it is called, what it refuses."""

from __future__ import annotations

import asyncio
import copy
import functools
import pickle
from dataclasses import replace
from typing import Any

import pytest

from plait.endpoints import Endpoint
from plait.errors import ConfigurationError, EndpointError
from plait.services.crew import show_address
from plait.services.listener import Listener, is_async


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...


async def answer(data: bytes, address: Any, transport: Any) -> None: ...


def forgotten(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    return wrapper


class EchoProtocol(asyncio.Protocol): ...


class Buffered(asyncio.BufferedProtocol): ...


class Clock(asyncio.DatagramProtocol): ...


class Greedy(asyncio.Protocol):
    def __init__(self, room: str) -> None: ...


class Room:
    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...


HANDLERS = {
    "function": (echo, True, "echo"),
    "partial": (functools.partial(echo), True, "echo"),
    "method": (Room().join, True, "join"),
    "object": (Room(), True, "room"),
    "partial of an object": (functools.partial(Room()), True, "room"),
    "decorated": (decorated(echo), True, "echo"),
    "protocol": (EchoProtocol, False, "echo"),
    "buffered protocol": (Buffered, False, "buffered"),
    "partial of a protocol": (functools.partial(Greedy, "a"), False, "greedy"),
    "lambda": (lambda: EchoProtocol(), False, "listener"),
}


@pytest.mark.parametrize(("handler", "is_stream", "name"), HANDLERS.values(), ids=HANDLERS)
def test_tells_the_kinds_of_handlers_apart_and_takes_its_name_from_them(
    handler: Any, is_stream: bool, name: str
) -> None:
    """What gives a coroutine answers streams, anything else makes protocols; its name becomes the service's."""
    listener = Listener("tcp:0", handler)
    assert is_async(listener.handler) is is_stream
    assert listener.name == name


@pytest.mark.parametrize("handler", [Clock, answer, functools.partial(Clock), lambda: Clock()])
def test_takes_handlers_of_datagrams(handler: Any) -> None:
    """For datagrams it takes DatagramProtocols and async functions of three arguments."""
    assert Listener("udp:0", handler, name="clock").endpoints()[0].is_datagram


TWO = "wanted async def (reader, writer)"
REFUSED = {
    "not async": ("tcp:0", forgotten, "forgotten: is not async: write async def forgotten(reader, writer)"),
    "a protocol": (
        "tcp:0",
        EchoProtocol(),
        "<EchoProtocol>: is one protocol, and each connection needs its own: give the class, EchoProtocol",
    ),
    "nothing": ("tcp:0", None, "None: wanted an async function (reader, writer) or a Protocol class"),
    "nothing for datagrams": (
        "udp:0",
        None,
        "None: wanted an async function (data, address, transport) or a Protocol class",
    ),
    "parameters": ("tcp:0", answer, "answer: its parameters do not fit: wanted async def (reader, writer)"),
    "parameters of datagrams": (
        "udp:0",
        echo,
        "echo: its parameters do not fit: wanted async def (data, address, transport)",
    ),
    "another class": ("tcp:0", dict, "dict: is not a Protocol: derive it from asyncio.Protocol"),
    "another class for datagrams": ("udp:0", dict, "dict: is not a Protocol: derive it from asyncio.DatagramProtocol"),
    "datagrams at connections": (
        "tcp:0",
        Clock,
        "Clock: is for datagrams, and these are connections: derive it from asyncio.Protocol",
    ),
    "connections at datagrams": (
        "udp:0",
        EchoProtocol,
        "EchoProtocol: is for connections, and these are datagrams: derive it from asyncio.DatagramProtocol",
    ),
    "arguments": ("tcp:0", Greedy, "Greedy: wants arguments: bind them with functools.partial"),
    "arguments of a function": (
        "tcp:0",
        lambda room: Greedy(room),
        "<lambda>: wants arguments: bind them with functools.partial",
    ),
}


@pytest.mark.parametrize(("endpoint", "handler", "words"), REFUSED.values(), ids=REFUSED)
def test_refuses_handlers_that_cannot_work(endpoint: str, handler: Any, words: str) -> None:
    """A handler that cannot work is refused when it is written, with what to do."""
    if isinstance(handler, asyncio.BaseProtocol):
        words = words.replace("<EchoProtocol>", repr(handler))
    if words.startswith("<lambda>"):
        words = words.replace("<lambda>", handler.__qualname__)
    with pytest.raises(ConfigurationError) as caught:
        Listener(endpoint, handler, name="web")
    assert str(caught.value) == f"Listener web: handler={words}"


def test_refuses_a_handler_that_is_already_called() -> None:
    """A coroutine instead of a function is refused, and does not complain later that nobody awaited it."""
    with pytest.raises(ConfigurationError, match="is called already: give the function itself, without the brackets"):
        Listener("tcp:0", echo(None, None))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"drain": -1.0}, "Listener echo: drain=-1.0: wanted a number of seconds from 0"),
        ({"drain": float("nan")}, "Listener echo: drain=nan: wanted a number of seconds from 0"),
        (
            {"drain": 20.0},
            "Listener echo: drain=20.0: wanted at most the 10 s of stop_timeout: lower drain=, or raise stop_timeout=",
        ),
        ({"handshake_timeout": 0.0}, "Listener echo: handshake_timeout=0.0: wanted a number of seconds above 0"),
    ],
)
def test_refuses_times_that_cannot_be_kept(options: dict[str, Any], words: str) -> None:
    """Times that contradict each other are refused."""
    with pytest.raises(ConfigurationError) as caught:
        Listener("tcp:0", echo, **options)
    assert str(caught.value) == words


def test_takes_a_drain_as_long_as_the_stop() -> None:
    """A drain may take the whole stop, and any time where the stop has no limit."""
    assert Listener("tcp:0", echo, drain=10.0).drain == 10.0
    assert Listener("tcp:0", echo, drain=100.0, stop_timeout=None).drain == 100.0


def test_refuses_an_endpoint_that_is_none() -> None:
    """A bad endpoint is refused when it is written."""
    with pytest.raises(EndpointError):
        Listener("tcp:http", echo)


def test_is_a_value() -> None:
    """Listeners are equal when they say the same, and can be hashed, copied, pickled and replaced."""
    listener = Listener("tcp:8080:interface=127.0.0.1", echo)
    assert listener.endpoint == Endpoint.listening("127.0.0.1:8080")
    assert listener == Listener("127.0.0.1:8080", echo) == copy.deepcopy(listener)
    assert listener != Listener("tcp:8081:interface=127.0.0.1", echo)
    assert pickle.loads(pickle.dumps(listener)) == listener
    assert hash(pickle.loads(pickle.dumps(listener))) == hash(listener)
    assert replace(listener, drain=1.0).name == "echo"


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        ("/run/client", "/run/client"),
        ("", "a local client"),
        (None, "a local client"),
        (b"\0name", "@name"),
    ],
)
def test_shows_addresses_as_people_write_them(address: object, text: str) -> None:
    """Every kind of address has a form for people."""
    assert show_address(address) == text
