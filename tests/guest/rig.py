"""lbd in the guest, and many clients' datagrams and connections through it."""

import contextlib
import json
import random
import select
import socket
import struct

from tests.lab.capture import ones_complement_sum
from tests.lab.sockets import connect, reset, udp_socket
from tests.lab.testbed import CLIENT, MACS, REALS, VIP, background, to_toml

SOCKET = "/run/lbd.sock"
CONFIG, LOG = "/tmp/lbd.toml", "/tmp/lbd.log"
ECHO_PORT, WEB_PORT = 5000, 80
IPV4 = 0x0800
# Emulated, on a busy machine.
START_SECONDS = 60


def config(pair, workers, mode, side):
    return {
        # Four of the four cores at most; yielding leaves the host some of its two.
        "eal": {"main_lcore": 0, "workers": list(range(4 - workers, 4)), "hugepages": "require", "memory_mb": 256,
                "idle": "yield"},
        "buffers": {"count": 2048, "cache": 64},
        "control": {"socket": SOCKET},
        "port": [
            {"name": "vip0", "side": side, "device": pair.address("vip0"), "addresses": [f"{VIP}/24"], "gateway": CLIENT},
            {"name": "dip0", "side": "dip", "device": pair.address("dip0"), "addresses": ["10.0.0.8/24"]},
        ],
        "connections": {"capacity": 65536},
        "steering": {"mode": mode},
    }


class Rig:
    """What a check gets."""

    def __init__(self, bed, guest):
        self.bed, self.guest = bed, guest
        # Replies to made-up clients end at the client's link.
        bed.run("client", "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")

    def try_lbd(self, settings):
        """Starts lbd with a configuration; whether it is ready, before it ends or the time is up."""
        self.stop_lbd()
        self.guest.write(CONFIG, to_toml(settings))
        said = self.guest.run(
            f"lbd --config {CONFIG} >{LOG} 2>&1 & echo $! >/tmp/lbd.pid; for i in $(seq {START_SECONDS * 2}); do grep -q "
            f"ready$ {LOG} && echo it is ready && exit; [ -e /proc/$(cat /tmp/lbd.pid) ] || exit 0; sleep 0.5; done",
            timeout=2 * START_SECONDS)
        return "it is ready" in said

    @contextlib.contextmanager
    def lbd(self, workers, mode="auto", side="vip", change=lambda settings: None):
        """lbd with `workers` workers and two services: a web server's and that of the UDP echo server which it yields.
        `change` may change the configuration before."""
        settings = config(self.guest.plugged, workers, mode, side)
        change(settings)
        assert self.try_lbd(settings), f"lbd is not ready\n{self.log()}"
        with self.serving() as server:
            yield server

    @contextlib.contextmanager
    def serving(self):
        """Those services for an lbd that runs already; it is stopped at the end."""
        for letter, port in (("-t", WEB_PORT), ("-u", ECHO_PORT)):
            self.lbctl(f"add-service {letter} {VIP}:{port}")
            self.lbctl(f"add-real {letter} {VIP}:{port} -r {REALS['rs1']}:{port} -m")
        with contextlib.closing(EchoServer(self.bed)) as server:
            yield server
        self.stop_lbd()

    def stop_lbd(self):
        self.guest.run("[ -e /tmp/lbd.pid ] || exit 0; pid=$(cat /tmp/lbd.pid); rm /tmp/lbd.pid; kill $pid 2>/dev/null; "
                       "for i in $(seq 40); do [ -e /proc/$pid ] || exit 0; sleep 0.5; done; kill -9 $pid")

    def lbctl(self, words):
        return self.guest.run(f"lbctl --socket {SOCKET} {words}")

    def status(self):
        return json.loads(self.lbctl("--output json status"))

    def log(self):
        return self.guest.run(f"cat {LOG}")

    # For the runner of the lab's tests.
    def reset(self):
        pass

    def logs(self):
        with contextlib.suppress(OSError, AssertionError):
            return f"--- lbd.log\n{self.log()}\n{self.guest.logs()}"
        return self.guest.logs()


