"""TLS: real handshakes on loopback, certificates that change, and what is said when they cannot be used."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

trustme = pytest.importorskip("trustme")

from cryptography.hazmat.primitives import serialization  # noqa: E402 - comes with trustme

from plait.certificates import Certificates, certificates_in, connecting_context  # noqa: E402
from plait.errors import EndpointError  # noqa: E402
from plait.tls import Tls  # noqa: E402

KEPT = " (the former certificate stays in use)"


@pytest.fixture(scope="session")
def authority() -> Any:
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, authority: Any) -> Path:
    monkeypatch.chdir(tmp_path)
    authority.cert_pem.write_to_path("ca.pem")
    return tmp_path


def write(made: Any, certificate: str = "cert.pem", key: str = "key.pem") -> None:
    """Write a certificate and its key as a renewal does: new files, moved into place."""
    os.makedirs(os.path.dirname(certificate) or ".", exist_ok=True)
    if certificate == key:
        made.private_key_and_cert_chain_pem.write_to_path("new")
    else:
        made.private_key_pem.write_to_path("new-key")
        os.replace("new-key", key)
        Path("new").write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    os.replace("new", certificate)


def serial(made: Any) -> str:
    """The serial number of a certificate that trustme made, as ssl writes it."""
    from cryptography import x509

    return f"{x509.load_pem_x509_certificate(made.cert_chain_pems[0].bytes()).serial_number:X}".rjust(40, "0")


def handshake(context: ssl.SSLContext, client: ssl.SSLContext, name: str | None) -> dict[str, Any]:
    """Connect over loopback, and return what the client saw: the certificate, the version, the length of the chain."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            accepted, _ = server.accept()
            with accepted:
                accepted.settimeout(10)
                try:
                    with context.wrap_socket(accepted, server_side=True) as wrapped:
                        wrapped.sendall(b"hello")
                except OSError:
                    pass  # the client tells what went wrong

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with (
                socket.create_connection(server.getsockname(), 10) as plain,
                client.wrap_socket(plain, server_hostname=name) as wrapped,
            ):
                assert wrapped.recv(5) == b"hello"
                return {**(wrapped.getpeercert() or {}), "version": wrapped.version()}
        finally:
            thread.join()


def trusting_afresh() -> ssl.SSLContext:
    return ssl.create_default_context(cafile="ca.pem")


def trusting(path: str = "ca.pem") -> ssl.SSLContext:
    return connecting_context(Tls(authorities=path))


def seen(certificates: Certificates, name: str | None = "localhost") -> str:
    """The serial number of the certificate that a client gets."""
    client = trusting_afresh()
    client.check_hostname = name is not None
    return str(handshake(certificates.context, client, name)["serialNumber"]).rjust(40, "0")


def refusal(**fields: Any) -> str:
    with pytest.raises(EndpointError) as caught:
        Certificates(Tls(**fields))
    return str(caught.value)


@pytest.mark.parametrize("name", ["localhost", None])
def test_a_client_gets_the_certificate(folder: Path, authority: Any, name: str | None) -> None:
    """Whether it asks for a name or not."""
    made = authority.issue_cert("localhost")
    write(made)
    assert seen(Certificates(Tls("cert.pem", "key.pem")), name) == serial(made)


def test_certificate_and_key_may_be_one_file(folder: Path, authority: Any) -> None:
    """As server.pem is for Twisted."""
    made = authority.issue_cert("localhost")
    write(made, "server.pem", "server.pem")
    assert seen(Certificates(Tls("server.pem"))) == serial(made)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_better_is_spoken(folder: Path, authority: Any, version: ssl.TLSVersion) -> None:
    """Both of them."""
    write(authority.issue_cert("localhost"))
    client = trusting_afresh()
    client.minimum_version = client.maximum_version = version
    context = Certificates(Tls("cert.pem", "key.pem")).context
    assert handshake(context, client, "localhost")["version"] == version.name.replace("_", ".")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_older_tls_is_refused(folder: Path, authority: Any) -> None:
    """In the words of the protocol, so that the client knows why."""
    write(authority.issue_cert("localhost"))
    client = trusting_afresh()
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"(?i)alert.protocol.version"):
        handshake(Certificates(Tls("cert.pem", "key.pem")).context, client, "localhost")


