"""Sockets on the lab's hosts: servers in threads of the test's process, clients by hand."""

import contextlib
import http.server
import socket
import socketserver
import struct
import threading
import time

from .testbed import PATIENCE, background

IP_MTU_DISCOVER, IP_PMTUDISC_DONT = 10, 0
# After how many seconds without an answer a request is given up.
HANGS = 20


def tcp_listener(bed, host, port, backlog=64):
    """A listening socket on `host`."""
    with bed.inside(host):
        listener = socket.create_server(("", port), backlog=backlog)
    listener.settimeout(PATIENCE)
    return listener


def connect(bed, host, address, port=None, seconds=PATIENCE):
    """A TCP connection from `host`; `port` is the source port."""
    with bed.inside(host):
        client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(seconds)
    if port:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("", port))
    try:
        client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def udp_socket(bed, host, port=0, seconds=PATIENCE):
    with bed.inside(host):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("", port))
    udp.settimeout(seconds)
    return udp


def reset(connection):
    """Closes with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def may_be_cut(udp):
    """What the socket sends leaves without DF."""
    udp.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)


@contextlib.contextmanager
def udp_echo(bed, host, port, answer=lambda data: data, prepare=lambda udp: None):
    """Sends each datagram, or what `answer` makes of it, back to where it came from; `prepare` may set options of the socket."""
    server = udp_socket(bed, host, port, seconds=None)
    prepare(server)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                data, peer = server.recvfrom(65535)
                server.sendto(answer(data), peer)

    background(serve)
    try:
        yield
    finally:
        server.close()


@contextlib.contextmanager
def http_server(bed, host, port, text):
    """A small web server, where nginx does not run."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = f"{text} {self.client_address[0]}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with bed.inside(host):
        server = socketserver.ThreadingTCPServer(("", port), Handler)
    background(server.serve_forever)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


class Load:
    """Clients that make one request after the other over new connections, and keep count of what went wrong."""

    def __init__(self, bed, address, clients=8):
        self.bed, self.address = bed, address
        self.answers, self.failures = {}, []
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [background(self.client) for _ in range(clients)]

    def client(self):
        with self.bed.inside("client"):
            while not self.stopping.is_set():
                self.request()

    def request(self):
        port = 0
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
                client.settimeout(HANGS)
                client.connect(self.address)
                port = client.getsockname()[1]
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = client.makefile("rb").read()
            status, _, rest = answer.partition(b"\r\n")
            assert status.split()[1] == b"200", answer
            name = rest.split()[-1].decode()
            with self.lock:
                self.answers[name] = self.answers.get(name, 0) + 1
        except (OSError, AssertionError, IndexError) as error:
            with self.lock:
                self.failures.append((port, repr(error)))
            time.sleep(0.01)

    def total(self):
        return sum(self.answers.values())

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(HANGS + PATIENCE)
            assert not thread.is_alive(), "a client hangs"