def random_endpoints(count, seed):
    """Unicast addresses of other networks than the lab's, and ports."""
    draw, found = random.Random(seed), set()
    while len(found) < count:
        address = draw.randrange(0x01000000, 0xDF000000)
        if address >> 24 not in (10, 127) and address >> 16 not in (0xC0A8, 0xA9FE):
            found.add((address, draw.randrange(1, 65536)))
    return sorted(found)


def neighbouring_endpoints(count):
    """Addresses and ports in a row, which differ in a few low bits."""
    return [(0x14000000 + number // 64, 40000 + number % 64) for number in range(count)]


def datagram(client, number):
    """The frame of a datagram to the echo service; UDP over IPv4 needs no checksum."""
    (address, port), data = client, struct.pack("!Q", number)
    head = struct.pack("!BBHHHBBHI4s", 0x45, 0, 28 + len(data), number & 0xFFFF, 0, 64, socket.IPPROTO_UDP, 0, address,
                       socket.inet_aton(VIP))
    head = head[:10] + struct.pack("!H", 0xFFFF - ones_complement_sum(head)) + head[12:]
    macs = bytes.fromhex((MACS["vip0"] + MACS["client"]).replace(":", ""))
    return macs + struct.pack("!H", IPV4) + head + struct.pack("!HHHH", port, ECHO_PORT, 8 + len(data), 0) + data


class EchoServer:
    """On rs1: answers each datagram, and can send its client the answer once more."""

    def __init__(self, bed):
        self.udp = udp_socket(bed, "rs1", ECHO_PORT, seconds=None)
        self.clients = {}
        background(self._serve)

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                data, client = self.udp.recvfrom(100)
                if not data:
                    return
                self.clients[data] = client
                self.udp.sendto(data, client)

    def push(self, number):
        data = struct.pack("!Q", number)
        self.udp.sendto(data, self.clients[data])

    def close(self):
        # Wakes the thread, which would keep the port; that the socket is not connected is an error all the same.
        with contextlib.suppress(OSError):
            self.udp.shutdown(socket.SHUT_RDWR)
        self.udp.close()


def exchange(bed, clients, push=None, window=48, quiet=1.0, rounds=10):
    """Each client sends a datagram and gets it back; or gets one that `push` makes the server send. What is lost is
    sent again, a few times.

    Returns the clients that got none, and how many datagrams were sent.
    """
    waiting, sent = dict(enumerate(clients)), 0
    with bed.inside("client"):
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(IPV4))
    with wire:
        wire.bind(("eth0", IPV4))
        for _ in range(rounds):
            queue, flying = list(waiting), set()
            while queue or flying:
                while queue and len(flying) < window:
                    number = queue.pop()
                    if push:
                        push(number)
                    else:
                        wire.send(datagram(clients[number], number))
                    flying.add(number)
                    sent += 1
                if not select.select([wire], [], [], quiet)[0]:
                    flying.clear()
                    continue
                number = answered(wire.recv(2048), clients)
                flying.discard(number)
                waiting.pop(number, None)
            if not waiting:
                break
    return [clients[number] for number in waiting], sent


def answered(frame, clients):
    """The number in a frame that is an answer to its client; else None."""
    if len(frame) < 50 or frame[23] != socket.IPPROTO_UDP or frame[26:30] != socket.inet_aton(VIP):
        return None
    address, = struct.unpack_from("!I", frame, 30)
    source, port = struct.unpack_from("!HH", frame, 34)
    number, = struct.unpack_from("!Q", frame, 42)
    is_its = source == ECHO_PORT and number < len(clients) and clients[number] == (address, port)
    return number if is_its else None


def requests(bed, count, first_port=20000):
    """HTTP requests, each over a connection from a port of its own."""
    for port in range(first_port, first_port + count):
        connection = connect(bed, "client", (VIP, WEB_PORT), port, seconds=20)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
        answer = connection.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        reset(connection)
