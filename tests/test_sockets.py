"""Open sockets: what is bound, shared, handed over, left alone, and said when it cannot be."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from plait import socket_files
from plait.endpoints import Endpoint
from plait.errors import BindError
from plait.passed_sockets import take_systemd
from plait.sockets import Sockets


@pytest.fixture
def sockets() -> Iterator[Sockets]:
    made = Sockets()
    yield made
    made.close_all()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to be in, so that the paths of sockets stay short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listening(text: str) -> Endpoint:
    return Endpoint.listening(text)


def refusal(sockets: Sockets, text: str | Endpoint) -> str:
    with pytest.raises(BindError) as caught:
        sockets.open(Endpoint.listening(text))
    return str(caught.value)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as one:
            one.bind(("::1", 0))
    except OSError:
        return False
    return True


ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine does not speak IPv6")


def test_an_open_endpoint_answers_before_anybody_accepts(sockets: Sockets) -> None:
    """A client is connected as soon as open() returned."""
    (one,) = sockets.open(listening("tcp:0:interface=127.0.0.1"))
    with socket.create_connection(one.getsockname(), 5):
        pass


def test_opening_again_gives_the_same_sockets(sockets: Sockets) -> None:
    """Equal endpoints share one entry."""
    assert sockets.open(listening("tcp:0:127.0.0.1")) is sockets.open(listening("tcp:0:interface=127.0.0.1"))


def test_sockets_do_not_block_and_do_not_reach_children(sockets: Sockets) -> None:
    """Each is non-blocking and closed on exec, duplicates as well."""
    endpoint = listening("tcp:0:interface=127.0.0.1")
    copies = sockets.get(endpoint)
    for one in (*sockets.open(endpoint), *copies):
        assert not one.get_inheritable()
        assert fcntl.fcntl(one, fcntl.F_GETFL) & os.O_NONBLOCK
        one.close()


def test_duplicates_are_the_callers(sockets: Sockets) -> None:
    """Closing what get() gave leaves the endpoint open."""
    endpoint = listening("tcp:0:interface=127.0.0.1")
    for _ in range(2):
        (copy,) = sockets.get(endpoint)
        with copy, socket.create_connection(copy.getsockname(), 5):
            pass


def test_the_backlog_is_a_thousand_unless_told(sockets: Sockets) -> None:
    """A burst of connections is not dropped while the service starts; Twisted's 50 would be full."""
    (one,) = sockets.open(listening("tcp:0:interface=127.0.0.1"))
    clients = [socket.create_connection(one.getsockname(), 5) for _ in range(200)]
    for client in clients:
        client.close()
    (small,) = sockets.open(listening("tcp:0:interface=127.0.0.1:backlog=3"))
    # tcpi_unacked and tcpi_sacked of a socket that listens: how many wait, and the most that may.
    most = [
        int.from_bytes(each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[28:32], "little")
        for each in (one, small)
    ]
    system = int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert most == [min(1024, system), 3]


def test_no_interface_is_every_ipv4_address(sockets: Sockets) -> None:
    """As in twistd."""
    (one,) = sockets.open(listening("tcp:0"))
    assert one.getsockname()[0] == "0.0.0.0"
    (two,) = sockets.open(listening("udp:0"))
    assert two.getsockname()[0] == "0.0.0.0"
    assert two.type == socket.SOCK_DGRAM


@ipv6
def test_a_double_colon_is_ipv4_as_well(sockets: Sockets) -> None:
    """tcp6 on :: answers IPv4 too, whatever the system's default; on an address it does not."""
    (both,) = sockets.open(listening("tcp6:0"))
    with socket.create_connection(("127.0.0.1", both.getsockname()[1]), 5):
        pass
    (one,) = sockets.open(listening("[::1]:0"))
    assert one.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
    assert both.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 0


