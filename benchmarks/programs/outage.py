"""
A server that goes away and comes back, in a network of its own so that the kernel counts only its clients' attempts.

Arguments: how many clients, seconds away, the clients' command.  Prints its figures as JSON.
"""

import bisect
import ctypes
import fcntl
import json
import os
import selectors
import socket
import struct
import subprocess
import sys
import time

count, away, command = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
PORT = 20_000


def isolate():
    """Enter a network of our own, as root or in a user namespace; without one, count the whole machine's attempts."""
    library = ctypes.CDLL(None, use_errno=True)
    network, user = 0x40000000, 0x10000000
    if library.unshare(network) and library.unshare(network | user):
        print("no network namespace here: the attempts of the whole machine are counted", file=sys.stderr)
        return
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running


def attempts():
    """Return how many connections were tried so far, refused ones included (RFC 4022, tcpActiveOpens)."""
    with open("/proc/self/net/snmp") as file:
        names, numbers = (line.split() for line in file if line.startswith("Tcp:"))
    return int(numbers[names.index("ActiveOpens")])


def cpu(pid):
    """Return the processor time in seconds of a process and its threads."""
    threads = os.listdir(f"/proc/{pid}/task")
    return sum(int(open(f"/proc/{pid}/task/{thread}/schedstat").read().split()[0]) for thread in threads) / 1e9


class Server:
    """Accepts, and notes when, and how many attempts there had been every 5 ms."""

    def __init__(self):
        self.times, self.tried = [], []

    def open(self):
        self.links, self.accepted = [], []
        self.listener = socket.create_server(("127.0.0.1", PORT), backlog=4096)
        self.listener.setblocking(False)

    def close(self):
        self.listener.close()
        for link in self.links:
            link.close()

    def look(self):
        self.times.append(time.monotonic())
        self.tried.append(attempts())

    def accept(self, limit):
        with selectors.DefaultSelector() as selector:
            selector.register(self.listener, selectors.EVENT_READ)
            end = time.monotonic() + limit
            while len(self.links) < count and time.monotonic() < end and client.poll() is None:
                selector.select(0.005)
                try:
                    while True:
                        self.links.append(self.listener.accept()[0])
                        self.accepted.append(time.monotonic())
                except BlockingIOError:
                    self.look()
        if client.poll() is not None:
            raise SystemExit(1)  # it has said why
        if len(self.links) < count:
            raise SystemExit(f"only {len(self.links)} of {count} clients connected in {limit:g} s")

    def worst(self, window):
        """Return the most attempts within any so many seconds."""
        most = 0
        for first, at in enumerate(self.times):
            last = bisect.bisect_right(self.times, at + window) - 1
            most = max(most, self.tried[last] - self.tried[first])
        return most


isolate()
client = subprocess.Popen([*command, str(PORT), str(count)])
os.sched_setaffinity(0, {os.cpu_count() - 1})
try:
    server = Server()
    server.open()
    server.accept(60)
    time.sleep(1)
    before, used = attempts(), cpu(client.pid)
    server.times, server.tried = [], []
    server.close()
    gone = time.monotonic()
    while time.monotonic() < gone + away:
        server.look()
        time.sleep(0.005)
    server.open()
    back = time.monotonic()
    server.accept(120)
    used = cpu(client.pid) - used
finally:
    client.kill()
    client.wait()
waits = [at - back for at in server.accepted]
figures = {
    "half": waits[count // 2 - 1],
    "all": waits[-1],
    "worst": 100 * server.worst(0.1) / count,
    "attempts": (attempts() - before) / count,
    "cpu": used,
}
print(json.dumps(figures), flush=True)
