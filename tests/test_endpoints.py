"""Endpoint strings: what they mean, what is wrong with them, and that a value can be written as text again."""

# ruff: noqa: E501 - tables are read best with one row a line

from __future__ import annotations

import pickle
import string
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plait.endpoints import Endpoint, quote
from plait.errors import EndpointError
from plait.tls import Tls

PAIR = Tls("cert.pem", "key.pem")

LISTENING = [
    ("tcp:8080", Endpoint("tcp", port=8080)),
    ("tcp:0", Endpoint("tcp")),
    ("tcp:port=8080", Endpoint("tcp", port=8080)),
    ("tcp:8080:interface=127.0.0.1", Endpoint("tcp", "127.0.0.1", 8080)),
    ("tcp:8080:127.0.0.1:5", Endpoint("tcp", "127.0.0.1", 8080, backlog=5)),
    ("tcp:interface=127.0.0.1:8080", Endpoint("tcp", "127.0.0.1", 8080)),
    ("tcp:8080:interface=:backlog=7", Endpoint("tcp", port=8080, backlog=7)),
    ("tcp:8080:interface=\\:\\:1", Endpoint("tcp6", "::1", 8080)),
    ("tcp:8080:reuseport=1", Endpoint("tcp", port=8080, reuse_port=True)),
    ("tcp:8080:reuseport=0", Endpoint("tcp", port=8080)),
    ("TCP:8080", Endpoint("tcp", port=8080)),
    ("tcp6:8080", Endpoint("tcp6", "::", 8080)),
    ("tcp6:8080:9:\\:\\:1", Endpoint("tcp6", "::1", 8080, backlog=9)),
    ("tcp6:8080:interface=fe80\\:\\:1%eth0", Endpoint("tcp6", "fe80::1%eth0", 8080)),
    ("8080", Endpoint("tcp", port=8080)),
    (":8080", Endpoint("tcp", port=8080)),
    ("127.0.0.1:8080", Endpoint("tcp", "127.0.0.1", 8080)),
    ("localhost:8080", Endpoint("tcp", "localhost", 8080)),
    ("shop-server:8080", Endpoint("tcp", "shop-server", 8080)),
    ("[::1]:8080", Endpoint("tcp6", "::1", 8080)),
    ("[::]:8080", Endpoint("tcp6", "::", 8080)),
    ("unix:/run/shop", Endpoint("unix", path="/run/shop")),
    ("unix:address=/run/shop:mode=660", Endpoint("unix", path="/run/shop", mode=0o660)),
    ("unix:path=/run/shop", Endpoint("unix", path="/run/shop")),
    ("unix:/run/shop:660:5:0", Endpoint("unix", path="/run/shop", mode=0o660, backlog=5)),
    ("unix:/run/shop:lockfile=0", Endpoint("unix", path="/run/shop")),
    ("unix:/run/a\\:b\\\\c\\=d", Endpoint("unix", path="/run/a:b\\c=d")),
    ("unix:address=/run/a=b", Endpoint("unix", path="/run/a=b")),
    ("unix:@shop", Endpoint("unix", path="@shop")),
    ("unix:\\//run/shop", Endpoint("unix", path="//run/shop")),
    ("unixgram:/run/log:mode=600", Endpoint("unixgram", path="/run/log", mode=0o600)),
    ("udp:53", Endpoint("udp", port=53)),
    ("udp:53:interface=127.0.0.1", Endpoint("udp", "127.0.0.1", 53)),
    ("udp:53:\\:\\:1", Endpoint("udp6", "::1", 53)),
    ("udp6:53", Endpoint("udp6", "::", 53)),
    ("systemd:name=web", Endpoint("systemd", name="web")),
    ("systemd:domain=INET:index=0", Endpoint("systemd", domain="INET", index=0)),
    ("systemd:AF_INET6:1", Endpoint("systemd", domain="INET6", index=1)),
    ("systemd:name=https:certKey=cert.pem:privateKey=key.pem", Endpoint("systemd", name="https", tls=PAIR)),
    ("fd:3", Endpoint("fd", index=3)),
    ("ssl:443", Endpoint("tcp", port=443, tls=Tls("server.pem"))),
    ("ssl:443:privateKey=both.pem", Endpoint("tcp", port=443, tls=Tls("both.pem"))),
    ("ssl:443:certKey=cert.pem:privateKey=key.pem", Endpoint("tcp", port=443, tls=PAIR)),
    ("ssl:443:key.pem:cert.pem:TLSv1_2_METHOD:127.0.0.1", Endpoint("tcp", "127.0.0.1", 443, tls=PAIR)),
    ("ssl:443:cert.pem:extraCertChain=c.pem:dhParameters=d.pem", Endpoint("tcp", port=443, tls=Tls("cert.pem", "", "c.pem", "d.pem"))),
    ("ssl:443:certKey=cert.pem:trustRoots=/etc/ca", Endpoint("tcp", port=443, tls=Tls("cert.pem", authorities="/etc/ca"))),
    ("tls:443:certKey=cert.pem:privateKey=key.pem", Endpoint("tcp", port=443, tls=PAIR)),
    ("tls:/etc/certs", Endpoint("tcp6", "::", 443, tls=Tls(directory="/etc/certs"))),
    ("tls:/etc/certs:8443:interface=127.0.0.1", Endpoint("tcp", "127.0.0.1", 8443, tls=Tls(directory="/etc/certs"))),
    ("tls:path=/etc/certs:port=8443:interface=", Endpoint("tcp", "", 8443, tls=Tls(directory="/etc/certs"))),
    ("unix:/run/shop:certDir=/etc/certs", Endpoint("unix", path="/run/shop", tls=Tls(directory="/etc/certs"))),
]  # fmt: skip