def test_a_name_is_bound_at_all_its_addresses_with_one_port(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the system chose the port; an address that this machine lacks is left out."""

    def resolve(*_: object) -> list[object]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
            for address in ("127.0.0.1", "192.0.2.1", "127.0.0.2", "127.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    first, second = sockets.open(listening("tcp:0:interface=shop"))
    assert first.getsockname()[0] == "127.0.0.1"
    assert second.getsockname() == ("127.0.0.2", first.getsockname()[1])


def test_reuseport_lets_two_processes_bind(sockets: Sockets) -> None:
    """Only with reuseport=1 on both."""
    (one,) = sockets.open(listening(f"tcp:{free_port()}:127.0.0.1:reuseport=1"))
    other = Sockets()
    other.open(listening(f"tcp:{one.getsockname()[1]}:127.0.0.1:reuseport=1"))
    other.close_all()


def test_a_port_in_use_is_said(sockets: Sockets) -> None:
    """The endpoint, the reason, the way out."""
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        assert refusal(sockets, f"tcp:{port}:interface=127.0.0.1") == (
            f"tcp:{port}:interface=127.0.0.1: cannot be opened (Address already in use): "
            "stop the program that has it, or choose another port"
        )


def test_a_udp_port_in_use_is_said(sockets: Sockets) -> None:
    """Two programs never share a UDP port by accident."""
    (one,) = sockets.open(listening("udp:0:interface=127.0.0.1"))
    other = Sockets()
    assert "Address already in use" in refusal(other, f"udp:{one.getsockname()[1]}:interface=127.0.0.1")


def test_a_port_that_this_application_has_is_said_so(sockets: Sockets) -> None:
    """It would be of no use to look for another program."""
    port = free_port()
    sockets.open(listening(f"tcp:{port}:interface=127.0.0.1"))
    assert refusal(sockets, f"tcp:{port}") == (
        f"tcp:{port}: cannot be opened (Address already in use): this application has it open as "
        f"tcp:{port}:interface=127.0.0.1: write both the same way, or change one"
    )


def test_an_address_of_another_machine_is_said(sockets: Sockets) -> None:
    """192.0.2.1 is nobody's."""
    assert refusal(sockets, "tcp:8080:interface=192.0.2.1") == (
        "tcp:8080:interface=192.0.2.1: cannot be opened (Cannot assign requested address): "
        "write an address that this machine has (ip address shows them), or leave interface= out"
    )


def test_an_unknown_name_is_said(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is what is wrong."""

    def resolve(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert refusal(sockets, "tcp:8080:interface=nowhere.invalid") == (
        "tcp:8080:interface=nowhere.invalid: cannot be opened (Name or service not known): "
        'write an address of this machine instead of "nowhere.invalid", or a name that stands for one'
    )


def test_a_name_that_cannot_be_encoded_is_said(sockets: Sockets) -> None:
    """IDNA has no such name; that is an unknown name, not a crash."""
    assert "(Name or service not known)" in refusal(sockets, "tcp:8080:interface=" + "é" * 64)


def test_a_low_port_is_said_to_need_a_right(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The words for a permission that is denied."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("plait.sockets.bind", refuse)
    assert refusal(sockets, "tcp:80") == (
        "tcp:80: cannot be opened (Permission denied): ports under 1024 need root or CAP_NET_BIND_SERVICE"
    )


def test_a_connecting_endpoint_is_not_opened(sockets: Sockets) -> None:
    """It would bind the place that it should go to."""
    with pytest.raises(BindError) as caught:
        sockets.open(Endpoint.connecting("h:1"))
    assert str(caught.value) == "tcp:h:1: is a place to connect to: make it with Endpoint.listening()"


def test_a_failed_open_leaves_nothing(sockets: Sockets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses that were bound before the one that failed are closed again."""
    with socket.create_server(("127.0.0.2", 0)) as holder:
        port = holder.getsockname()[1]
        monkeypatch.setattr(
            socket, "getaddrinfo",
            lambda *_: [(socket.AF_INET, 1, 6, "", (address, port)) for address in ("127.0.0.1", "127.0.0.2")],
        )  # fmt: skip
        before = len(os.listdir("/proc/self/fd"))
        refusal(sockets, f"tcp:{port}:interface=shop")
        assert len(os.listdir("/proc/self/fd")) == before


# ── unix sockets ──


def test_a_unix_socket_answers_and_its_file_goes_at_close(sockets: Sockets, folder: Path) -> None:
    """Bound here, removed here."""
    endpoint = listening("unix:shop")
    sockets.open(endpoint)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("shop")
    sockets.close(endpoint)
    assert os.listdir(folder) == []


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o177])
@pytest.mark.parametrize("mode", [0o666, 0o660, 0o600])
def test_the_mode_is_what_was_asked_whatever_the_umask(sockets: Sockets, folder: Path, umask: int, mode: int) -> None:
    """And the umask of the process is never changed."""
    former = os.umask(umask)
    try:
        sockets.open(listening(f"unix:shop:mode={mode:o}"))
        assert os.umask(umask) == umask
    finally:
        os.umask(former)
    assert stat.S_IMODE(os.stat("shop").st_mode) == mode