def test_a_renewed_certificate_is_used_for_new_connections(folder: Path, authority: Any) -> None:
    """In the same context, also when the type of the key changes; unchanged files are not read."""
    first, second, third = (
        authority.issue_cert("localhost", key_type=getattr(trustme.KeyType, kind)) for kind in ("RSA", "ECDSA", "RSA")
    )
    write(first)
    certificates = Certificates(Tls("cert.pem", "key.pem"))
    context = certificates.context
    for made in (second, third):
        write(made)
        assert certificates.refresh() is None
        assert seen(certificates) == serial(made)
    assert certificates.context is context
    os.chmod("cert.pem", 0o000)  # neither read nor changed: refresh looks at the time of writing
    assert certificates.refresh() is None


def test_an_open_connection_survives_a_renewal(folder: Path, authority: Any) -> None:
    """What began with the former certificate goes on."""
    write(authority.issue_cert("localhost"))
    certificates = Certificates(Tls("cert.pem", "key.pem"))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting().wrap_bio(to_client, to_server, server_hostname="localhost")
    server = certificates.context.wrap_bio(to_server, to_client, server_side=True)
    undone = [client, server]
    while undone:
        for side in list(undone):
            try:
                side.do_handshake()
                undone.remove(side)
            except ssl.SSLWantReadError:
                pass
    write(authority.issue_cert("localhost"))
    assert certificates.refresh() is None
    client.write(b"still here")
    assert server.read(10) == b"still here"


def test_half_written_files_never_harm_what_runs(folder: Path, authority: Any) -> None:
    """A pair that does not fit is told once, and the former one serves until the new one is whole."""
    first, second = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    write(first)
    certificates = Certificates(Tls("cert.pem", "key.pem"))
    whole = second.cert_chain_pems[0].bytes()
    Path("cert.pem").write_bytes(whole)
    sentence = "key.pem: does not belong to cert.pem: give the private key that the certificate was made for"
    assert certificates.refresh() == sentence + KEPT
    assert certificates.refresh() is None
    assert seen(certificates) == serial(first)
    Path("cert.pem").write_bytes(whole[:300])
    assert certificates.refresh() == "cert.pem: the certificate is damaged: write the file again" + KEPT
    os.unlink("key.pem")
    assert "key.pem: the private key cannot be read (No such file or directory)" in str(certificates.refresh())
    assert seen(certificates) == serial(first)
    write(second)
    assert certificates.refresh() is None
    assert seen(certificates) == serial(second)


def test_a_chain_of_its_own_is_sent(folder: Path, authority: Any) -> None:
    """extraCertChain: a client that trusts only the root is content, and not without it."""
    made = authority.create_child_ca().issue_cert("localhost")
    made.private_key_pem.write_to_path("key.pem")
    made.cert_chain_pems[0].write_to_path("cert.pem")
    Path("chain.pem").write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems[1:]))
    assert seen(Certificates(Tls("cert.pem", "key.pem", "chain.pem"))) == serial(made)
    with pytest.raises(ssl.SSLCertVerificationError):
        seen(Certificates(Tls("cert.pem", "key.pem")))


