"""
TLS contexts, and certificates that are read again when they change.

New files are first read into a context of their own, and only a whole pair replaces the former one: a file that is
half written harms nobody.  Connections that are open keep what they began with.
"""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING

from plait.errors import EndpointError

if TYPE_CHECKING:
    from plait.certificate_directory import Directory
    from plait.tls import Tls

#: What tells one state of a file from another: when it was written, its size, and which file it is.
Sign = tuple[int, int, int, int] | None


class Certificates:
    """
    The TLS context of a listening endpoint; its files are read again when they change, for new connections.

    *context* is one object for life, to be given to whatever accepts connections.  It holds no certificate itself: it
    chooses at each handshake, by the name that the client asks for.  So nothing of a former certificate stays behind,
    as it would when a second one, of another type of key, is loaded into the same context.  Settings made on *context*
    by others (such as ALPN) do not reach the handshake.

    Raises `EndpointError` when the files cannot be used.
    """

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._directory: Directory | None = None
        self._seen: dict[str, Sign] = {}
        complaint = self._load()
        if complaint:
            raise EndpointError(complaint)
        self.context = make_listening_context(tls)
        self.context.sni_callback = self._choose

    def refresh(self) -> str | None:
        """
        Read the files again if they changed; call it at each new connection.

        It costs one ``stat`` a file when nothing changed.  When the new files cannot be used the former certificate
        stays, and a sentence about it is returned, once for each change.
        """
        if all(look(path) == sign for path, sign in self._seen.items()):
            return None
        try:
            complaint = self._load()
        except EndpointError as error:
            complaint = str(error)
        return f"{complaint} (the former certificate stays in use)" if complaint else None

    def _load(self) -> str:
        """Take the files as they are now, and return what is wrong with some of them; raises `EndpointError`."""
        tls = self._tls
        # Looked at before they are read: what changes in between is seen at the next refresh.
        self._seen = {path: look(path) for path in watched(tls)}
        if not tls.directory:
            context = make_listening_context(tls)
            load_pair(context, tls.certificate, tls.private_key or tls.certificate, tls.chain)
            self._chosen = context
            return ""
        from plait.certificate_directory import Directory

        directory = Directory(tls, self._directory)
        self._seen.update(directory.seen)
        if not directory.pairs:
            raise EndpointError(directory.complaint)
        self._directory = directory
        return directory.complaint

    def _choose(self, connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
        chosen = self._chosen if self._directory is None else self._directory.find(name)
        if chosen is None:
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = chosen
        return None


#: One for each description, for the whole process: what was read before privileges were dropped is used after it.
_loaded: dict[Tls, Certificates] = {}


def certificates_of(tls: Tls) -> Certificates:
    """Return the certificates that *tls* describes, read at the first call; raises `EndpointError` as they do."""
    if tls not in _loaded:
        _loaded[tls] = Certificates(tls)
    return _loaded[tls]


def connecting_context(tls: Tls) -> ssl.SSLContext:
    """
    Return the context to connect with, as *tls* wants it; raises `EndpointError`.

    Call it for each connection: the same context comes back until one of the files changes.
    """
    return make_connecting_context(tls, tuple(look(path) for path in watched(tls)))


# Reading the authorities of the system takes 10 ms or more, too long for each attempt of a thousand connections.
@functools.lru_cache(maxsize=32)
def make_connecting_context(tls: Tls, _signs: tuple[Sign, ...]) -> ssl.SSLContext:
    """Return a new context to connect with, for files in the state of *_signs*."""
    if tls.authorities:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        load_authorities(context, tls.authorities)
    else:
        context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.certificate:
        load_pair(context, tls.certificate, tls.private_key or tls.certificate, "")
    return context


def make_listening_context(tls: Tls) -> ssl.SSLContext:
    """Return a context to listen with, without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # A client that renegotiates costs us far more than itself, and nobody needs it.
    context.options |= ssl.OP_NO_RENEGOTIATION
    if tls.authorities:
        context.verify_mode = ssl.CERT_REQUIRED
        load_authorities(context, tls.authorities)
    if tls.dh_parameters:
        read(tls.dh_parameters, "the Diffie-Hellman parameters")
        try:
            context.load_dh_params(tls.dh_parameters)
        except ssl.SSLError as error:
            msg = f"{tls.dh_parameters}: has no Diffie-Hellman parameters in it: leave dhParameters= out"
            raise EndpointError(msg) from error
    return context


def load_pair(context: ssl.SSLContext, certificate: str, key: str, chain: str) -> None:
    """Load a certificate, its private key and a further *chain* into *context*; raises `EndpointError`."""
    text = read(certificate, "the certificate")
    if b"CERTIFICATE-----" not in text:
        raise EndpointError(f"{certificate}: has no certificate in it: give a PEM file that has one")
    if b"PRIVATE KEY-----" not in (text if key == certificate else read(key, "the private key")):
        raise EndpointError(f"{key}: has no private key in it: give the PEM file that has it")

    def ask() -> str:
        # Without this OpenSSL asks on the terminal, and waits.
        msg = f"{key}: is locked with a passphrase, and a daemon can ask nobody: take it off with openssl pkey"
        raise EndpointError(msg)

    try:
        if chain:
            further = read(chain, "the chain")
            # Python loads a chain from the file of the certificate only: give it one that exists in memory.
            with open(os.memfd_create("chain"), "wb") as together:
                together.write(b"\n".join(certificates_in(text) + certificates_in(further)))
                together.flush()
                context.load_cert_chain(f"/proc/self/fd/{together.fileno()}", key, ask)
        else:
            context.load_cert_chain(certificate, key, ask)
    except ssl.SSLError as error:
        raise EndpointError(explain_pair(error, certificate, key)) from error


def explain_pair(error: ssl.SSLError, certificate: str, key: str) -> str:
    """Say what is wrong with the files of a pair that OpenSSL refused."""
    if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
        return f"{key}: does not belong to {certificate}: give the private key that the certificate was made for"
    if error.reason not in (None, "PEM lib", "PEM_LIB", "NOT_ENOUGH_DATA"):
        reason = error.reason.replace("_", " ").lower()
        return f"{certificate}: cannot be used ({reason}): make a new certificate and key"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(certificate)
    except ssl.SSLError:
        return f"{certificate}: the certificate is damaged: write the file again"
    return f"{key}: the private key is damaged: write the file again"


def certificates_in(text: bytes) -> list[bytes]:
    """Return the certificates of a PEM *text*, each in its lines."""
    end = b"-----END CERTIFICATE-----"
    parts = text.split(end)[:-1]
    return [part[part.index(begin) :] + end for begin in [b"-----BEGIN CERTIFICATE-----"] for part in parts]


def load_authorities(context: ssl.SSLContext, path: str) -> None:
    """Let *context* trust the authorities in the file or directory *path*; raises `EndpointError`."""
    files = list(authority_files(path))
    if not files:
        raise EndpointError(f"{path}: has no .pem file in it: put the certificates of those to trust there")
    for file in files:
        read(file, "the authority")
        try:
            context.load_verify_locations(file)
        except ssl.SSLError as error:
            raise EndpointError(
                f"{file}: has no certificate of an authority in it: give a PEM file that has"
            ) from error


def authority_files(path: str) -> Iterable[str]:
    """Return the files of the authorities at *path*: itself, or the ``.pem`` files in it."""
    if not os.path.isdir(path):
        return [path]
    try:
        names = sorted(os.listdir(path))
    except OSError as error:
        raise EndpointError(complain(path, "the authorities", error)) from error
    return [os.path.join(path, name) for name in names if name.endswith(".pem")]


def watched(tls: Tls) -> list[str]:
    """Return the paths of *tls* whose change means that all is read again."""
    paths = [tls.certificate, tls.private_key, tls.chain, tls.dh_parameters, tls.authorities]
    if tls.authorities:
        try:
            paths.extend(authority_files(tls.authorities))
        except EndpointError:
            pass  # who loads them says it
    return [path for path in paths if path]


def look(path: str) -> Sign:
    """Return the present sign of the file at *path*, or None when there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev


def read(path: str, what: str) -> bytes:
    """Return what is in the file at *path*, *what* in words; raises `EndpointError`."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise EndpointError(complain(path, what, error)) from error


def complain(path: str, what: str, error: OSError) -> str:
    """Return the sentence about a file that cannot be read."""
    return f"{path}: {what} cannot be read ({error.strerror}): check the path, and that this user may read it"
