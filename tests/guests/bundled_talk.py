"""``manhole``, ``conch``, ``mail``, ``words`` and ``xmpp-router``."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guests.bundled import Rig, Steps, bundled

#: What an OpenSSH client is told about a server that nobody has met before.
TRUSTING = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")

# manhole --------------------------------------------------------------------------------------------------------------


def prove_manhole(rig: Rig, *words: str) -> None:
    """Compute something inside the server."""
    with rig.talk(*words) as talk:
        if words[0] == "telnet":
            talk.hear("Username: ")
            talk.say("alice\n")
            talk.hear("Password: ")
            talk.say("rabbit\n")
        talk.hear(">>> ")
        # What ends a line for telnet, and for ssh.
        talk.say("import twisted; print(twisted.__name__.upper(), 6 * 7)\r")
        talk.hear("TWISTED 42")
        if words[0] != "telnet":
            talk.say("\x04")  # ssh's own end of input is an error there
            talk.hear("\x1bc")


@bundled("manhole")
def telnet(rig: Rig) -> Steps:
    """Python inside the server, by telnet."""
    passwords = rig.write("passwords", "alice:rabbit\n")
    yield ["--telnetPort", "tcp:6023:interface=127.0.0.1", "--passwd", passwords]
    prove_manhole(rig, "telnet", "127.0.0.1", "6023")


@bundled("manhole")
def ssh(rig: Rig) -> Steps:
    """The same by ssh, with a key that it makes."""
    passwords = rig.write("passwords", "alice:rabbit\n")
    keys = ["--sshKeyDir", str(rig.data / "keys"), "--sshKeySize", "2048"]
    yield ["--sshPort", "tcp:6022", *keys, "--passwd", passwords]
    rig.expected.append("Got remote error, code 11")  # a client that leaves
    prove_manhole(rig, "sshpass", "-prabbit", "ssh", "-tt", *TRUSTING, "-p", "6022", "alice@127.0.0.1")
    assert (rig.data / "keys" / "server.key").exists()


# conch ----------------------------------------------------------------------------------------------------------------


def people(rig: Rig) -> None:
    """Let the host see a person named alice, with a home, a password and a key."""
    home = rig.data / "home" / "alice"
    (home / ".ssh").mkdir(parents=True)
    accounts = Path("/etc/passwd").read_text() + "alice:x:4711:4711:Alice:/home/alice:/bin/sh\n"
    rig.mounts[Path(rig.write("passwd", accounts))] = "/etc/passwd"
    scramble = ("openssl", "passwd", "-6", "-salt", "plait", "rabbit")
    word = subprocess.run(scramble, check=True, capture_output=True, text=True).stdout.strip()
    shadow = Path("/etc/shadow").read_text() + f"alice:{word}:19000:0:99999:7:::\n"
    rig.mounts[Path(rig.write("shadow", shadow, 0o600))] = "/etc/shadow"
    rig.mounts[rig.data / "home"] = "/home"
    for name, kind in (("host/ssh_host_ed25519_key", "ed25519"), ("mine", "ed25519")):
        (rig.data / name).parent.mkdir(exist_ok=True)
        subprocess.run(("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(rig.data / name)), check=True)
    (home / ".ssh" / "authorized_keys").write_text((rig.data / "mine.pub").read_text())


def need_crypt() -> None:
    """Skip, loudly, where Python has no ``crypt``: Twisted lets nobody in by the password of an account there."""
    if importlib.util.find_spec("crypt") is None:
        pytest.skip("NOT RUN: needs the module crypt, which Python has no more since 3.13: Twisted knows no other way")


def prove_shell(rig: Rig, *how: str) -> None:
    """Run a command as alice; *how* is how ssh is called."""
    rig.expected.append("Got remote error, code 11")  # a client that leaves
    assert rig.client(*how, "alice@127.0.0.1", "echo $HOME; exit 7", code=7) == "/home/alice\n"


@bundled("conch")
def key(rig: Rig) -> Steps:
    """At port 22, for the owners of keys."""
    people(rig)
    yield ["--data", str(rig.data / "host"), "--auth", "sshkey"]
    ssh = ("ssh", *TRUSTING, "-i", str(rig.data / "mine"))
    prove_shell(rig, *ssh)
    # A shell on a terminal is there until the end.
    with rig.talk(*ssh, "-tt", "alice@127.0.0.1") as talk:
        talk.say("echo $((6 * 7)) at $(tty)\n")
        talk.hear("42 at /dev/pts/")
        yield []
        talk.hear("closed by remote host")


@bundled("conch")
def password(rig: Rig) -> Steps:
    """Without --auth: for whoever has an account."""
    need_crypt()
    people(rig)
    yield ["--data", str(rig.data / "host"), "--port", "tcp:2222"]
    prove_shell(rig, "sshpass", "-prabbit", "ssh", *TRUSTING, "-p", "2222")


# mail -----------------------------------------------------------------------------------------------------------------


@bundled("mail")
def smtp_pop3(rig: Rig) -> Steps:
    """Who is known may begin a letter; a box can be asked for.  More does not run under twistd either: see NOT_HERE."""
    passwords = rig.write("passwords", "eve:hare\n")
    auth = ["--esmtp", "--hostname", "mail.example.com", "--auth", f"file:{passwords}", "--disable-anonymous"]
    yield [*auth, "--maildirdbmdomain", f"example.com={rig.data}/mail", "--smtp", "tcp:25", "--pop3", "tcp:110"]
    who = ("--from", "eve@example.org", "--auth", "CRAM-MD5", "--auth-user", "eve", "--auth-password")
    letter = ("swaks", "--server", "127.0.0.1", "--to", "joe@example.com")
    shown = rig.client(*letter, *who, "hare", code=24)
    assert "220 mail.example.com" in shown
    assert "235 Authentication successful" in shown
    assert "550 Cannot receive for specified address" in shown
    assert "535 Authentication failed" in rig.client(*letter, *who, "rabbit", code=28)
    pop3 = ("curl", "--silent", "--show-error", "pop3://127.0.0.1/")
    assert "UIDL" in rig.client(*pop3, "-X", "CAPA")
    rig.client(*pop3, "-u", "joe@example.com:rabbit", code=67)


@bundled("mail")
def smtp(rig: Rig) -> Steps:
    """Without a word: the older dialect, for everybody, at ports of its own."""
    yield []
    shown = rig.client("swaks", "--server", "127.0.0.1", "--port", "8025", "--to", "joe@example.com", code=24)
    assert "250 Sender address accepted" in shown
    assert "UIDL" in rig.client("curl", "--silent", "pop3://127.0.0.1:8110/", "-X", "CAPA")


# words ----------------------------------------------------------------------------------------------------------------


@bundled("words")
def irc(rig: Rig) -> Steps:
    """One says a word to another.  There are no channels: --group fails under twistd too."""
    people = ["--auth", "memory:alice:rabbit:bob:hare"]
    yield ["--irc-port", "tcp:6667", "--hostname", "irc.example.net", *people]
    sic = ("sic", "-h", "127.0.0.1", "-p", "6667")
    with rig.talk(*sic, "-n", "alice", "-k", "rabbit") as alice, rig.talk(*sic, "-n", "bob", "-k", "hare") as bob:
        for one in (alice, bob):
            one.hear("irc.example.net")
        alice.say(":m bob open at nine\n")
        bob.hear("<alice> open at nine")


PERSPECTIVE = """\
import sys

