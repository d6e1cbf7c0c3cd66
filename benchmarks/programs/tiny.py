"""What tiny.c does, for machines without a C compiler.  Argument: port"""

import os
import socket
import sys

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=64)
while True:
    client, _ = listener.accept()
    client.sendall(f"{os.getpid()}\n".encode())
    client.close()
