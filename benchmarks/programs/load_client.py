"""What load.c does, for machines without a C compiler; slower, so it may itself be what is measured."""

import itertools
import selectors
import socket
import sys
import time

mode, port, links, size, window, seconds = sys.argv[1], *map(int, sys.argv[2:6]), float(sys.argv[6])
reopen = mode == "accept"
message = b"x" * size * (1 if reopen else window)
poller = selectors.DefaultSelector()
sources = (f"127.0.1.{number}" for number in itertools.cycle(range(1, 251)))
count = errors = 0


def dial():
    link = socket.socket()
    link.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.bind((next(sources), 0))
    link.connect(("127.0.0.1", port))
    link.sendall(message)
    poller.register(link, selectors.EVENT_READ, [0])


for _ in range(links):
    dial()
begin, measuring = time.perf_counter() + 0.3, False
while time.perf_counter() < begin + seconds:
    for key, _ in poller.select(0.1):
        link, received = key.fileobj, key.data
        try:
            data = link.recv(65536)
            if not data:
                raise ConnectionResetError
            received[0] += len(data)
            whole, received[0] = divmod(received[0], size)
            count += whole
            if whole and not reopen:
                link.sendall(b"x" * size * whole)
        except OSError:
            errors += 1
            whole = 1
        if whole and (reopen or not data):
            poller.unregister(link)
            link.close()
            dial()
    if not measuring and time.perf_counter() >= begin:
        measuring, count, errors = True, 0, 0
        print("go", flush=True)
print("done", count, errors, flush=True)
