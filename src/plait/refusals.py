"""
Why an endpoint cannot be read or opened, and what to do instead.

Nothing here decides what is right: `plait.grammar` and `plait.sockets` come here when they give up, for the sentence.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plait.endpoints import Endpoint

INSTEAD = {
    "stdio": "a daemon has no standard input: use unix:/path, and socat or nc -U to talk to it",
    "haproxy": "the PROXY protocol is not read: turn it off at the proxy, and let it pass the address in a header",
}


def explain_kind(text: str, word: str, forms: Iterable[str], others: Iterable[str]) -> str:
    """Say what to write instead of *text*, whose first *word* is none of the *forms*, perhaps one of the *others*."""
    if word.lower() in INSTEAD:
        return f"{word.lower()} is not offered: {INSTEAD[word.lower()]}"
    if word.lower() in others:
        return f"{word.lower()} is only for listening: write one of {', '.join(forms)}"
    if word.startswith(("/", "@", "./")):
        return f"is a path without a kind: write unix:{text}"
    if not word and text.count(":") > 1:
        return "begins with a colon: write an IPv6 address in brackets, such as [::1]:8080"
    near = nearest(word, forms)
    meant = f"{near}{text.removeprefix(word)}" if near else f"one of {', '.join(forms)}"
    return f'there is no kind "{word}": write {meant}'


def explain_keyword(form: str, name: str, names: Iterable[str]) -> str:
    """Say what to write instead of the keyword *name*, which the *form* does not take; it takes these *names*."""
    near = nearest(name, names)
    meant = f"{near}=" if near else f'one of {", ".join(names)}, or a "=" that belongs to a value as "\\="'
    return f'{form} takes no "{name}": write {meant}'


def nearest(word: str, known: Iterable[str]) -> str:
    """Return what *word* was probably meant to be, or an empty string."""
    import difflib

    lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), lower, 1)
    return lower[found[0]] if found else ""


def explain_bind(endpoint: Endpoint, error: OSError, opened: Sequence[Endpoint]) -> str:
    """Return the sentence about *endpoint*, which could not be opened beside those already *opened* here."""
    reason = error.strerror or str(error)
    advise = advise_path if endpoint.kind in ("unix", "unixgram") else advise_port
    advice = advise(endpoint, error)
    if error.errno == errno.EADDRINUSE:
        advice = advise_sharing(endpoint, opened) or advice
    elif error.errno in (errno.EMFILE, errno.ENFILE):
        advice = "raise the limit of open files (ulimit -n, LimitNOFILE=)"
    return f"{endpoint}: cannot be opened ({reason}): {advice}"


def advise_port(endpoint: Endpoint, error: OSError) -> str:
    """Say what to do about a port."""
    import socket

    if isinstance(error, socket.gaierror):
        return f'write an address of this machine instead of "{endpoint.host}", or a name that stands for one'
    if error.errno == errno.EADDRINUSE:
        return "stop the program that has it, or choose another port"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "ports under 1024 need root or CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return "write an address that this machine has (ip address shows them), or leave interface= out"
    if error.errno == errno.EAFNOSUPPORT:
        return "this machine does not speak IPv6: write " + endpoint.kind.removesuffix("6") + ": instead"
    return "check the address and the port"


def advise_path(endpoint: Endpoint, error: OSError) -> str:
    """Say what to do about the path of a unix socket."""
    folder = os.path.dirname(os.path.abspath(endpoint.path))
    if error.errno == errno.EADDRINUSE:
        return "a running program answers there: stop it, or choose another path"
    if error.errno == errno.EEXIST:
        return "what is there is not a socket: move it away, or choose another path"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"make the directory {folder}, or choose another path"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        if os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            return "what is there belongs to another user: remove it, or choose another path"
        return f"let this user read and write the directory {folder}, or choose another path"
    if error.errno == errno.EAGAIN:
        return f"another program holds a lock on the directory {folder}: stop it, or choose another path"
    return "check the path"


def explain_loop(endpoint: Endpoint, loop: object) -> str:
    """Say that the event loop *loop* is not made for *endpoint*, whose kind it has not implemented."""
    name = type(loop).__module__.partition(".")[0]
    what = "TLS" if endpoint.tls is not None else f"connections of the kind {endpoint.kind}"
    return f"{endpoint}: the event loop {name} has no {what}: take --reactor=asyncio"


def advise_sharing(endpoint: Endpoint, opened: Sequence[Endpoint]) -> str:
    """Say which endpoint of this very process has what *endpoint* wants, or nothing."""
    for other in opened:
        if endpoint.path:
            same = os.path.abspath(other.path) == os.path.abspath(endpoint.path) if other.path else False
        else:
            # Two hosts may overlap in more ways than can be told from their texts; a common port is what to look at.
            same = bool(endpoint.port) and other.port == endpoint.port and other.is_datagram == endpoint.is_datagram
        if same:
            return f"this application has it open as {other}: write both the same way, or change one"
    return ""
