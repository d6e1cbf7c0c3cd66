"""
The values in an endpoint string: which field each sets, how it is read, when it is refused.

A reader gets the name under which a value was given, for the sentence, and its text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# SSL.TLSv1_METHOD and older are what attackers ask for; the modern names all mean "1.2 or better" here.
MODERN = ("TLS_METHOD", "TLS_SERVER_METHOD", "SSLv23_METHOD", "TLSv1_2_METHOD")


class Fault(ValueError):
    """What is wrong with an endpoint, and what to do; *where* is added by who catches it."""


def read_number(name: str, text: str, lowest: int, highest: int) -> int:
    # int() alone would also take " 1", "+1", "1_0" and the digits of other scripts.
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Fault(f'{name} "{text}" is not a number: write one from {lowest} to {highest}')
    number = int(text)
    if not lowest <= number <= highest:
        raise Fault(f"{name} {number} is out of range: write one from {lowest} to {highest}")
    return number


def read_port(name: str, text: str) -> int:
    return read_number(name, text, 0, 65535)


def read_backlog(name: str, text: str) -> int:
    return read_number(name, text, 1, 65535)


def read_index(name: str, text: str) -> int:
    return read_number(name, text, 0, 999_999)


def read_mode(name: str, text: str) -> int:
    if not text or text.strip("01234567") or int(text, 8) > 0o777:
        raise Fault(f'{name} "{text}" is not a file mode: write three octal digits, such as 660')
    return int(text, 8)


def read_switch(name: str, text: str) -> bool:
    if text.lower() not in ("0", "1", "no", "yes"):
        raise Fault(f'{name} "{text}" is neither on nor off: write {name}=1 or {name}=0')
    return text.lower() in ("1", "yes")


def read_timeout(name: str, text: str) -> float:
    try:
        seconds = float(text) if not text.strip("0123456789.e-+") else 0.0
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise Fault(f'{name} "{text}" is not a time: write seconds above 0, such as {name}=2.5')
    return seconds


def read_host(name: str, text: str) -> str:
    if not text.isprintable() or any(sign in text for sign in " /[]"):
        raise Fault(f'{name} "{text}" is not an address or a name: write it such as 127.0.0.1, \\:\\:1 or localhost')
    return text


def read_path(name: str, text: str) -> str:
    check_path(name, text)
    return text


def check_path(name: str, text: str) -> None:
    """Raise `Fault` unless *text* can be the path of a unix socket."""
    try:
        length = len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        length = 0
    if not length or text == "@" or "\0" in text:
        raise Fault(f"{name} {text!a} is not a path: write one such as unix:/run/shop.socket")
    if length > 107:
        raise Fault(f"{name} has {length} bytes and the system allows 107: choose a shorter path")


def read_file(name: str, text: str) -> str:
    if not text or "\0" in text:
        raise Fault(f"{name} {text!a} is not a path: write one such as {name}=cert.pem")
    return text


def read_word(name: str, text: str) -> str:
    if not text or not text.isprintable():
        raise Fault(f"{name} {text!a} is not a name: write {name}=NAME")
    return text


def read_domain(name: str, text: str) -> str:
    domain = text.upper().removeprefix("AF_")
    if domain not in ("", "INET", "INET6", "UNIX"):
        raise Fault(f'{name} "{text}" is unknown: write INET, INET6, UNIX, or name={text}')
    return domain


def read_method(name: str, text: str) -> None:
    if text not in MODERN:
        raise Fault(f'{name} "{text}" is not safe: leave it out, TLS 1.2 and 1.3 are spoken')


def read_as_it_is(name: str, text: str) -> str:
    return text


# From a word to the field it sets and how it is read.  Two are understood and change nothing: ``lockfile``, since a
# lock on the directory replaces Twisted's lock file, which a killed process leaves behind; ``sslmethod``, see `MODERN`.
PARAMETERS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "port": ("port", read_port),
    "host": ("host", read_host),
    "interface": ("host", read_host),
    "backlog": ("backlog", read_backlog),
    "reuseport": ("reuse_port", read_switch),
    "address": ("path", read_path),
    "path": ("path", read_path),
    "mode": ("mode", read_mode),
    "domain": ("domain", read_domain),
    "index": ("index", read_index),
    "descriptor": ("index", read_index),
    "name": ("name", read_word),
    "timeout": ("timeout", read_timeout),
    "bindAddress": ("bind_address", read_as_it_is),
    "certKey": ("certificate", read_file),
    "certificate": ("certificate", read_file),
    "privateKey": ("private_key", read_file),
    "extraCertChain": ("chain", read_file),
    "dhParameters": ("dh_parameters", read_file),
    "trustRoots": ("authorities", read_file),
    "caCertsDir": ("authorities", read_file),
    "certDir": ("directory", read_file),
    "directory": ("directory", read_file),
    "hostname": ("hostname", read_host),
    "verify": ("verify", read_switch),
    "endpoint": ("endpoint", read_as_it_is),
    "lockfile": ("ignored", read_switch),
    "sslmethod": ("ignored", read_method),
}
TLS_FIELDS = ("certificate", "private_key", "chain", "dh_parameters", "authorities", "directory", "hostname", "verify")