def test_a_file_is_never_open_to_more_than_was_asked(
    sockets: Sockets, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even between the bind that makes it and the change of its mode."""
    modes: list[int] = []
    widen = socket_files.widen

    def look(directory: int, name: str, mode: int) -> os.stat_result:
        modes.append(stat.S_IMODE(os.stat(name).st_mode))
        return widen(directory, name, mode)

    monkeypatch.setattr(socket_files, "widen", look)
    former = os.umask(0)
    try:
        sockets.open(listening("unix:shop:mode=600"))
    finally:
        os.umask(former)
    assert modes == [0o600]


def test_a_stale_file_is_replaced(sockets: Sockets, folder: Path) -> None:
    """A server that was killed does not keep the next one from starting."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind("shop")
    sockets.open(listening("unix:shop"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("shop")


@pytest.mark.parametrize("backlog", [0, 5])
def test_a_file_in_use_is_left_alone(sockets: Sockets, folder: Path, backlog: int) -> None:
    """A server that answers keeps its path, also when its queue is full."""
    with socket.socket(socket.AF_UNIX) as holder, socket.socket(socket.AF_UNIX) as waiting:
        holder.bind("shop")
        holder.listen(backlog)
        waiting.connect("shop")
        assert refusal(sockets, "unix:shop") == (
            "unix:shop: cannot be opened (Address already in use): "
            "a running program answers there: stop it, or choose another path"
        )
        assert os.path.exists("shop")


def test_datagrams_and_streams_do_not_take_each_others_path(sockets: Sockets, folder: Path) -> None:
    """A socket of the other type is in use as well."""
    sockets.open(listening("unixgram:log"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.sendto(b"line", "log")
    other = Sockets()
    assert "a running program answers there" in refusal(other, "unix:log")
    assert "a running program answers there" in refusal(other, "unixgram:log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind("dead")
    other.open(listening("unixgram:dead"))
    other.close_all()
    assert os.listdir(folder) == ["log"]


@pytest.mark.parametrize("kind", ["file", "folder", "pipe", "link"])
def test_what_is_no_socket_is_left_alone(sockets: Sockets, folder: Path, kind: str) -> None:
    """A file, a directory, a pipe and a symbolic link, also one to a stale socket, are refused and unchanged."""
    if kind == "file":
        (folder / "shop").write_text("precious")
    elif kind == "folder":
        (folder / "shop").mkdir()
    elif kind == "pipe":
        os.mkfifo("shop")
    else:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind("target")
        os.symlink("target", "shop")
    before = os.lstat("shop")
    assert refusal(sockets, "unix:shop") == (
        "unix:shop: cannot be opened (File exists): what is there is not a socket: move it away, or choose another path"
    )
    assert os.lstat("shop").st_ino == before.st_ino


def test_a_missing_directory_is_said(sockets: Sockets, folder: Path) -> None:
    """With the directory to make."""
    assert refusal(sockets, "unix:no/shop") == (
        f"unix:no/shop: cannot be opened (No such file or directory): make the directory {folder}/no, "
        "or choose another path"
    )


def test_a_path_that_this_application_has_is_said_so(sockets: Sockets, folder: Path) -> None:
    """Relative or not."""
    sockets.open(listening("unix:shop"))
    assert refusal(sockets, f"unix:{folder}/shop").endswith(
        "this application has it open as unix:shop: write both the same way, or change one"
    )


def test_a_file_that_replaced_ours_stays(sockets: Sockets, folder: Path) -> None:
    """Only the very file that we made is removed."""
    endpoint = listening("unix:shop")
    sockets.open(endpoint)
    os.unlink("shop")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind("shop")
        sockets.close(endpoint)
        assert os.path.exists("shop")


def test_the_file_is_found_again_from_another_directory(sockets: Sockets, folder: Path) -> None:
    """A daemon that changes its directory still cleans up."""
    endpoint = listening("unix:shop")
    sockets.open(endpoint)
    os.chdir("/")
    sockets.close(endpoint)
    assert os.listdir(folder) == []


def test_abstract_sockets_have_no_file(sockets: Sockets, folder: Path) -> None:
    """The name after @ lives in the kernel only."""
    name = f"plait-test-{os.getpid()}"
    sockets.open(listening(f"unix:@{name}"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect("\0" + name)
    assert os.listdir(folder) == []
    assert "a running program answers there" in refusal(Sockets(), f"unix:@{name}")


def test_of_many_starters_one_wins(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a stale file, at the same moment: one binds, the others are told, and the winner is reachable."""
    # Those who look before they remove must meet: without the lock all would have looked before one removes.
    unlink = os.unlink
    monkeypatch.setattr(os, "unlink", lambda *path, **at: (threading.Event().wait(0.002), unlink(*path, **at)))
    for _ in range(5):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind("shop")
        starters = [Sockets() for _ in range(8)]
        barrier = threading.Barrier(len(starters))
        won: list[Sockets] = []
        lost: list[str] = []

        def start(
            one: Sockets,
            barrier: threading.Barrier = barrier,
            won: list[Sockets] = won,
            lost: list[str] = lost,
        ) -> None:
            barrier.wait()
            try:
                one.open(listening("unix:shop"))
            except BindError as error:
                lost.append(str(error))
            else:
                won.append(one)

        threads = [threading.Thread(target=start, args=(one,)) for one in starters]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        assert ["a running program answers there" in sentence for sentence in lost] == [True] * 7
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("shop")
        won[0].close_all()


def test_a_stranger_who_locks_the_directory_cannot_hang_us(
    sockets: Sockets, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait has an end, and the sentence names the directory."""
    monkeypatch.setattr(socket_files, "LOCK_TIMEOUT", 0.01)
    held = os.open(folder, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert refusal(sockets, "unix:shop") == (
        "unix:shop: cannot be opened (Resource temporarily unavailable): "
        f"another program holds a lock on the directory {folder}: stop it, or choose another path"
    )
    os.close(held)


@pytest.mark.root
def test_another_users_socket_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the right to ask whether anybody is there, it stays."""
    folder = tempfile.mkdtemp(dir="/tmp")  # pytest's own is closed to other users
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind("shop")
    os.chmod("shop", 0o600)
    # Everything is imported before the change to a user who may not read this checkout.
    code = """
import os
import plait.socket_files, plait.refusals
from plait.endpoints import Endpoint
from plait.errors import BindError
from plait.sockets import Sockets
os.chmod(".", 0o777)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
try:
    Sockets().open(Endpoint.listening("unix:shop"))
except BindError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert done.stdout == (
        "unix:shop: cannot be opened (Permission denied): "
        "what is there belongs to another user: remove it, or choose another path\n"
    ), done.stderr
    assert os.listdir() == ["shop"]
    shutil.rmtree(folder)


# ── sockets that were handed to us ──


def passed(*sockets: socket.socket) -> list[tuple[str, int]]:
    """What take_systemd() would give for these: duplicates, named by their place."""
    return [(f"name{place}", os.dup(one.fileno())) for place, one in enumerate(sockets)]


def test_systemd_sockets_are_found_by_index_and_by_name() -> None:
    """Several of one name are all taken."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        handed = [("web", os.dup(one.fileno())), ("api", os.dup(two.fileno())), ("web", os.dup(two.fileno()))]
        sockets = Sockets(systemd=handed)
        names = [each.getsockname() for each in sockets.open(listening("systemd:name=web"))]
        assert names == [one.getsockname(), two.getsockname()]
        (second,) = sockets.open(listening("systemd:domain=INET:index=1"))
        assert second.getsockname() == two.getsockname()
        assert fcntl.fcntl(second, fcntl.F_GETFL) & os.O_NONBLOCK
        sockets.close_all()


def test_a_systemd_socket_can_be_closed_and_opened_again() -> None:
    """Nobody passes it twice, so it is kept until the end."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        handed = passed(one)
        sockets = Sockets(systemd=handed)
        endpoint = listening("systemd:name=name0")
        sockets.open(endpoint)
        sockets.close(endpoint)
        sockets.open(endpoint)
        assert handed[0][1] in sockets.descriptors()
        sockets.close_all()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(handed[0][1])


def test_wrong_systemd_sockets_are_said() -> None:
    """An unknown name, an index too high, a datagram socket, one that does not listen, another domain, no socket."""
    reader, writer = os.pipe()
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.socket() as idle,
    ):
        handed = [*passed(one, datagrams, idle), ("pipe", reader), ("gone", 987)]
        sockets = Sockets(systemd=handed)
        numbers = dict(handed)
        wrong = {
            "systemd:name=web": "systemd passed no socket of that name, but name0, name1, name2, pipe, gone: "
            "set FileDescriptorName= in its unit",
            "systemd:index=7": "systemd passed 5 sockets: write an index below that, or a name=",
            "systemd:name=name1": f"descriptor {numbers['name1']} is not a stream socket: "
            "set ListenStream= in its unit",
            "systemd:name=name2": f"descriptor {numbers['name2']} does not listen: "
            "set Accept=no in its unit, or call listen() before it is passed",
            "systemd:domain=UNIX:name=name0": f"descriptor {numbers['name0']} is of the domain INET: "
            "write domain=INET, or leave it out",
            "systemd:name=pipe": f"descriptor {reader} is not a socket: "
            "pass a socket that listens, or write such as tcp:8080",
            "systemd:name=gone": "descriptor 987 is not open: pass a socket that listens, or write such as tcp:8080",
        }
        open_before = len(os.listdir("/proc/self/fd"))
        for text, sentence in wrong.items():
            assert refusal(sockets, text) == f"{listening(text)}: {sentence}"
        assert len(os.listdir("/proc/self/fd")) == open_before
        sockets.close_all()
    os.close(writer)
    assert refusal(Sockets(), "systemd:index=0") == (
        "systemd:index=0: systemd passed no sockets: start it from a .socket unit, or write such as tcp:8080"
    )


def test_a_descriptor_is_taken_by_its_number() -> None:
    """fd:N is a socket that whoever started us had open."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        number = os.dup(one.fileno())
        os.set_inheritable(number, True)
        sockets = Sockets()
        (taken,) = sockets.open(listening(f"fd:{number}"))
        assert taken.getsockname() == one.getsockname()
        assert not os.get_inheritable(number)
        assert refusal(sockets, "fd:987") == (
            "fd:987: descriptor 987 is not open: pass a socket that listens, or write such as tcp:8080"
        )
        sockets.close_all()


def test_a_unix_file_that_was_handed_to_us_stays(folder: Path) -> None:
    """Whoever bound it owns it: systemd, or the process that is being replaced."""
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("shop")
        one.listen()
        before = os.stat("shop").st_ino
        for sockets, text in (
            (Sockets(systemd=passed(one)), "systemd:name=name0"),
            (Sockets({"unix:shop": [one.dup()]}), "unix:shop"),
        ):
            sockets.open(listening(text))
            sockets.close(listening(text))
            sockets.close_all()
            assert os.stat("shop").st_ino == before


def test_inherited_sockets_are_used_instead_of_binding() -> None:
    """By the text of the endpoint; those that nobody asks for are closed at the end."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        text = f"tcp:{one.getsockname()[1]}:interface=127.0.0.1"
        mine, unused = one.dup(), one.dup()
        sockets = Sockets({text: [mine], "tcp:1": [unused]})
        assert sockets.open(listening(text)) == (mine,)
        assert {mine.fileno(), unused.fileno()} == sockets.descriptors()
        sockets.close_all()
        assert mine.fileno() == unused.fileno() == -1


def test_closing_never_ends_a_socket_that_others_share() -> None:
    """No shutdown(): a duplicate in another process, or here, goes on accepting; O_NONBLOCK stays."""
    sockets = Sockets()
    endpoint = listening("tcp:0:interface=127.0.0.1")
    (copy,) = sockets.get(endpoint)
    sockets.close_all()
    with copy, socket.create_connection(copy.getsockname(), 5):
        assert fcntl.fcntl(copy, fcntl.F_GETFL) & os.O_NONBLOCK


def test_the_variables_of_systemd_are_read_once() -> None:
    """In a process of its own: fds, names, and nothing left in the environment or for children."""
    code = """
import os
from plait.passed_sockets import take_systemd
pid = str(os.getpid())
environ = {"LISTEN_PID": pid, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:api", "LISTEN_PIDFDID": "1", "A": "b"}
print(take_systemd(environ), environ, os.get_inheritable(3), os.get_inheritable(4), take_systemd(environ))
environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
print(take_systemd(environ), environ)
"""
    command = f"exec 3>&1 4>&1; exec \"$0\" -c '{code}'"
    done = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "[('web', 3), ('api', 4)] {'A': 'b'} False False []",
        "[('unknown', 3)] {}",
    ], done.stderr


def test_variables_for_another_process_are_ignored_and_removed() -> None:
    """A wrapper's, or those of whoever started the shell."""
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"}
    assert take_systemd(environ) == []
    assert environ == {}


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"LISTEN_FDS": "two"}, "LISTEN_FDS=two: is not a number: leave the variable to systemd"),
        (
            {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "web"},
            "LISTEN_FDNAMES=web: names 1 of 2 sockets: leave the variable to systemd",
        ),
        (
            {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"},
            "LISTEN_FDS=1: descriptor 3 (web) is not open: leave the variable to systemd",
        ),
    ],
)
def test_variables_that_do_not_tell_the_truth_are_said(variables: dict[str, str], sentence: str) -> None:
    """A wrong count is an error at the start, not a surprise later; here, in a process with no descriptor 3."""
    code = f"""
import os
from plait.errors import BindError
from plait.passed_sockets import take_systemd
try:
    take_systemd({{"LISTEN_PID": str(os.getpid()), **{variables!r}}})
except BindError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == sentence + "\n", done.stderr