CONNECTING = [
    ("tcp:broker:1883", Endpoint("tcp", "broker", 1883, connects=True)),
    ("tcp:host=broker:port=1883", Endpoint("tcp", "broker", 1883, connects=True)),
    ("tcp:port=1883:broker", Endpoint("tcp", "broker", 1883, connects=True)),
    ("tcp:broker:1883:timeout=2.5", Endpoint("tcp", "broker", 1883, timeout=2.5, connects=True)),
    ("tcp:broker:1883:bindAddress=10.0.0.1", Endpoint("tcp", "broker", 1883, bind_address="10.0.0.1", connects=True)),
    ("broker:1883", Endpoint("tcp", "broker", 1883, connects=True)),
    ("haproxy:80", Endpoint("tcp", "haproxy", 80, connects=True)),
    ("[::1]:1883", Endpoint("tcp6", "::1", 1883, connects=True)),
    ("tcp6:broker:1883", Endpoint("tcp6", "broker", 1883, connects=True)),
    ("tls:shop.example:443", Endpoint("tcp", "shop.example", 443, tls=Tls(), connects=True)),
    ("ssl:shop.example:443:caCertsDir=/etc/ca", Endpoint("tcp", "shop.example", 443, tls=Tls(authorities="/etc/ca"), connects=True)),
    ("tls:10.0.0.1:443:hostname=shop.example", Endpoint("tcp", "10.0.0.1", 443, tls=Tls(hostname="shop.example"), connects=True)),
    ("tls:shop.example:443:hostname=shop.example", Endpoint("tcp", "shop.example", 443, tls=Tls(), connects=True)),
    ("tls:h:443:verify=no", Endpoint("tcp", "h", 443, tls=Tls(verify=False), connects=True)),
    ("tls:h:443:certificate=cert.pem:privateKey=key.pem:trustRoots=ca", Endpoint("tcp", "h", 443, tls=Tls("cert.pem", "key.pem", authorities="ca"), connects=True)),
    ("tls:shop.example:443:endpoint=unix\\:/run/shop", Endpoint("unix", path="/run/shop", tls=Tls(hostname="shop.example"), connects=True)),
    ("tls:shop.example:443:endpoint=tcp\\:10.0.0.1\\:4433", Endpoint("tcp", "10.0.0.1", 4433, tls=Tls(hostname="shop.example"), connects=True)),
    ("tls:shop.example:443:timeout=1:endpoint=unix\\:/run/shop\\:timeout=2", Endpoint("unix", path="/run/shop", timeout=1, tls=Tls(hostname="shop.example"), connects=True)),
    ("unix:/run/shop:timeout=5", Endpoint("unix", path="/run/shop", timeout=5, connects=True)),
    ("unix:path=/run/shop:lockfile=1", Endpoint("unix", path="/run/shop", connects=True)),
    ("udp:dns:53", Endpoint("udp", "dns", 53, connects=True)),
    ("unixgram:/dev/log", Endpoint("unixgram", path="/dev/log", connects=True)),
]  # fmt: skip