from twisted.cred.credentials import UsernamePassword
from twisted.internet import defer, endpoints, task
from twisted.spread import pb
from twisted.words import iwords, service
from zope.interface import implementer


@implementer(iwords.IChatClient)
class Client(pb.Referenceable):
    name = "alice"


async def main(reactor):
    factory = pb.PBClientFactory()
    endpoints.clientFromString(reactor, "tcp:127.0.0.1:8787").connect(factory)
    avatar = await factory.login(UsernamePassword(b"alice", b"rabbit"), Client())
    print(type(avatar).__name__)
    factory.disconnect()


task.react(lambda reactor: defer.ensureDeferred(main(reactor)))
"""


@bundled("words")
def perspective(rig: Rig) -> Steps:
    """The same service for clients of Twisted."""
    yield ["--pb-port", "tcp:8787", "--auth", "file:" + rig.write("passwords", "alice:rabbit\n")]
    assert rig.client(sys.executable, rig.write("client.py", PERSPECTIVE)) == "AvatarReference\n"


# xmpp-router ----------------------------------------------------------------------------------------------------------

COMPONENT = """\
import asyncio
import sys

from slixmpp import ComponentXMPP


async def component(name):
    here = ComponentXMPP(name, "secret", "127.0.0.1", 5347)
    heard = asyncio.get_running_loop().create_future()
    here.add_event_handler("message", heard.set_result)
    here.connect()
    await here.wait_until("session_start", 10)
    return here, heard


async def main():
    one, _ = await component("one.example.net")
    two, heard = await component("two.example.net")
    one.send_message(mto="you@two.example.net", mfrom="me@one.example.net", mbody="the words")
    print((await asyncio.wait_for(heard, 10))["body"])
    await one.disconnect()
    await two.disconnect()


asyncio.run(main())
"""


@bundled("xmpp-router")
def components(rig: Rig) -> Steps:
    """A message from one component to another."""
    yield ["--secret", "secret", "-v"]
    assert rig.client(sys.executable, rig.write("component.py", COMPONENT)) == "the words\n"