def test_clients_must_show_a_certificate_when_authorities_are_named(folder: Path, authority: Any) -> None:
    """One that is signed by one of them; and new authorities count at once."""
    write(authority.issue_cert("localhost"))
    write(authority.issue_cert("client"), "mine.pem", "mine-key.pem")
    stranger = trustme.CA()
    write(stranger.issue_cert("client"), "stranger.pem", "stranger-key.pem")
    os.mkdir("trusted")
    shutil.copy("ca.pem", "trusted/ca.pem")
    certificates = Certificates(Tls("cert.pem", "key.pem", authorities="trusted"))

    def connect(certificate: str, key: str) -> None:
        client = connecting_context(Tls(certificate, key, authorities="ca.pem"))
        handshake(certificates.context, client, "localhost")

    connect("mine.pem", "mine-key.pem")
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof|broken"):
        connect("stranger.pem", "stranger-key.pem")
    with pytest.raises(OSError, match=r"(?i)alert|reset|eof|broken"):
        connect("", "")
    stranger.cert_pem.write_to_path("trusted/stranger.pem")
    assert certificates.refresh() is None
    connect("stranger.pem", "stranger-key.pem")


# ── a directory, chosen by name ──


def test_a_directory_is_chosen_from_by_name(folder: Path, authority: Any) -> None:
    """Exact names, wildcards, the first file for who asks for nobody; an unknown name is refused in words of TLS."""
    shop, pages = authority.issue_cert("shop.example", "www.shop.example"), authority.issue_cert("*.pages.example")
    write(shop, "certs/a.pem", "certs/a.pem")
    write(pages, "certs/b/fullchain.pem", "certs/b/privkey.pem")
    Path("certs/notes.txt").write_text("not for TLS")
    certificates = Certificates(Tls(directory="certs"))
    for name, made in (
        ("shop.example", shop), ("WWW.shop.example", shop), ("me.pages.example", pages), (None, shop),
    ):  # fmt: skip
        assert seen(certificates, name) == serial(made)
    for name in ("else.example", "pages.example", "a.b.pages.example"):
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            seen(certificates, name)


def test_the_folders_of_lets_encrypt_are_understood(folder: Path, authority: Any) -> None:
    """cert.pem, chain.pem, fullchain.pem and privkey.pem side by side, linked from elsewhere: the chain is sent."""
    made = authority.create_child_ca().issue_cert("shop.example")
    leaf, *chain = [blob.bytes() for blob in made.cert_chain_pems]
    os.makedirs("archive")
    os.makedirs("live/shop.example")
    for name, text in {
        "cert": leaf, "chain": b"".join(chain), "fullchain": leaf + b"".join(chain),
        "privkey": made.private_key_pem.bytes(),
    }.items():  # fmt: skip
        Path(f"archive/{name}1.pem").write_bytes(text)
        os.symlink(f"../../archive/{name}1.pem", f"live/shop.example/{name}.pem")
    certificates = Certificates(Tls(directory="live"))
    assert seen(certificates, "shop.example") == serial(made)
    assert seen(certificates, None) == serial(made)


def test_authorities_that_vanish_are_told_once(folder: Path, authority: Any) -> None:
    """And those that were read count on."""
    write(authority.issue_cert("localhost"))
    os.mkdir("trusted")
    shutil.copy("ca.pem", "trusted/ca.pem")
    certificates = Certificates(Tls("cert.pem", "key.pem", authorities="trusted"))
    shutil.rmtree("trusted")
    assert certificates.refresh() == (
        "trusted: the authority cannot be read (No such file or directory): "
        "check the path, and that this user may read it" + KEPT
    )
    assert certificates.refresh() is None


def test_a_directory_is_read_again_when_it_changes(folder: Path, authority: Any) -> None:
    """A file added, renewed, removed; and one in a folder of its own."""
    shop, renewed, pages, deep = (
        authority.issue_cert(name) for name in ("shop.example", "shop.example", "pages.example", "deep.example")
    )
    write(shop, "certs/a.pem", "certs/a.pem")
    certificates = Certificates(Tls(directory="certs"))
    assert certificates.refresh() is None
    write(pages, "certs/b.pem", "certs/b.pem")
    assert certificates.refresh() is None
    assert seen(certificates, "pages.example") == serial(pages)
    write(renewed, "certs/a.pem", "certs/a.pem")
    write(deep, "certs/more/fullchain.pem", "certs/more/privkey.pem")
    assert certificates.refresh() is None
    assert seen(certificates, "shop.example") == serial(renewed)
    assert seen(certificates, "deep.example") == serial(deep)
    os.unlink("certs/b.pem")
    assert certificates.refresh() is None
    with pytest.raises(ssl.SSLError):
        seen(certificates, "pages.example")


