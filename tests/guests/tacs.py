"""
Every ``.tac`` file in Twisted's documentation: what its page says to have at hand, and what a real client sees of it.

`TACS` run; `BROKEN` do not run under Twisted's own runner either.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.guests.box import Box, Talk

Proof = Callable[[Box], Awaitable[None]]

FINGER = "core/howto/tutorial/listings/finger/"
SERVER = "mail/tutorial/smtpserver/"
CLIENT = "mail/tutorial/smtpclient/"
CONCH = "conch/examples/"


@dataclass(frozen=True)
class Tac:
    """
    One file: the ports that it listens on, and the proof that it works.

    *peer* is a program that is there before it starts, for one that connects; *path* is where its modules are.
    *error* is what the one traceback ends with that it causes in the log by an error of its own.
    """

    name: str
    ports: tuple[int, ...]
    proof: Proof
    peer: tuple[str, ...] = ()
    path: str = "."
    error: str = ""
    has_own_log: bool = False

    @property
    def id(self) -> str:
        """How it is called in a list of tests."""
        return self.name.rpartition("/")[2].removesuffix(".tac")


# Clients --------------------------------------------------------------------------------------------------------------


async def nc(box: Box, port: int, told: str, heard: str) -> str:
    """Return what netcat prints that says *told* to *port* and waits for *heard*, a regular expression."""
    client = await box.start("nc", "-N", "127.0.0.1", str(port))
    client.say(told)
    await client.hear(heard)
    client.say_no_more()
    await client.ends()
    return client.output


async def curl(box: Box, *words: str) -> str:
    """Return what curl prints."""
    return await box.run("curl", "--silent", "--show-error", "--max-time", "20", *words)


async def swaks(box: Box, port: int, *words: str, code: int = 0) -> str:
    """Return what swaks prints that sends a mail to *port*."""
    mail = ("--server", f"127.0.0.1:{port}", "--from", "moshez@localhost", "--body", "a word of it")
    return await box.run("swaks", *mail, *words, code=code)


async def telnet(box: Box) -> Talk:
    """Return a telnet client of the port that the examples for terminals have for it."""
    return await box.start("telnet", "127.0.0.1", "6023")


async def ssh(box: Box, user: str = "username", password: str = "password") -> Talk:
    """Return an ssh client, with a terminal, of the port that the examples have for it."""
    script = box.root / "password"
    script.write_text(f"#!/bin/sh\necho {password}\n")
    script.chmod(0o755)
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "PubkeyAuthentication=no", "LogLevel=ERROR")
    words = [word for option in options for word in ("-o", option)]
    asked = {"SSH_ASKPASS": str(script), "SSH_ASKPASS_REQUIRE": "force", "TERM": "xterm"}
    return await box.start("ssh", "-tt", "-F", "none", *words, "-p", "6022", f"{user}@127.0.0.1", **asked)


# Proofs ---------------------------------------------------------------------------------------------------------------


async def nothing(box: Box) -> None:
    """It has no port, no client, and does nothing: that it starts and stops is all that there is."""


def both(*proofs: Proof) -> Proof:
    """Return the proof that is all of these, one after another."""

    async def proof(box: Box) -> None:
        for each in proofs:
            await each(box)

    return proof


def finger(status: str, nobody: str = "No such user") -> Proof:
    """Return the proof that port 79 answers with *status*, and for others with *nobody*."""

    async def proof(box: Box) -> None:
        await nc(box, 79, "moshez\r\n", status)
        await nc(box, 79, "nobody\r\n", nobody)

    return proof


async def sets_a_status(box: Box) -> None:
    await nc(box, 79, "moshez\r\n", "Happy and well\r\n")
    await nc(box, 1079, "moshez\r\nAway\r\n", "")
    await nc(box, 79, "moshez\r\n", "Away\r\n")


def web(place: str, *shown: str) -> Proof:
    """Return the proof that the page at *place* has all that is *shown*."""

    async def proof(box: Box) -> None:
        page = await box.run("curl", "--silent", "--show-error", "--insecure", "--max-time", "20", place)
        for text in shown:
            assert text in page

    return proof


async def comes_to_irc(box: Box) -> None:
    """The peer is a server of IRC, of which we type the lines."""
    await box.peers[0].hear("NICK fingerbot\r\nUSER fingerbot")


async def answers_on_irc(box: Box) -> None:
    await comes_to_irc(box)
    box.peers[0].say(":bob!bob@localhost PRIVMSG fingerbot :moshez\r\n")
    await box.peers[0].hear("PRIVMSG bob :.*moshez: .*\r\n")


async def answers_xmlrpc(box: Box) -> None:
    call = (
        "<methodCall><methodName>getUser</methodName><params><param><value>moshez</value></param></params></methodCall>"
    )
    asked = ("--data", call, "--header", "Content-Type: text/xml", "http://127.0.0.1:8000/RPC2")
    assert "<methodResponse>" in await box.run("curl", "--silent", "--max-time", "20", *asked)


async def asks_its_finger_server(box: Box) -> None:
    """The peer is the finger server; of its answer the example's own code makes an error."""
    client = await box.start("nc", "-N", "127.0.0.1", "7779")
    client.say("moshez\r\n")
    await box.peers[0].hear("moshez\r\n")
    box.peers[0].say("Happy and well\r\n")
    box.peers[0].say_no_more()
    await box.peers[0].ends()


