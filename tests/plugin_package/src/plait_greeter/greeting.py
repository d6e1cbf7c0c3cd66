"""Greets whoever connects."""

import asyncio
from typing import Annotated, Literal

from plait import Endpoint, Listener, Service, UsageError


def greet(
    name: Annotated[str, "whom to greet"],
    *,
    listen: Annotated[Endpoint, "-l", "where to listen"],
    tone: Annotated[Literal["plain", "warm"], "-t", "how"] = "plain",
    times: Annotated[int, "-n NUMBER", "how often"] = 1,
    add: Annotated[list[str], "-a WORD", "a word to add"] = [],  # noqa: B006 - it is not changed
    shout: Annotated[bool, "in capitals"] = False,
    newline: Annotated[bool, "end with a new line"] = True,
) -> Service:
    """
    Greet whoever connects.

    It says the same to everybody, and closes.

    There is no more to it.
    """
    if times < 1:
        raise UsageError(f"--times {times}: wanted a whole number from 1")
    words = ["dear"] * (tone == "warm") + [name, *add]
    text = " ".join(["hello", *words]) + "\n" * newline
    answer = (text.upper() if shout else text) * times

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer.encode())

    return Listener(listen, say, name="greet")