LISTENING_KINDS = "tcp, tcp6, ssl, tls, unix, udp, udp6, unixgram, systemd, fd"
CONNECTING_KINDS = "tcp, tcp6, tls, ssl, unix, udp, udp6, unixgram"
COLONS = 'leave it out, or write a ":" that belongs to a value as "\\:"'

LISTENING_WRONG = [
    ("", "is empty: write one such as tcp:8080"),
    ("tcp:http", 'port "http" is not a number: write one from 0 to 65535'),
    ("localhost:http", 'port "http" is not a number: write one from 0 to 65535'),
    ("tcp:65536", "port 65536 is out of range: write one from 0 to 65535"),
    ("tcp:-1", 'port "-1" is not a number: write one from 0 to 65535'),
    ("tcp: 80", 'port " 80" is not a number: write one from 0 to 65535'),
    ("tcp:8_0", 'port "8_0" is not a number: write one from 0 to 65535'),
    ("tcp:٨٠", 'port "٨٠" is not a number: write one from 0 to 65535'),
    ("tcp", "the port is missing: write tcp:PORT"),
    ("tcp:", "the port is missing: write tcp:PORT"),
    ("unix:", "the address is missing: write unix:ADDRESS"),
    ("tpc:8080", 'there is no kind "tpc": write tcp:8080'),
    ("unx:/run/shop", 'there is no kind "unx": write unix:/run/shop'),
    ("gopher", f'there is no kind "gopher": write one of {LISTENING_KINDS}'),
    ("port=80", f'begins with the keyword "port": write the kind first, one of {LISTENING_KINDS}'),
    ("tcp://localhost:80", "is a URL: write it such as tcp:8080"),
    ("unix:///run/shop", "is a URL: write it such as tcp:8080"),
    ("/run/shop", "is a path without a kind: write unix:/run/shop"),
    ("::1:80", "begins with a colon: write an IPv6 address in brackets, such as [::1]:8080"),
    ("[::1]", "has a bracket without an address and a port: write it such as [::1]:8080"),
    ("[localhost]:80", "has a bracket without an address and a port: write it such as [::1]:8080"),
    ("tcp:8080:interfaces=127.0.0.1", 'tcp takes no "interfaces": write interface='),
    ("ssl:443:certkey=cert.pem", 'ssl takes no "certkey": write certKey='),
    ("udp:53:colour=red", 'udp takes no "colour": write one of port, interface, reuseport, or a "=" that belongs to a value as "\\="'),
    ("tcp:8080:port=9090", f"port is given twice: {COLONS}"),
    ("tcp:8080:interface=::1", f"interface is given twice: {COLONS}"),
    ("tcp:8080:127.0.0.1:5:9", f'"9" is one too many after port, interface, backlog: {COLONS}'),
    ("tcp:8080:interface=a b", 'interface "a b" is not an address or a name: write it such as 127.0.0.1, \\:\\:1 or localhost'),
    ("tcp:8080:backlog=0", "backlog 0 is out of range: write one from 1 to 65535"),
    ("tcp:8080:reuseport=maybe", 'reuseport "maybe" is neither on nor off: write reuseport=1 or reuseport=0'),
    ("unix:/run/shop:mode=rw", 'mode "rw" is not a file mode: write three octal digits, such as 660'),
    ("unix:/run/shop:mode=1777", 'mode "1777" is not a file mode: write three octal digits, such as 660'),
    ("unix:" + "x" * 108, "address has 108 bytes and the system allows 107: choose a shorter path"),
    ("unix:@", "address '@' is not a path: write one such as unix:/run/shop.socket"),
    ("unix:/run/shop\\", "ends in the middle of an escape: write \\\\ for one backslash"),
    ("systemd:", "wants a name or an index, and one of them only: write systemd:name=NAME or systemd:index=0"),
    ("systemd:name=web:index=0", "wants a name or an index, and one of them only: write systemd:name=NAME or systemd:index=0"),
    ("systemd:web", 'domain "web" is unknown: write INET, INET6, UNIX, or name=web'),
    ("fd:x", 'descriptor "x" is not a number: write one from 0 to 999999'),
    ("ssl:443:sslmethod=TLSv1_METHOD", 'sslmethod "TLSv1_METHOD" is not safe: leave it out, TLS 1.2 and 1.3 are spoken'),
    ("ssl:443:certKey=", "certKey '' is not a path: write one such as certKey=cert.pem"),
    ("tls:443", "has a port and no certificate: write tls:443:certKey=cert.pem:privateKey=key.pem"),
    ("tcp:443:trustRoots=/etc/ca", "TLS wants a certificate: write certKey= and privateKey=, or certDir= alone"),
    ("tcp:443:certKey=a:certDir=b", "TLS wants a certificate: write certKey= and privateKey=, or certDir= alone"),
    ("stdio:", "stdio is not offered: a daemon has no standard input: use unix:/path, and socat or nc -U to talk to it"),
    ("haproxy:tcp\\:80", "haproxy is not offered: the PROXY protocol is not read: turn it off at the proxy, and let it pass the address in a header"),
]  # fmt: skip

