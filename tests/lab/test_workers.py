"""Several workers: every connection is one worker's, whichever of them receives its packets."""

import socket
import struct
import threading
import time

from .families import BOTH
from .runner import test
from .sockets import connect, receive, udp_echo, udp_socket
from .testbed import PATIENCE, background, wait_for

# What would be counted, for about half of all packets, if a worker met packets of a connection that is another's.
STRAYS = ("no_connection", "real_without_connection", "no_service")


def web(ip):
    return "tcp", ip.at(ip.vip, 80), ip.pool([1, 1, 1])


def echoed(ip):
    return "udp", ip.at(ip.vip, 5000), ip.pool([1], 5000)


def total(status, key):
    return sum(worker[key] for worker in status["workers"])


def nothing_strays(status):
    drops = status["drops"]
    # Hosts of the test before may still send something on its connections.
    stray = sum(drops.get(reason, 0) for reason in STRAYS)
    assert stray <= 20 and stray < total(status, "rx_packets") / 10 and "hand_over_full" not in drops, status


@test(families=BOTH)
def every_connection_is_one_workers(bed):
    with bed.lbd(bed.config(workers=2), services=[web(bed.ip)]) as lbd:
        assert len(bed.curls(60)) == 60
        status, entries = lbd.json("status"), lbd.json("connections")["connections"]
        clients = [entry["client"] for entry in entries]
        # A connection that two workers knew would be listed twice, and counted twice.
        assert len(set(clients)) == len(clients) == lbd.service("stats")["conns"] == 60, clients
        shares = [sum(entry["worker"] == worker for entry in entries) for worker in (0, 1)]
        assert min(shares) >= 10, shares
        assert [worker["connections"] for worker in status["workers"]] == shares, status
        nothing_strays(status)
        # The kernel spreads by both endpoints, so that about half is to be handed over.
        assert 0.2 < total(status, "handed_over") / total(status, "rx_packets") < 0.8, status
        # A packet of the last connection may still be on its way from one to the other.
        both = lambda: [total(lbd.json("status"), key) for key in ("handed_over", "taken_over")]
        assert wait_for(lambda: len(set(both())) == 1), both()
        assert all("by software" in port["steering"] for port in status["ports"]), status


@test(families=BOTH)
def a_client_port_has_the_same_worker_each_time(bed):
    with bed.lbd(bed.config(workers=2), services=[web(bed.ip)]) as lbd:
        workers = {}
        for _ in range(3):
            for port in range(42000, 42010):
                client = connect(bed, "client", (bed.ip.vip, 80), port)
                # RST: the port is free again at once.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
        for entry in lbd.json("connections")["connections"]:
            workers.setdefault(entry["client"], set()).add(entry["worker"])
        assert len(workers) == 10 and all(len(of_client) == 1 for of_client in workers.values()), workers


