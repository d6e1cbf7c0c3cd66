"""
What a ``.tac`` file finds at a step of its life, as it tells it to the log.

``note("a word", **more)`` writes what the process is like at that moment; `read` finds it again in the log.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

NOTE = """
import json
from twisted.python import log

def note(step, **more):
    mask = os.umask(0o077)
    os.umask(mask)
    try:
        with open(PIDFILE) as file:
            written = file.read().strip()
    except OSError:
        written = None
    seen = dict(folder=os.getcwd(), umask=mask, uid=os.getuid(), gid=os.getgid(), pid=os.getpid(), pidfile=written)
    log.msg("NOTED " + json.dumps(dict(seen, step=step, **more)))

PIDFILE = os.path.abspath("plaitd.pid")
"""


@dataclass(frozen=True)
class Noted:
    """What was so at one step; *more* is what the step itself said."""

    step: str
    folder: str
    umask: int
    uid: int
    gid: int
    pid: int
    pidfile: str | None
    more: dict[str, Any]


def read(log: str) -> list[Noted]:
    """Return what was noted in *log*, in its order."""
    found = []
    for text in re.findall(r"NOTED (\{.*\})$", log, re.MULTILINE):
        values = json.loads(text)
        own = {name: values.pop(name) for name in ("step", "folder", "umask", "uid", "gid", "pid", "pidfile")}
        found.append(Noted(**own, more=values))
    return found
