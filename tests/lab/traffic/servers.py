"""What runs on each real: echoes lines and datagrams, and answers one request for each connection."""

import contextlib
import select
import socket

ECHO, ANSWER, DATAGRAMS = 7000, 7001, 7002
BACKLOG = 4096


def bound(domain, kind, port):
    server = socket.socket(domain, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if domain == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind(("", port))
    server.setblocking(False)
    return server


class Lines:
    """On ECHO, sends back what comes, on as many connections as there are; on ANSWER, says its name and what the request
    said, and closes."""

    def __init__(self, loop, name, domains):
        self.loop, self.name = loop, name.encode()
        self.listeners = []
        for domain in domains:
            for port, serve in ((ECHO, self.echo), (ANSWER, self.answer)):
                listener = bound(domain, socket.SOCK_STREAM, port)
                listener.listen(BACKLOG)
                self.listeners.append(listener)
                loop.watch(listener, select.EPOLLIN, lambda listener=listener, serve=serve: self.accept(listener, serve))

    def accept(self, listener, serve):
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = listener.accept()
                connection.setblocking(False)
                self.loop.watch(connection, select.EPOLLIN, lambda connection=connection: serve(connection))

    def echo(self, connection):
        try:
            data = connection.recv(4096)
            # A client has one short line under way: there is room.
            if data and connection.send(data) == len(data):
                return
        except OSError:
            pass
        self.loop.close(connection)

    def answer(self, connection):
        with contextlib.suppress(OSError):
            request = connection.recv(4096)
            connection.send(self.name + b" " + request)
        self.loop.close(connection)


class Datagrams:
    """On DATAGRAMS, sends back each with its name in front."""

    def __init__(self, loop, name, domains):
        self.name = name.encode() + b" "
        self.sockets = [bound(domain, socket.SOCK_DGRAM, DATAGRAMS) for domain in domains]
        for udp in self.sockets:
            loop.watch(udp, select.EPOLLIN, lambda udp=udp: self.echo(udp))

    def echo(self, udp):
        # Also an ICMP error about an earlier one.
        with contextlib.suppress(OSError):
            while True:
                data, peer = udp.recvfrom(2048)
                udp.sendto(self.name + data, peer)