def smtp(port: int, heard: str, code: int, *words: str) -> Proof:
    """Return the proof that swaks, told *words*, has *heard* when it ends with *code*."""

    async def proof(box: Box) -> None:
        mail = ("--server", f"127.0.0.1:{port}", "--from", "moshez@localhost", "--to", "console@localhost")
        assert heard in await box.run("swaks", *mail, *words, code=code)

    return proof


def connects(*lines: tuple[str, str]) -> Proof:
    """Return the proof that it connects to its peer, to which, for each of *lines*, we type one and it answers so."""

    async def proof(box: Box) -> None:
        await box.peers[0].hear("Connection received")
        for typed, heard in lines:
            box.peers[0].say(typed)
            await box.peers[0].hear(heard)

    return proof


async def connects_and_leaves(box: Box) -> None:
    await connects()(box)
    assert await box.peers[0].ends() == 0


def types(client: Callable[[Box], Awaitable[Talk]], *lines: tuple[str, str]) -> Proof:
    """
    Return the proof that a person with *client* sees the first of each of *lines*, and types the second.

    Who has seen it all stays: a stop finds the connection open.
    """

    async def proof(box: Box) -> None:
        talk = await client(box)
        for seen, typed in lines:
            await talk.hear(seen)
            talk.say(typed)

    return proof


async def ssh_as_guest(box: Box) -> Talk:
    return await ssh(box, "guest")


async def echoes(box: Box) -> None:
    await nc(box, 8080, "a word\n", "a word\n")
    await nc(box, 8081, "another\n", "another\n")


async def answers_amp(box: Box) -> None:
    assert "AMP connection established" in await box.run(sys.executable, "basic_client.py")
    await nc(box, 8750, "\0\4_ask\0\0011\0\10_command\0\3Sum\0\0", "_error_code.*UNHANDLED")


async def takes_a_pond(box: Box) -> None:
    assert "pond arrived safe and sound" in await box.run(sys.executable, "copy_sender.py")


async def logs_to_its_own_file(box: Box) -> None:
    follower = await box.start("tail", "--follow=name", "--retry", "--lines=+1", "twistd-logging.log")
    await follower.hear("Got a log! .*A log message.*Got a log! .*A log message")


# The files ------------------------------------------------------------------------------------------------------------

IRC = ("nc", "-l", "127.0.0.1", "6667")
SMTP = ("nc", "-l", "-v", "127.0.0.1", "25")
SITE = "http://127.0.0.1:8000/"

#: What Twisted says of a factory without a protocol, which some steps of the tutorials have.
NO_PROTOCOL = "AssertionError"