CONNECTING_WRONG = [
    ("", "is empty: write one such as tcp:localhost:8080"),
    ("8080", f'there is no kind "8080": write one of {CONNECTING_KINDS}'),
    (":8080", "the host is missing: write host:port"),
    ("tcp:broker", "the port is missing: write tcp:HOST:PORT"),
    ("tcp:8080", "the port is missing: write tcp:HOST:PORT"),
    ("tcp::8080", "the host is missing: write tcp:HOST:PORT"),
    ("tcp:broker:0", "port 0 is for listening on any free one: write the port to connect to"),
    ("tcp:broker:mqtt", 'port "mqtt" is not a number: write one from 0 to 65535'),
    ("broker:mqtt", 'port "mqtt" is not a number: write one from 0 to 65535'),
    ("tcp:broker:1883:timeout=soon", 'timeout "soon" is not a time: write seconds above 0, such as timeout=2.5'),
    ("tcp:broker:1883:timeout=0", 'timeout "0" is not a time: write seconds above 0, such as timeout=2.5'),
    ("tcp:broker:1883:timeout=1e999", 'timeout "1e999" is not a time: write seconds above 0, such as timeout=2.5'),
    ("unx:/run/shop", 'there is no kind "unx": write unix:/run/shop'),
    ("https://shop.example", "is a URL: write it such as tcp:localhost:8080"),
    ("systemd:name=web", f"systemd is only for listening: write one of {CONNECTING_KINDS}"),
    ("::1:80", "begins with a colon: write an IPv6 address in brackets, such as [::1]:8080"),
    ("tls:h:443:endpoint=udp\\:h\\:53", 'endpoint=udp:h:53 cannot carry TLS: write one of tcp, tcp6, unix, with each ":" as "\\:"'),
    ("tls:h:443:endpoint=tls\\:h\\:443", 'endpoint=tls:h:443 cannot carry TLS: write one of tcp, tcp6, unix, with each ":" as "\\:"'),
    ("tls:h:443:truststore=ca", 'tls takes no "truststore": write trustRoots='),
]  # fmt: skip


def read(text: str, connects: bool) -> Endpoint:
    return Endpoint.connecting(text) if connects else Endpoint.listening(text)


@pytest.mark.parametrize(("text", "value"), LISTENING, ids=[text for text, _ in LISTENING])
def test_a_listening_text_means_what_it_means_in_twisted_or_is_documented(text: str, value: Endpoint) -> None:
    """Each form, positional and with keywords, gives this value, whose own text gives it again."""
    assert Endpoint.listening(text) == value
    assert Endpoint.listening(str(value)) == value


@pytest.mark.parametrize(("text", "value"), CONNECTING, ids=[text for text, _ in CONNECTING])
def test_a_connecting_text_means_what_it_means_in_twisted_or_is_documented(text: str, value: Endpoint) -> None:
    """Each form, positional and with keywords, gives this value, whose own text gives it again."""
    assert Endpoint.connecting(text) == value
    assert Endpoint.connecting(str(value)) == value


