"""A web worker that accepts on a socket it was given: python3 web.py FD"""

import os
import signal
import socket
import sys

signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))

listener = socket.socket(fileno=int(sys.argv[1]))
listener.setblocking(True)
host, port = listener.getsockname()
print(f"worker {os.getpid()} answers at http://{host}:{port}/", flush=True)

while True:
    connection, _ = listener.accept()
    with connection:
        try:
            connection.settimeout(5)  # A client that connects and says nothing must not hold us up.
            request = b""
            while b"\r\n\r\n" not in request and (data := connection.recv(65536)):
                request += data
            body = f"hello from worker {os.getpid()}\n".encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall(head.encode() + body)
        except OSError as error:
            print(f"worker {os.getpid()}: {error}", file=sys.stderr, flush=True)