@test(families=BOTH)
def nothing_is_reordered_at_speed(bed):
    """Sequence-numbered datagrams of many clients, echoed: in order there, and in order back."""
    # Enough clients that both workers have some; all windows together fit the rings between the workers.
    flows, numbers, window = 24, 3000, 16
    deadline = time.monotonic() + 200
    there, back, misplaced = {}, {}, []

    def follows(last, key, number):
        if number <= last.get(key, -1):
            misplaced.append((key, last[key], number))
        last[key] = number

    with bed.lbd(bed.config(workers=2), services=[echoed(bed.ip)]) as lbd, udp_socket(bed, "rs1", 5000, seconds=None) as server:
        def echo():
            try:
                while True:
                    data, peer = server.recvfrom(100)
                    follows(there, peer, struct.unpack("!Q", data)[0])
                    server.sendto(data, peer)
            except OSError:
                pass

        def client(udp):
            sent = received = 0
            while received < numbers and time.monotonic() < deadline:
                # A window keeps the sockets' buffers from overflowing; what is lost is not waited for long.
                while sent < received + window:
                    udp.send(struct.pack("!Q", sent))
                    sent += 1
                try:
                    number = struct.unpack("!Q", udp.recv(100))[0]
                    follows(back, udp.getsockname(), number)
                    received = number + 1
                except TimeoutError:
                    received = sent

        background(echo)
        sockets = [udp_socket(bed, "client", seconds=0.2) for _ in range(flows)]
        for udp in sockets:
            udp.connect((bed.ip.vip, 5000))
        threads = [threading.Thread(target=client, args=(udp,)) for udp in sockets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for udp in sockets:
            udp.close()
        status = lbd.json("status")
        assert not misplaced, misplaced[:5]
        assert len(there) == len(back) == flows and min(back.values()) > numbers / 2, (there, back)
        assert lbd.service("stats")["conns"] == flows
        assert min(worker["connections"] for worker in status["workers"]) > 0, status
        assert total(status, "handed_over") > 1000, status
        nothing_strays(status)


@test(families=BOTH)
def two_workers_share_devices_with_one_queue(bed):
    config = bed.config(workers=2)
    for port in config["port"]:
        port["device"] = port["device"].removesuffix(",qpairs=2")
    with udp_echo(bed, "rs1", 5000), bed.lbd(config, services=[web(bed.ip), echoed(bed.ip)]) as lbd:
        for _ in range(20):
            with udp_socket(bed, "client") as client:
                client.sendto(b"x" * 1000, (bed.ip.vip, 5000))
                assert receive(client) == (b"x" * 1000, (bed.ip.vip, 5000))
        assert len(bed.curls(20)) == 20
        assert bed.run("client", "ping", "-c", 2, "-i", "0.2", "-W", PATIENCE, bed.ip.vip)
        status = lbd.json("status")
        # One receives what clients send, the other what reals send; both have connections, and each sends by the other.
        assert all(worker["rx_packets"] > 0 and worker["connections"] > 0 for worker in status["workers"]), status
        assert all("by software" in port["steering"] for port in status["ports"]), status
        nothing_strays(status)


@test(families=BOTH)
def commands_hold_on_every_worker(bed):
    with bed.lbd(bed.config(workers=2), services=[web(bed.ip)]) as lbd:
        bed.curls(30)
        assert lbd.service("stats")["conns"] == 30
        zeros = lambda stats: (stats["conns"], stats["in_packets"], stats["out_bytes"]) == (0, 0, 0)
        # Again where the last connection's last packet came after it.
        assert wait_for(lambda: lbd.ctl("zero") == "" and zeros(lbd.service("stats"))), lbd.service("stats")
        for name in ("rs1", "rs2"):
            assert lbd.lbctl("drain", "-t", bed.ip.at(bed.ip.vip, 80), "-r", bed.ip.real(name, 80), "--wait", PATIENCE).returncode == 0
        # No worker picks a drained real from the next packet on.
        assert set(bed.curls(20)) == {"rs3"}
        lbd.ctl("timeouts", "--set", 60, 0, 0)
        clients = [connect(bed, "client", (bed.ip.vip, 80)) for _ in range(24)]
        ports = {client.getsockname()[1] for client in clients}
        entries = [e for e in lbd.json("connections")["connections"] if int(e["client"].rsplit(":", 1)[1]) in ports]
        assert {entry["worker"] for entry in entries} == {0, 1} and len(entries) == len(clients), entries
        assert all(20 < entry["expires_s"] <= 60 for entry in entries), entries
        assert wait_for(lambda: lbd.service()["reals"][-1]["active"] == len(clients)), lbd.service()
        for client in clients:
            client.close()
        lbd.ctl("del-service", "-t", bed.ip.at(bed.ip.vip, 80))
        try:
            connect(bed, "client", (bed.ip.vip, 80))
            raise AssertionError("connected to a service that is gone")
        except ConnectionRefusedError:
            pass