def test_a_bad_file_in_a_directory_harms_no_other(folder: Path, authority: Any) -> None:
    """The former certificate of a bad file serves on, the other files are renewed, and it is told once."""
    shop, pages, renewed = (authority.issue_cert(name) for name in ("shop.example", "pages.example", "pages.example"))
    write(shop, "certs/a.pem", "certs/a.pem")
    write(pages, "certs/b/fullchain.pem", "certs/b/privkey.pem")
    certificates = Certificates(Tls(directory="certs"))
    Path("certs/a.pem").write_bytes(shop.private_key_and_cert_chain_pem.bytes()[:-400])
    write(renewed, "certs/b/fullchain.pem", "certs/b/privkey.pem")
    assert str(certificates.refresh()).startswith("certs/a.pem: ")
    assert certificates.refresh() is None
    assert seen(certificates, "shop.example") == serial(shop)
    assert seen(certificates, "pages.example") == serial(renewed)
    pages.private_key_pem.write_to_path("certs/b/privkey.pem")
    sentence = "certs/b/fullchain.pem: no private key fits the certificate: put it in the same folder"
    assert sentence in str(certificates.refresh())
    assert seen(certificates, "pages.example") == serial(renewed)
    shutil.rmtree("certs")
    assert certificates.refresh() == (
        "certs: the directory cannot be read (No such file or directory): "
        "check the path, and that this user may read it" + KEPT
    )
    assert seen(certificates, "shop.example") == serial(shop)


# ── what cannot be used ──


def test_files_that_cannot_be_used_are_said(folder: Path, authority: Any) -> None:
    """The file, what is wrong, what to do."""
    made, other = authority.issue_cert("localhost"), authority.issue_cert("localhost")
    write(made)
    write(other, "other.pem", "other-key.pem")
    Path("empty.pem").write_text("")
    Path("text.pem").write_text("-----BEGIN NOTHING-----\n")
    key = made.private_key_pem.bytes()
    Path("damaged-key.pem").write_bytes(key[:100] + b"!!" + key[130:])
    os.mkdir("none")
    check = "check the path, and that this user may read it"
    assert refusal(certificate="no.pem", private_key="key.pem") == (
        f"no.pem: the certificate cannot be read (No such file or directory): {check}"
    )
    assert refusal(certificate="cert.pem", private_key="no.pem") == (
        f"no.pem: the private key cannot be read (No such file or directory): {check}"
    )
    assert refusal(certificate="none", private_key="key.pem") == (
        f"none: the certificate cannot be read (Is a directory): {check}"
    )
    assert refusal(certificate="cert.pem", private_key="key.pem", chain="no.pem") == (
        f"no.pem: the chain cannot be read (No such file or directory): {check}"
    )
    assert refusal(certificate="empty.pem", private_key="key.pem") == (
        "empty.pem: has no certificate in it: give a PEM file that has one"
    )
    assert refusal(certificate="cert.pem") == "cert.pem: has no private key in it: give the PEM file that has it"
    assert refusal(certificate="cert.pem", private_key="text.pem") == (
        "text.pem: has no private key in it: give the PEM file that has it"
    )
    assert refusal(certificate="cert.pem", private_key="other-key.pem") == (
        "other-key.pem: does not belong to cert.pem: give the private key that the certificate was made for"
    )
    assert refusal(certificate="cert.pem", private_key="damaged-key.pem") == (
        "damaged-key.pem: the private key is damaged: write the file again"
    )
    assert refusal(certificate="cert.pem", private_key="key.pem", dh_parameters="text.pem") == (
        "text.pem: has no Diffie-Hellman parameters in it: leave dhParameters= out"
    )
    assert refusal(certificate="cert.pem", private_key="key.pem", authorities="text.pem") == (
        "text.pem: has no certificate of an authority in it: give a PEM file that has"
    )
    assert refusal(certificate="cert.pem", private_key="key.pem", authorities="none") == (
        "none: has no .pem file in it: put the certificates of those to trust there"
    )
    assert refusal(directory="none") == ("none: has no certificate with its private key: put .pem files there")


