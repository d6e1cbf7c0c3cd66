"""What of Twisted's plugins does not work under twistd 26.10 on Python 3, as their clients see it, and why."""

from __future__ import annotations

import poplib

import pytest

from tests.guests.bundled import Rig, Steps, failing
from tests.guests.bundled_net import page
from tests.guests.network import connect
from tests.system.daemon import PATIENCE


@failing("ftp")
def password_file(rig: Rig) -> Steps:
    """Nobody of the file comes in: it is read as bytes, and the name of the user is a text."""
    rig.expected.append("opt_password_file was deprecated")
    yield ["--password-file", rig.write("passwords", "alice:rabbit\n"), "--root", str(rig.data)]
    rig.client("curl", "--silent", "-u", "alice:rabbit", "ftp://127.0.0.1:2121/", code=67)


@failing("ftp")
def auth_file(rig: Rig) -> Steps:
    """So it is with the checker for files."""
    yield ["--auth", "file:" + rig.write("passwords", "alice:rabbit\n"), "--root", str(rig.data)]
    rig.client("curl", "--silent", "-u", "alice:rabbit", "ftp://127.0.0.1:2121/", code=67)


@failing("socks")
def log(rig: Rig) -> Steps:
    """With a log of connections the first byte is too many: ``string.join`` is gone."""
    rig.expected += ["#critical", "Traceback"]
    yield ["--log", str(rig.data / "connections")]
    with page(8000):
        rig.client("curl", "--silent", "--proxy", "socks4://127.0.0.1:1080", "http://127.0.0.1:8000/", code=52)
    assert "module 'string' has no attribute 'join'" in rig.log


@failing("mail")
def mailbox(rig: Rig) -> Steps:
    """A domain is kept as a text and looked for as bytes: its users get no letters, and cannot ask for them."""
    rig.write("mail/passwd/am9l_", "rabbit")  # joe in base64, as --user would write it
    yield ["--maildirdbmdomain", f"example.com={rig.data}/mail"]
    sent = rig.client("swaks", "--server", "127.0.0.1", "--port", "8025", "--to", "joe@example.com", code=24)
    assert "550 Cannot receive for specified address" in sent
    box = poplib.POP3("127.0.0.1", 8110, timeout=PATIENCE)
    try:
        box.user("joe@example.com")
        with pytest.raises(poplib.error_proto, match="Authentication failed"):
            box.pass_("rabbit")
    finally:
        box.close()


@failing("mail")
def relay(rig: Rig) -> Steps:
    """No letter is passed on: the length of a ``filter`` is asked for."""
    rig.expected += ["Unhandled Error", "#error", "#critical", "Traceback"]
    yield ["--relay", str(rig.data / "queue"), "--hostname", "relay.example.org"]
    rig.client("swaks", "--server", "127.0.0.1", "--port", "8025", "--to", "joe@example.com", code=24)
    assert "object of type 'filter' has no len()" in rig.log


@failing("inetd")
def daytime(rig: Rig) -> Steps:
    """What time it is, nobody hears: a text and bytes are added."""
    rig.expected += ["Unhandled Error", "#critical", "Traceback"]
    rig.spared.add(13)
    yield ["--file", rig.write("inetd.conf", "daytime stream tcp nowait root internal\n")]
    with connect(("127.0.0.1", 13)) as client:
        client.settimeout(0.5)
        try:
            heard = client.recv(100)
        except (TimeoutError, ConnectionResetError):
            heard = b""
    assert heard == b""
    assert 'can only concatenate str (not "bytes") to str' in rig.log
