"""What becomes of the connections of a real that is removed, or emptied: what both sides see of it."""

import threading

from .runner import test
from .sockets import Greeters, connect, is_reset, tcp_listener, udp_echo, udp_socket
from .testbed import PATIENCE, REALS, VIP, wait_for

LISTEN = f"{VIP}:7400"
SERVICE = (VIP, 7400)


def at(name, port=7000):
    return f"{REALS[name]}:{port}"


@test()
def both_sides_of_a_removed_reals_connection_are_reset(bed):
    servers = Greeters(bed, 7000)
    with bed.lbd() as lbd:
        lbd.add_service("tcp", LISTEN, servers.reals([1, 1]), "-s", "rr", "--on-removal", "reset")
        clients = dict(reversed(servers.greeted(SERVICE)) for _ in range(2 * 8))
        assert set(clients) == {"rs1", "rs2"}
        removed, stays = clients["rs2"], clients["rs1"]
        server, port = servers.other_end(removed), removed.getsockname()[1]
        lbd.ctl("del-real", "-t", LISTEN, "-r", at("rs2"))
        assert is_reset(removed, b"request"), "the client is not reset"
        assert is_reset(server), "the server is not reset"
        # It is gone, and nothing of it was sent on; the other real's goes on.
        assert lbd.connection(port) is None, lbd.connection(port)
        stays.sendall(b"request")
        assert servers.other_end(stays).recv(100) == b"request"
        assert lbd.json("status")["drops"].get("connection_reset", 0) >= 1
        assert servers.name(SERVICE) == "rs1"


@test()
def datagrams_of_a_removed_real_are_refused_once_and_go_elsewhere(bed):
    with udp_echo(bed, "rs1", 5000, lambda _: b"rs1"), udp_echo(bed, "rs2", 5000, lambda _: b"rs2"), bed.lbd() as lbd:
        lbd.add_service("udp", f"{VIP}:5000", [(at("rs1", 5000), 1), (at("rs2", 5000), 1)], "--on-removal", "reset")
        with udp_socket(bed, "client") as client:
            client.connect((VIP, 5000))
            client.send(b"who")
            first = client.recv(100).decode()
            lbd.ctl("del-real", "-u", f"{VIP}:5000", "-r", at(first, 5000))
            client.send(b"who")
            try:
                raise AssertionError(f"answered by {client.recv(100)}")
            except ConnectionRefusedError:
                pass
            client.send(b"who")
            assert client.recv(100).decode() == ({"rs1", "rs2"} - {first}).pop()
            # With `reschedule` not even one is lost.
            lbd.ctl("add-real", "-u", f"{VIP}:5000", "-r", at(first, 5000))
            lbd.ctl("edit-service", "-u", f"{VIP}:5000", "--on-removal", "reschedule")
            lbd.ctl("del-real", "-u", f"{VIP}:5000", "-r", at(({"rs1", "rs2"} - {first}).pop(), 5000))
            client.send(b"who")
            assert client.recv(100).decode() == first


@test()
def what_lives_when_the_time_to_drain_is_up_is_reset(bed):
    service = ("tcp", LISTEN, [(at("rs1"), 1)])
    drain = ("drain", "-t", LISTEN, "-r", at("rs1"), "--wait", 1, "--then", "reset")
    with tcp_listener(bed, "rs1", 7000) as listener, bed.lbd(services=[service]) as lbd:
        speaker = connect(bed, "client", SERVICE)
        speakers_server, _ = listener.accept()
        silent = connect(bed, "client", SERVICE)
        silents_server, _ = listener.accept()
        speakers_server.settimeout(PATIENCE)
        silents_server.settimeout(PATIENCE)
        stopping = threading.Event()

        def speak():
            while not stopping.wait(0.05):
                try:
                    speaker.sendall(b"still here")
                except OSError:
                    return

        thread = threading.Thread(target=speak)
        thread.start()
        try:
            done = lbd.lbctl(*drain)
            # It waits for ten seconds, in which a busy machine may not get so far.
            assert done.returncode == 0 or wait_for(lambda: lbd.json(*drain[:5])["live"] == 0), done.stderr
            # Where its client has been silent for a second, it hears of it when it speaks itself.
            assert is_reset(speakers_server, b"still here"), "the server of the client that speaks is not reset"
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the client that speaks is not reset"
        finally:
            stopping.set()
        # Whoever was silent hears of it when it speaks.
        assert is_reset(silents_server, b"anybody?"), "the silent client's server is not reset"
        assert is_reset(silent, b"anybody?"), "the silent client is not reset"
        assert not lbd.json("connections")["connections"], lbd.json("connections")