@pytest.mark.parametrize(("text", "sentence"), LISTENING_WRONG, ids=[text[:40] for text, _ in LISTENING_WRONG])
def test_a_wrong_listening_text_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    """Where, what, and what to write instead."""
    with pytest.raises(EndpointError) as caught:
        Endpoint.listening(text)
    assert str(caught.value) == f'endpoint "{text}": {sentence}'


@pytest.mark.parametrize(("text", "sentence"), CONNECTING_WRONG, ids=[text[:40] for text, _ in CONNECTING_WRONG])
def test_a_wrong_connecting_text_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    """Where, what, and what to write instead."""
    with pytest.raises(EndpointError) as caught:
        Endpoint.connecting(text)
    assert str(caught.value) == f'endpoint "{text}": {sentence}'


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"kind": "tpc"}, 'endpoint "tpc": there is no kind "tpc": write one of '
                          "tcp, tcp6, unix, udp, udp6, unixgram, systemd, fd"),
        ({"kind": "tcp", "port": 70000},
         'endpoint "tcp:70000": port 70000 is out of range: write one from 0 to 65535'),
        ({"kind": "udp", "tls": PAIR},
         'endpoint "udp:0:certKey=cert.pem:privateKey=key.pem": datagrams cannot carry TLS: use tcp or unix'),
        ({"kind": "fd", "index": 3, "connects": True},
         'endpoint "fd::0": fd is only for listening: write such as tcp:localhost:8080'),
        ({"kind": "unix", "path": "/a", "tls": Tls(), "connects": True},
         'endpoint "tls::443:endpoint=unix\\:/a": TLS wants to know whom to expect there: '
         "write tls:HOST:PORT:endpoint=unix\\:/path"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_refused_like_a_text(values: dict[str, Any], sentence: str) -> None:
    """An Endpoint made by hand obeys the same rules."""
    with pytest.raises(EndpointError) as caught:
        Endpoint(**values)
    assert str(caught.value) == sentence


def test_what_is_not_text_is_refused() -> None:
    """A number is not an endpoint; the sentence says so."""
    with pytest.raises(EndpointError) as caught:
        Endpoint.listening(8080)  # type: ignore[arg-type]
    assert str(caught.value) == "endpoint 8080: is not text: write one such as tcp:8080"


def test_an_endpoint_is_taken_for_either_side() -> None:
    """What listens somewhere can be connected to, and a value made by hand needs no flag."""
    there = Endpoint("tcp", "localhost", 8080)
    assert Endpoint.listening(there) is there
    assert str(Endpoint.connecting(there)) == "tcp:localhost:8080"
    assert Endpoint.listening(Endpoint.connecting(there)) == there


def test_an_endpoint_is_a_value() -> None:
    """It can be a key, copied by pickle, and its repr makes it again."""
    endpoint = Endpoint.listening("ssl:443:certKey=cert.pem:privateKey=key.pem")
    assert pickle.loads(pickle.dumps(endpoint)) == endpoint
    assert {endpoint: 1}[Endpoint.listening(str(endpoint))] == 1
    assert repr(endpoint) == "Endpoint.listening('ssl:443:certKey=cert.pem:privateKey=key.pem')"
    assert eval(repr(Endpoint.connecting("h:1"))) == Endpoint.connecting("h:1")


def test_datagrams_are_known_by_the_kind() -> None:
    """Three kinds speak datagrams."""
    texts = ("udp:1", "udp6:1", "unixgram:/a", "tcp:1", "unix:/a", "fd:3")
    assert [Endpoint.listening(text).is_datagram for text in texts] == [True, True, True, False, False, False]


@given(st.text(alphabet=":=\\abc/") | st.text())
def test_quoted_text_is_one_value(text: str) -> None:
    """Whatever is quoted arrives as it was, in a field of its own and after a keyword."""
    from plait.grammar import split

    assert split(f"a:{quote(text)}:b={quote(text)}") == [(None, "a"), (None, text), ("b", text)]


names = st.text(string.ascii_letters + "0123.-:\\=_é", min_size=1, max_size=20)
hosts = names.filter(lambda name: name.strip(":"))
ports = st.integers(1, 65535)
paths = st.text("ab:=\\@/ é", min_size=1, max_size=30).filter(lambda path: path != "@")
files = st.just("") | names
server_tls = st.none() | st.builds(
    Tls, certificate=names, private_key=files, chain=files, dh_parameters=files, authorities=files
) | st.builds(Tls, directory=names, authorities=files)  # fmt: skip
client_tls = st.builds(
    Tls, certificate=names, private_key=files, authorities=files, hostname=hosts, verify=st.booleans()
) | st.builds(Tls, authorities=files, hostname=hosts)
backlogs = st.integers(1, 65535)
modes = st.integers(0, 0o777)
times = st.floats(1e-9, 1e9)

listening_endpoints = (
    st.builds(
        Endpoint, st.sampled_from(["tcp", "tcp6"]), st.just("") | hosts, ports | st.just(0),
        backlog=backlogs, reuse_port=st.booleans(), tls=server_tls,
    )
    | st.builds(Endpoint, st.sampled_from(["udp", "udp6"]), st.just("") | hosts, ports, reuse_port=st.booleans())
    | st.builds(Endpoint, st.just("unix"), path=paths, mode=modes, backlog=backlogs, tls=server_tls)
    | st.builds(Endpoint, st.just("unixgram"), path=paths, mode=modes)
    | st.builds(Endpoint, st.just("systemd"), name=names, domain=st.sampled_from(["", "INET", "UNIX"]), tls=server_tls)
    | st.builds(Endpoint, st.just("systemd"), index=st.integers(0, 99))
    | st.builds(Endpoint, st.just("fd"), index=st.integers(0, 99), tls=server_tls)
)  # fmt: skip
connecting_endpoints = (
    st.builds(
        Endpoint, st.sampled_from(["tcp", "tcp6"]), hosts, ports, timeout=times, bind_address=files,
        tls=st.none() | st.just(Tls()) | client_tls, connects=st.just(True),
    )
    | st.builds(Endpoint, st.sampled_from(["udp", "udp6"]), hosts, ports, timeout=times, connects=st.just(True))
    | st.builds(
        Endpoint, st.just("unix"), path=paths, timeout=times, tls=st.none() | client_tls, connects=st.just(True)
    )
    | st.builds(Endpoint, st.just("unixgram"), path=paths, bind_address=files, connects=st.just(True))
)  # fmt: skip


@given(listening_endpoints | connecting_endpoints)
def test_the_text_of_an_endpoint_gives_the_endpoint_back(endpoint: Endpoint) -> None:
    """str() loses nothing, whatever colons, equal signs and backslashes the values have."""
    assert read(str(endpoint), endpoint.connects) == endpoint
    assert str(read(str(endpoint), endpoint.connects)) == str(endpoint)


words = st.sampled_from(
    ["tcp", "ssl", "tls", "unix", "fd", "systemd", "port", "interface", "endpoint", "certKey", "80"]
)
pieces = st.lists(
    words | st.sampled_from([":", "=", "\\", "[", "]", "/", "@", "::1", "-1", "\0", "\ud800"]) | st.text()
)


@given(st.text() | pieces.map("".join), st.booleans())
@example("tcp:" + "9" * 5000, False)
@example("unix:\udcff", False)
@example("tls:h:1:endpoint=" * 3 + "h", True)
def test_any_text_gives_an_endpoint_or_one_sentence(text: str, connects: bool) -> None:
    """Nothing that can be typed raises another error, and what is said is one printable line."""
    sentence = ""
    try:
        endpoint = read(text, connects)
    except EndpointError as error:
        sentence = str(error)
    else:
        assert read(str(endpoint), connects) == endpoint
    assert sentence.isprintable()


def test_reading_an_endpoint_loads_nothing_heavy() -> None:
    """Neither asyncio, ssl, socket nor difflib is needed to read one that is right, in its short form too."""
    code = """
import sys
from plait.endpoints import Endpoint
for text in ("tcp:8080", "8080", "localhost:8080", "127.0.0.1:80", "tls:443:certKey=a"): Endpoint.listening(text)
Endpoint.connecting("broker:1883")
print(sorted({"asyncio", "ssl", "socket", "difflib", "pathlib", "plait.refusals"} & set(sys.modules)))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