@pytest.mark.parametrize("where", ["pair", "directory"])
def test_a_locked_key_is_refused_and_nobody_is_asked(folder: Path, authority: Any, where: str) -> None:
    """A daemon has nobody to ask for a passphrase; without care OpenSSL would ask on the terminal, and wait."""
    made = authority.issue_cert("localhost")
    key = serialization.load_pem_private_key(made.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    os.mkdir("certs")
    Path("certs/cert.pem").write_bytes(locked + made.cert_chain_pems[0].bytes())
    said = refusal(directory="certs") if where == "directory" else refusal(certificate="certs/cert.pem")
    assert said == (
        "certs/cert.pem: is locked with a passphrase, and a daemon can ask nobody: take it off with openssl pkey"
    )


# ── connecting ──


def test_a_connection_trusts_the_named_authorities_only(folder: Path, authority: Any) -> None:
    """A file or a directory of them; the name is verified."""
    write(authority.issue_cert("localhost"))
    trustme.CA().cert_pem.write_to_path("other-ca.pem")
    os.mkdir("trusted")
    shutil.copy("ca.pem", "trusted/one.pem")
    server = Certificates(Tls("cert.pem", "key.pem")).context
    assert handshake(server, trusting("trusted"), "localhost")["version"] == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, trusting("other-ca.pem"), "localhost")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, trusting(), "else.example")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, connecting_context(Tls()), "localhost")


def test_a_connection_that_verifies_nobody_connects(folder: Path, authority: Any) -> None:
    """verify=0 is for tests."""
    write(authority.issue_cert("localhost"))
    server = Certificates(Tls("cert.pem", "key.pem")).context
    assert handshake(server, connecting_context(Tls(verify=False)), "else.example")["version"] == "TLSv1.3"


def test_a_connecting_context_is_made_once_until_a_file_changes(folder: Path, authority: Any) -> None:
    """A thousand connections that come back do not read the authorities a thousand times."""
    first = trusting()
    assert trusting() is first
    trustme.CA().cert_pem.write_to_path("ca.pem")
    assert trusting() is not first
    with pytest.raises(EndpointError) as caught:
        trusting("no.pem")
    assert str(caught.value) == (
        "no.pem: the authority cannot be read (No such file or directory): "
        "check the path, and that this user may read it"
    )


def test_certificates_are_found_between_other_text() -> None:
    """Text around the certificates of a PEM file is no part of them."""
    one = b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"
    assert certificates_in(b"Subject: a\n" + one + b"\nSubject: b\n" + one + b"\nend") == [one, one]


def test_the_names_are_those_that_openssl_reads(folder: Path, authority: Any) -> None:
    """The short reader of subjectAltName agrees with a real one."""
    from plait.certificate_directory import alternative_names

    names = ["shop.example", "*.pages.example", "xn--caf-dma.example", *(f"n{n}.example" for n in range(40))]
    made = authority.issue_cert(*names, "127.0.0.1", "me@shop.example")
    assert alternative_names(made.cert_chain_pems[0].bytes()) == names
    assert alternative_names(authority.cert_pem.bytes()) == []


def test_certificates_need_no_asyncio() -> None:
    """The ground does not know the loop."""
    code = "import sys, plait.certificate_directory, plait.sockets; print('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
