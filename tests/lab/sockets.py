"""Sockets on the lab's hosts: servers in threads of the test's process, clients by hand."""

import contextlib
import http.server
import socket
import socketserver
import struct
import threading
import time

from .families import IPV4, IPV6
from .testbed import PATIENCE, REALS, background

# The level and the name of what says whether a packet may be cut, and its value for "yes".
MTU_DISCOVER = {IPV4: (socket.IPPROTO_IP, 10), IPV6: (socket.IPPROTO_IPV6, 23)}
PMTUDISC_DONT = 0
# After how many seconds without an answer a request is given up.
HANGS = 20


def tcp_listener(bed, host, port, backlog=64):
    """A listening socket on `host`."""
    with bed.inside(host):
        listener = socket.create_server(("", port), family=bed.ip.domain, backlog=backlog)
    listener.settimeout(PATIENCE)
    return listener


def connect(bed, host, address, port=None, seconds=PATIENCE, source=None):
    """A TCP connection from `host`; `port` is the source port, `source` the address."""
    with bed.inside(host):
        client = socket.socket(bed.ip.domain, socket.SOCK_STREAM)
    client.settimeout(seconds)
    if port or source:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind((source or "", port or 0))
    try:
        client.connect(address)
    except BaseException:
        client.close()
        raise
    return client


def udp_socket(bed, host, port=0, seconds=PATIENCE):
    with bed.inside(host):
        udp = socket.socket(bed.ip.domain, socket.SOCK_DGRAM)
    if bed.ip is IPV6:
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
    udp.bind(("", port))
    udp.settimeout(seconds)
    return udp


def receive(udp, size=65535):
    """A datagram, and the address and port that it comes from."""
    data, peer = udp.recvfrom(size)
    return data, peer[:2]


def reset(connection):
    """Closes with RST instead of FIN."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def is_reset(connection, says=b""):
    """Whether the connection's end is a RST, not a FIN, once it has said this and what came before has been read."""
    try:
        connection.sendall(says)
        while connection.recv(4096):
            pass
        return False
    except (ConnectionResetError, BrokenPipeError):
        return True


class Greeters:
    """A server on each real that says the real's name to every client, and keeps the connections open."""

    def __init__(self, bed, port, names=tuple(REALS)):
        self.bed, self.port = bed, port
        # By the client's endpoint.
        self.accepted = {}
        for name in names:
            background(self.serve, name, tcp_listener(bed, name, port))

    def serve(self, name, listener):
        listener.settimeout(None)
        while True:
            connection, peer = listener.accept()
            connection.settimeout(PATIENCE)
            self.accepted[peer[:2]] = connection
            with contextlib.suppress(OSError):
                connection.sendall(name.encode() + b"\n")

    def reals(self, weights):
        """The servers as the reals of a service."""
        return self.bed.ip.pool(weights, self.port)

    def greeted(self, address, port=None, source=None):
        """A new connection, and the name of the real that it is with."""
        client = connect(self.bed, "client", address, port, source=source)
        name = b""
        while not name.endswith(b"\n"):
            part = client.recv(100)
            assert part, "the server closed instead of saying its name"
            name += part
        return client, name.decode().strip()

    def name(self, address, port=None, source=None):
        """The name of the real that a new connection gets, which is reset then; None: it is refused."""
        try:
            client, name = self.greeted(address, port, source)
        except ConnectionRefusedError:
            return None
        reset(client)
        return name

    def other_end(self, client):
        """The server's socket of a client's connection."""
        return self.accepted[client.getsockname()[:2]]


def may_be_cut(udp):
    """What the socket sends leaves without DF; over IPv6, only the host that sends it cuts it."""
    family = IPV6 if udp.family == socket.AF_INET6 else IPV4
    udp.setsockopt(*MTU_DISCOVER[family], PMTUDISC_DONT)


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

    class Server(socketserver.ThreadingTCPServer):
        address_family = bed.ip.domain
        # Connections of the test before may still be in TIME_WAIT.
        allow_reuse_address = True

    with bed.inside(host):
        server = Server(("", port), Handler)
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
            with socket.socket(self.bed.ip.domain, socket.SOCK_STREAM) as client:
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
