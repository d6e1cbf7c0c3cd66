"""Promise 55: what a credential holds reaches the application, and nobody who looks at the process from outside."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sysconfig
from pathlib import Path

import pytest

from tests.system.daemon import Daemon, Place

PLAIT = os.path.join(sysconfig.get_path("scripts"), "plait")
CANARY = "cAnArY-55-7f3a9c"
PRINT = hashlib.sha256(CANARY.encode()).hexdigest()

#: An application that uses its password in every way in which it may be shown, but for saying so itself.
APPLICATION = """
import hashlib, logging, traceback, warnings
from dataclasses import dataclass
from plait import Backoff, Group, Limit, Program, Secret, credential

@dataclass(frozen=True)
class Account:
    user: str
    password: Secret

password = credential("database-password")
account = Account("shop", password)
print("loaded with", password, account)

@service(backoff=Backoff(base=0), start_timeout=20)
async def web(context):
    mine = password
    context.log.info("logs in as %s", account, extra={"account": account, "password": mine, "nested": {"x": [mine]}})
    warnings.warn(f"weak: {mine}")
    print("printed", mine)
    context.ready()
    raise ValueError("no luck", account, mine)

async def log_in(context):
    account_here = account
    try:
        raise RuntimeError(f"refused: {account_here}")
    except RuntimeError as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
        context.log.exception("cannot log in")
        context.log.warning("with variables: %s", "".join(shown.format()))
    context.ready(password)
    tell(hashlib.sha256(password.reveal().encode()).hexdigest())
    await asyncio.Event().wait()

sleeps = "import os, signal; print('child has', sorted(os.environ)); signal.pause()"
child = Program([sys.executable, "-I", "-S", "-u", "-c", sleeps], name="child", ready_line="child has")
application = Application("shop", [
    *([] if "-u" in sys.argv else [child]),  # another user may not even be able to run Python
    Group("web", [web], limit=Limit(2)),
    service(name="login")(log_in),
], limit=Limit(50))
"""


@pytest.fixture
def place(public: Place) -> Place:
    """A folder to start plaitd in, where every user may write, with a credential aside."""
    (public.aside / "credentials").mkdir(mode=0o700)
    (public.aside / "credentials" / "database-password").write_text(CANARY + "\n")
    (public.aside / "credentials" / "database-password").chmod(0o400)
    return public


def seen_from_outside(place: Place, at_least: int) -> str:
    """Return the command lines and environments of all that came of plaitd, and every file that it wrote."""
    parts = []
    pids = place.relatives()
    assert len(pids) >= at_least
    for pid in pids:
        for name in ("cmdline", "environ", "comm"):
            parts.append(Path(f"/proc/{pid}/{name}").read_bytes())
    for root in (place.folder, place.root / "tmp"):
        parts += [path.read_bytes() for path in root.rglob("*") if path.is_file()]
    return b"\n".join(parts).decode("utf-8", "replace")


@pytest.mark.promise(55)
@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("user", ["", pytest.param("nobody", marks=pytest.mark.root)], ids=["same user", "nobody"])
def test_what_a_credential_holds_is_shown_nowhere(place: Place, form: str, user: str) -> None:
    """Not in argv, environment, log, status, tracebacks with variables, dumps of tasks; with another user as well."""
    place.write(APPLICATION)
    environment = {
        "CREDENTIALS_DIRECTORY": str(place.aside / "credentials"),
        "NOTIFY_SOCKET": str(place.aside / "notify"),
    }
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(environment["NOTIFY_SOCKET"])
        (place.aside / "notify").chmod(0o666)
        manager.settimeout(20)
        options = ["--daemon", "--log-format", form, *(["-u", user] if user else [])]
        started = place.run(*options, "-y", "shop.py", environment=environment)
        assert (started.code, started.errors) == (0, "")
        daemon = Daemon(place, place.read_pid())
        assert place.heard() == PRINT  # the application has it
        os.kill(daemon.pid, 12)  # USR2: where every task is
        outside = seen_from_outside(place, 1 if user else 2)  # its child
        ended = daemon.stop()
        told = b""
        manager.setblocking(False)
        try:
            while True:
                told += manager.recv(65536) + b"\n"
        except BlockingIOError:
            pass
    assert ended.code == 0
    shown = started.output + outside + ended.output + told.decode()
    assert b"READY=1" in told
    for expected in ("<Secret 'database-password'>", "no luck", "cannot log in", "account_here = ", "weak"):
        assert expected in shown, expected  # or there was nothing to be found
    assert user or "child has" in ended.output
    assert re.search(r"task shop/login", ended.output)
    assert CANARY not in shown


@pytest.mark.promise(55)
def test_a_check_does_not_show_it(place: Place) -> None:
    """plait check reads it as a start would, and says nothing of it; of one that is missing it says the same words."""
    place.write(APPLICATION)
    environment = {"CREDENTIALS_DIRECTORY": str(place.aside / "credentials")}
    checked = place.run("check", "-y", "shop.py", program=(PLAIT,), environment=environment)
    assert checked.code == 0
    assert "<Secret 'database-password'>" in checked.output
    assert CANARY not in checked.output + checked.errors
    (place.aside / "credentials" / "database-password").rename(place.aside / "credentials" / "database-pasword")
    sentence = (
        f"shop.py:11: credential 'database-password': is not in {place.aside}/credentials, did you mean "
        "'database-pasword'?: write LoadCredential=database-password:FILE in the unit, or put the file there\n"
    )
    checked = place.run("check", "-y", "shop.py", program=(PLAIT,), environment=environment)
    started = place.run("-y", "shop.py", environment=environment)
    assert (checked.code, checked.errors) == (78, f"plait check: {sentence}")
    assert (started.code, started.errors) == (78, f"plaitd: {sentence}")


@pytest.mark.root
def test_one_that_is_read_too_late_is_told_so(place: Place) -> None:
    """After the change of the user the file is out of reach, and that is said with what to do."""
    place.write("""
from plait import credential

@service
async def web(context):
    credential("database-password")

application = Application("shop", [web])
""")
    environment = {"CREDENTIALS_DIRECTORY": str(place.aside / "credentials")}
    ended = place.run("-u", "nobody", "-y", "shop.py", environment=environment)
    assert ended.code == 78
    path = place.aside / "credentials" / "database-password"
    assert ended.errors == (
        f"plaitd: shop/web: did not start: credential 'database-password': {path} "
        "cannot be read by uid 65534: read it while the application is loaded, or let the unit say User= instead of "
        "--uid\n"
    )