TACS = [
    Tac("core/examples/simple.tac", (8080, 8081), echoes),
    Tac("core/examples/twistd-logging.tac", (), logs_to_its_own_file, has_own_log=True),
    Tac("core/howto/listings/amp/basic_server.tac", (8750,), answers_amp),
    Tac(
        "core/howto/listings/application/service.tac",
        (8080,),
        web("http://127.0.0.1:8080/service.tac", "getWebService"),
    ),
    Tac("core/howto/listings/pb/copy_receiver.tac", (8800,), takes_a_pond),
    Tac(FINGER + "finger11.tac", (79,), finger("Happy and well\r\n")),
    Tac(FINGER + "finger12.tac", (79, 1079), sets_a_status),
    Tac(FINGER + "finger13.tac", (79, 1079), sets_a_status),
    Tac(FINGER + "finger14.tac", (79,), finger("happy and well\r\n")),
    Tac(FINGER + "finger15.tac", (79, 8000), both(finger("happy and well"), web(SITE + "shawn", "<h1>shawn", "alive"))),
    Tac(
        FINGER + "finger16.tac",
        (79, 8000),
        both(finger("happy and well"), web(SITE + "shawn", "<h1>shawn", "alive"), answers_on_irc),
        peer=IRC,
    ),
    Tac(
        FINGER + "finger20.tac",
        (79, 8000),
        both(finger("happy and well"), web(SITE + "shawn", "<h1>shawn", "alive"), answers_xmlrpc, answers_on_irc),
        peer=IRC,
    ),
    Tac(
        FINGER + "fingerproxy.tac",
        (7779,),
        asks_its_finger_server,
        peer=("nc", "-N", "-l", "127.0.0.1", "79"),
        error="TypeError: sequence item 0: expected str instance, bytes found",
    ),
    # The module that these two import never reads the statuses, so that its answers are errors of its own.
    Tac(
        FINGER + "organized-finger.tac",
        (79, 8000, 443, 8889),
        both(comes_to_irc, web("https://127.0.0.1/moshez", "Processing Failed")),
        peer=IRC,
        path="finger",
        error="AttributeError: 'FingerService' object has no attribute 'users'",
    ),
    Tac(FINGER + "simple-finger.tac", (1079, 8000, 8889), comes_to_irc, peer=IRC, path="finger"),
    Tac("mail/examples/emailserver.tac", (2500,), smtp(2500, "550 Cannot receive for specified address", 24)),
    Tac(SERVER + "smtpserver-1.tac", (), nothing),
    Tac(
        SERVER + "smtpserver-2.tac",
        (2025,),
        smtp(2025, "Remote host closed connection unexpectedly", 6),
        error=NO_PROTOCOL,
    ),
    Tac(
        SERVER + "smtpserver-3.tac",
        (2025,),
        types(lambda box: box.start("nc", "-v", "127.0.0.1", "2025"), ("succeeded", "QUIT\r\n")),
    ),
    Tac(SERVER + "smtpserver-4.tac", (2025,), smtp(2025, "Sender not acceptable", 23)),
    # What follows DATA they take for text, which it no longer is.
    *(
        Tac(
            SERVER + f"smtpserver-{number}.tac",
            (2025,),
            smtp(2025, "Recipient address accepted", 0, "--quit-after=RCPT"),
        )
        for number in (5, 6, 7, 8)
    ),
    Tac(CLIENT + "smtpclient-1.tac", (), nothing),
    Tac(CLIENT + "smtpclient-3.tac", (), connects_and_leaves, peer=SMTP, error=NO_PROTOCOL),
    Tac(CLIENT + "smtpclient-4.tac", (), connects(), peer=SMTP),
    Tac(
        CLIENT + "smtpclient-5.tac",
        (),
        connects_and_leaves,
        peer=SMTP,
        error="TypeError: ESMTPClient.__init__() missing",
    ),
    Tac(CLIENT + "smtpclient-6.tac", (), connects(("220 here\r\n", "EHLO example.com\r\n")), peer=SMTP),
    Tac(
        CONCH + "demo.tac",
        (6022, 6023),
        both(
            types(telnet, ("Username: ", "guest\n"), ("Password: ", "password\n"), (">>> ", "foo\n"), ("'bar'", "")),
            types(ssh_as_guest, (">>> ", "foo\r"), ("'bar'", "")),
        ),
    ),
    Tac(
        CONCH + "demo_draw.tac",
        (6022, 6023),
        both(types(telnet, ("\x1b", "\x1b[C\n"), ("!", "")), types(ssh, ("\x1b", "\x1b[C"), ("!", ""))),
    ),
    Tac(CONCH + "demo_insults.tac", (6022, 6023), types(telnet, (r"\. \.", ""), (r"\. \.", ""))),
    Tac(
        CONCH + "demo_manhole.tac",
        (6022, 6023),
        both(types(telnet, (">>> ", "6 * 7\n"), ("42", "")), types(ssh, (">>> ", "6 * 7\r"), ("42", ""))),
    ),
    Tac(
        CONCH + "demo_recvline.tac",
        (6022, 6023),
        both(types(telnet, (">>> ", "ho\n"), ("ho\r.*ho\r", "")), types(ssh, (">>> ", "ho\r"), ("ho\r.*ho\r", ""))),
    ),
    Tac(CONCH + "demo_scroll.tac", (6022, 6023), both(types(telnet, ("> ", "")), types(ssh, ("> ", "")))),
    Tac(CONCH + "telnet_echo.tac", (6023,), types(telnet, ("Escape", "hello\n"), ("I received hello", ""))),
    Tac(CONCH + "window.tac", (6022, 6023), both(types(telnet, ("very long", "")), types(ssh, ("very long", "")))),
]

_PATH_SEGMENT = "Failed to load application: Path segment must be bytes, but 'RPC2' is <class 'str'>"
_STRING_IO = "Failed to load application: No module named 'StringIO'"

#: Those that do not run under twistd, each with the reason as it says it.
BROKEN = {
    **{FINGER + f"finger{number}.tac": _PATH_SEGMENT for number in ("17", "18", "19", "19a", "19b", "19c", "21")},
    **{CLIENT + f"smtpclient-{number}.tac": _STRING_IO for number in (7, 8, 9, 10, 11)},
    CLIENT + "smtpclient-2.tac": "AttributeError: 'NoneType' object has no attribute 'split'",
}
