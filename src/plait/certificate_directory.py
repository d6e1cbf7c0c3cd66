"""
A directory of certificates, each for the names that it is made for.

Every ``.pem`` file below is read.  A certificate goes with the private key in the same file, or else with the one in
the same folder that fits, so the folders that Let's Encrypt's clients write can be used as they are.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from plait.certificates import Sign, certificates_in, complain, load_pair, look, make_listening_context, read
from plait.errors import EndpointError

if TYPE_CHECKING:
    from plait.tls import Tls


class Pair:
    """A certificate of the directory that can be used: its context, the names it is for, the length of its chain."""

    def __init__(self, context: ssl.SSLContext, names: list[str], length: int) -> None:
        self.context = context
        self.names = names
        self.length = length


class Directory:
    """
    The certificates of a directory, read now.

    What cannot be used is told in *complaint*, an empty string if nothing; a file of *former* that cannot be used any
    more, but is still there, goes on as it was.  *seen* is what to look at to know that it must be read again.
    """

    def __init__(self, tls: Tls, former: Directory | None) -> None:
        self.seen: dict[str, Sign] = {}
        self.pairs: dict[str, Pair] = {}
        complaints: list[str] = []

        def note(error: OSError) -> None:
            complaints.append(complain(str(error.filename), "the directory", error))

        for folder, folders, files in os.walk(tls.directory, onerror=note):
            # Kubernetes keeps each version of a secret in a folder that begins with a dot.
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            paths = sorted(os.path.join(folder, name) for name in files if name.endswith(".pem"))
            self.seen.update({path: look(path) for path in [folder, *paths]})
            complaints += self._read_folder(tls, paths, {} if former is None else former.pairs)
        self.seen.setdefault(tls.directory, look(tls.directory))
        if not self.pairs and not complaints:
            complaints.append(f"{tls.directory}: has no certificate with its private key: put .pem files there")
        self.complaint = "; ".join(complaints)
        # The longer chain wins: Let's Encrypt's clients write the certificate twice, alone and with its chain.
        self._by_name: dict[str, Pair] = {}
        for pair in sorted(self.pairs.values(), key=lambda pair: -pair.length):
            for name in pair.names:
                self._by_name.setdefault(name, pair)

    def find(self, name: str | None) -> ssl.SSLContext | None:
        """
        Return the context for a client that asks for *name*, or None when there is none.

        A client that asks for nobody, as one that knows only an address, gets the first in the order of the files.
        """
        if name is None:
            first = self.pairs[min(self.pairs)]
            return self._by_name[first.names[0]].context if first.names else first.context
        name = name.lower()
        pair = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
        return None if pair is None else pair.context

    def _read_folder(self, tls: Tls, paths: list[str], former: dict[str, Pair]) -> list[str]:
        """Take the pairs among the files *paths* of one folder, and return what is wrong with others."""
        complaints: list[str] = []
        texts: dict[str, bytes] = {}
        for path in paths:
            try:
                texts[path] = read(path, "the file")
            except EndpointError as error:
                complaints.append(str(error))
        keys = [path for path, text in texts.items() if b"PRIVATE KEY-----" in text]
        for path, text in texts.items():
            if b"CERTIFICATE-----" not in text:
                continue
            problem = f"{path}: no private key fits the certificate: put it in the same folder"
            for key in [path] if path in keys else keys:
                context = make_listening_context(tls)
                try:
                    load_pair(context, path, key, "")
                except EndpointError as error:
                    # In one file they belong together; the keys of others are only tried.
                    problem = str(error) if key == path else problem
                    continue
                certificates = certificates_in(text)
                self.pairs[path] = Pair(context, alternative_names(certificates[0]), len(certificates))
                break
            else:
                # Further certificates of a chain have no key here, and that is no fault unless there was one before.
                if path in keys or path in former:
                    complaints.append(problem)
        self.pairs.update({path: former[path] for path in paths if path in former and path not in self.pairs})
        return complaints


def alternative_names(certificate: bytes) -> list[str]:
    """Return the DNS names that a PEM *certificate* is made for, in lower case (RFC 5280, 4.2.1.6)."""
    whole = elements(ssl.PEM_cert_to_DER_cert(certificate.decode("ascii")))[0][1]
    signed = elements(whole)[0][1]
    for tag, content in elements(signed):
        if tag != 0xA3:  # [3], the extensions
            continue
        for _, extension in elements(elements(content)[0][1]):
            parts = elements(extension)
            if parts[0][1] == b"\x55\x1d\x11":  # 2.5.29.17, subjectAltName
                general = elements(elements(parts[-1][1])[0][1])
                return [name.decode("ascii").lower() for kind, name in general if kind == 0x82]  # dNSName
    return []


def elements(data: bytes) -> list[tuple[int, bytes]]:
    """Return the elements of a piece of DER, each with its tag."""
    found: list[tuple[int, bytes]] = []
    position = 0
    while position < len(data):
        tag, length = data[position], data[position + 1]
        position += 2
        if length >= 0x80:
            size = length - 0x80
            length = int.from_bytes(data[position : position + size])
            position += size
        found.append((tag, data[position : position + length]))
        position += length
    return found
