"""
"tcp:8080" to Endpoint to open sockets.

This module has the values; `plait.grammar` reads their texts, `plait.sockets` opens them, `plait.certificates` does the
TLS, and `plait.inspection` says what can be known without opening anything.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING, Literal

from plait.errors import EndpointError
from plait.grammar import parse, quote
from plait.parameters import Fault, check_path
from plait.values import Value, value

if TYPE_CHECKING:
    from plait.errors import PlaitError
    from plait.tls import Tls

__all__ = ["Endpoint", "Kind", "quote"]

Kind = Literal["tcp", "tcp6", "unix", "udp", "udp6", "unixgram", "systemd", "fd"]

KINDS = ("tcp", "tcp6", "unix", "udp", "udp6", "unixgram", "systemd", "fd")
DATAGRAMS = ("udp", "udp6", "unixgram")
# The TLS keywords of a listening and of a connecting endpoint, in the order in which they are written.
LISTENING_TLS = {
    "certificate": "certKey",
    "private_key": "privateKey",
    "chain": "extraCertChain",
    "dh_parameters": "dhParameters",
    "directory": "certDir",
    "authorities": "trustRoots",
}
CONNECTING_TLS = {
    "hostname": "hostname",
    "certificate": "certificate",
    "private_key": "privateKey",
    "authorities": "trustRoots",
}


@value
class Endpoint(Value):
    """
    Where a service listens or connects, as a value.

    Make one of a text with `listening` or `connecting`; ``str()`` gives the text back, in its shortest form.  A field
    that the kind does not use keeps its default.

    *host* is the interface to listen on (empty: every IPv4 address, as in twistd; ``::``: every address of IPv6 and
    IPv4) or the host to connect to.  *path* begins with ``@`` for an abstract socket.  *mode* is that of the file of a
    unix socket.  *timeout* is the time to connect, in seconds.  *index* is the position among the sockets that systemd
    passed, or the number of a descriptor.

    *backlog* is how many connections may wait to be accepted.  Twisted's 50 is a trap: a burst of clients, or a service
    that starts again, fills it at once, the kernel drops what comes next, and those clients wait a second to try again.
    The kernel cuts the number to ``net.core.somaxconn`` by itself.

    *reuse_port* lets several processes bind the same port.  Connections that wait at a socket that is closed are lost
    then, so prefer to share one socket.
    """

    kind: Kind
    host: str = ""
    port: int = 0
    path: str = ""
    mode: int = 0o666
    backlog: int = 1024
    reuse_port: bool = False
    name: str = ""
    index: int = -1
    domain: str = ""
    timeout: float = 30.0
    bind_address: str = ""
    tls: Tls | None = None
    connects: bool = False

    @classmethod
    def listening(cls, text: str | Endpoint) -> Endpoint:
        """
        Return the endpoint to listen on that *text* spells, such as ``tcp:8080:interface=127.0.0.1``.

        ``8080``, ``:8080``, ``127.0.0.1:8080`` and ``[::1]:8080`` are understood too.  Nothing is opened or read.
        Raises `EndpointError`.
        """
        return cls._read(text, connects=False)

    @classmethod
    def connecting(cls, text: str | Endpoint) -> Endpoint:
        """
        Return the endpoint to connect to that *text* spells, such as ``tcp:broker:1883`` or ``broker:1883``.

        TLS verifies the other end's name, also in the form ``ssl:``, where Twisted did not.  Raises `EndpointError`.
        """
        return cls._read(text, connects=True)

    @classmethod
    def _read(cls, text: str | Endpoint, connects: bool) -> Endpoint:
        if isinstance(text, Endpoint):
            return text if text.connects is connects else replace(text, connects=connects)
        try:
            values = parse(text, connects)
            tls = values.pop("tls", None)
            if tls is not None:
                from plait.tls import Tls

                tls = Tls(**tls)
            return cls(**values, tls=tls, connects=connects)
        except Fault as fault:
            raise refuse(text, fault) from None
        except EndpointError as error:
            # The value itself refused: say it about what was typed.
            raise refuse(text, error.__cause__) from None

    def __post_init__(self) -> None:
        # One value for one place: an IPv6 address is "tcp6" however it was written, and no host is its "::".
        if self.kind in ("tcp", "udp") and ":" in self.host:
            object.__setattr__(self, "kind", f"{self.kind}6")
        if self.kind in ("tcp6", "udp6") and not self.host and not self.connects:
            object.__setattr__(self, "host", "::")
        if self.tls is not None and self.tls.hostname == self.host and self.host:
            object.__setattr__(self, "tls", replace(self.tls, hostname=""))
        try:
            self._check()
        except Fault as fault:
            raise refuse(str(self), fault) from fault

    def _check(self) -> None:
        if self.kind not in KINDS:
            raise Fault(f'there is no kind "{self.kind}": write one of {", ".join(KINDS)}')
        if not 0 <= self.port <= 65535:
            raise Fault(f"port {self.port} is out of range: write one from 0 to 65535")
        if self.kind in ("unix", "unixgram"):
            check_path("path", self.path)
        if self.tls is not None and self.is_datagram:
            raise Fault("datagrams cannot carry TLS: use tcp or unix")
        if self.connects:
            self._check_connecting()
        elif self.tls is not None and bool(self.tls.certificate) is bool(self.tls.directory):
            raise Fault("TLS wants a certificate: write certKey= and privateKey=, or certDir= alone")

    def _check_connecting(self) -> None:
        if self.kind in ("systemd", "fd"):
            raise Fault(f"{self.kind} is only for listening: write such as tcp:localhost:8080")
        if self.kind not in ("unix", "unixgram"):
            if not self.host:
                raise Fault("the host is missing: write such as tcp:localhost:8080")
            if not self.port:
                raise Fault("port 0 is for listening on any free one: write the port to connect to")
        elif self.tls is not None and not self.tls.hostname:
            raise Fault("TLS wants to know whom to expect there: write tls:HOST:PORT:endpoint=unix\\:/path")

    @property
    def is_datagram(self) -> bool:
        """Whether it speaks datagrams: ``udp``, ``udp6`` and ``unixgram``."""
        return self.kind in DATAGRAMS

    def problems(self) -> list[PlaitError]:
        """
        Return what would keep it from being opened, as far as that can be known without opening or writing anything.

        Each is the error that opening it, or reading its certificates, would raise.  Whether another program has the
        port cannot be known so, nor what was passed to a process that does not run yet.
        """
        from plait.inspection import inspect_endpoint

        return inspect_endpoint(self)

    def __repr__(self) -> str:
        return f"Endpoint.{'connecting' if self.connects else 'listening'}({str(self)!r})"

    def __str__(self) -> str:
        return self._connecting_text() if self.connects else self._listening_text()

    def _listening_text(self) -> str:
        words: list[str] = [self.kind]
        if self.kind == "tcp" and self.tls is not None and self.tls.certificate:
            words = ["ssl"]
        if self.kind in ("tcp", "tcp6", "udp", "udp6"):
            words.append(str(self.port))
            if self.host != ("::" if self.kind.endswith("6") else ""):
                words.append("interface=" + quote(self.host))
        elif self.kind in ("unix", "unixgram"):
            words.append(quote_path(self.path))
            words += self._changed(mode=format(self.mode, "o"))
        elif self.kind == "fd":
            words.append(str(self.index))
        else:
            words += self._changed(domain=self.domain, name=self.name, index=str(self.index))
        words += self._changed(backlog=str(self.backlog), reuse_port="1")
        return ":".join([*words, *spell(self.tls, LISTENING_TLS)])

    def _connecting_text(self) -> str:
        words: list[str] = [self.kind]
        if self.kind in ("unix", "unixgram"):
            words.append(quote_path(self.path))
        else:
            words += [quote(self.host), str(self.port)]
        words += self._changed(timeout=repr(self.timeout).removesuffix(".0"), bind_address=self.bind_address)
        if self.tls is None:
            return ":".join(words)
        tls = spell(self.tls, CONNECTING_TLS) + ([] if self.tls.verify else ["verify=0"])
        if self.kind == "tcp" or (self.kind == "tcp6" and ":" in self.host):
            return ":".join(["tls", *words[1:], *tls])
        name = self.tls.hostname or self.host
        tls = [word for word in tls if not word.startswith("hostname=")]
        return ":".join(["tls", quote(name), str(self.port or 443), "endpoint=" + quote(":".join(words)), *tls])

    def _changed(self, **texts: str) -> list[str]:
        """Return those of *texts*, by field, whose field is not at its default, each with its keyword."""
        keywords = {"reuse_port": "reuseport", "bind_address": "bindAddress"}
        return [
            f"{keywords.get(item.name, item.name)}={quote(texts[item.name])}"
            for item in fields(self)
            if item.name in texts and getattr(self, item.name) != item.default
        ]


def spell(tls: Tls | None, keywords: dict[str, str]) -> list[str]:
    """Return the fields of *tls* that are set, with their *keywords*."""
    if tls is None:
        return []
    return [f"{word}={quote(getattr(tls, field))}" for field, word in keywords.items() if getattr(tls, field)]


def quote_path(path: str) -> str:
    """Return *path* escaped, and so that the text does not look like a URL when it begins with two slashes."""
    return ("\\" if path.startswith("//") else "") + quote(path)


def refuse(text: object, fault: object) -> EndpointError:
    """Return the error about what was written as *text*."""
    message = f'endpoint "{text}": {fault}' if isinstance(text, str) else f"endpoint {text!r}: {fault}"
    # One printable line, whatever was typed.
    return EndpointError("".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in message))
