"""Connection states by real TCP phases, and draining. Expected states were recorded from IPVS."""

import socket

from .families import BOTH
from .runner import test
from .sockets import connect, receive, reset, tcp_listener, udp_echo, udp_socket
from .testbed import PATIENCE, wait_for


def service(bed, protocol, port, real_port):
    return protocol, bed.ip.at(bed.ip.vip, port), [(bed.ip.real("rs1", real_port), 1)]


def named(bed, port, real_port):
    """The words by which a command names the only real of a TCP service."""
    return "-t", bed.ip.at(bed.ip.vip, port), "-r", bed.ip.real("rs1", real_port)


def state_becomes(lbd, port, state, longest):
    """The connection from client port `port` is in `state` and expires within its timeout, `longest` seconds. It may have
    been so for some seconds where the machine is busy, but for less than would make it another state's timeout."""
    entry = wait_for(lambda: (e := lbd.connection(port)) and e["state"] == state and e)
    assert entry, f"expected {state}, found {lbd.connection(port)}"
    assert longest * 2 / 3 - 5 <= entry["expires_s"] <= longest, entry


def counts(lbd):
    real = lbd.service()["reals"][0]
    return real["active"], real["inactive"]


@test(families=BOTH)
def the_client_closes_first(bed):
    with tcp_listener(bed, "rs1", 7000) as listener, bed.lbd(services=[service(bed, "tcp", 7400, 7000)]) as lbd:
        client = connect(bed, "client", (bed.ip.vip, 7400), 41002)
        server, peer = listener.accept()
        assert peer[:2] == (bed.ip.client, 41002)
        state_becomes(lbd, 41002, "ESTABLISHED", 900)
        assert wait_for(lambda: counts(lbd) == (1, 0)), counts(lbd)
        client.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        server.close()
        state_becomes(lbd, 41002, "TIME_WAIT", 120)
        assert wait_for(lambda: counts(lbd) == (0, 1)), counts(lbd)
        client.close()


@test(families=BOTH)
def the_server_closes_first(bed):
    with tcp_listener(bed, "rs1", 7000) as listener, bed.lbd(services=[service(bed, "tcp", 7400, 7000)]) as lbd:
        client = connect(bed, "client", (bed.ip.vip, 7400), 41003)
        server, _ = listener.accept()
        server.close()
        state_becomes(lbd, 41003, "FIN_WAIT", 120)
        assert wait_for(lambda: counts(lbd) == (0, 1)), counts(lbd)
        client.close()
        state_becomes(lbd, 41003, "TIME_WAIT", 120)


@test(families=BOTH)
def either_side_resets(bed):
    with tcp_listener(bed, "rs1", 7000) as listener, bed.lbd(services=[service(bed, "tcp", 7400, 7000)]) as lbd:
        client = connect(bed, "client", (bed.ip.vip, 7400), 41004)
        server, _ = listener.accept()
        reset(client)
        state_becomes(lbd, 41004, "CLOSE", 10)
        server.close()
        client = connect(bed, "client", (bed.ip.vip, 7400), 41005)
        server, _ = listener.accept()
        reset(server)
        state_becomes(lbd, 41005, "CLOSE", 10)
        try:
            client.recv(1)
            raise AssertionError("the client did not see the server's reset")
        except ConnectionResetError:
            client.close()


@test(families=BOTH)
def the_real_refuses(bed):
    with bed.lbd(services=[service(bed, "tcp", 7402, 9999)]) as lbd:
        try:
            connect(bed, "client", (bed.ip.vip, 7402), 41006)
            raise AssertionError("connected to a closed port")
        except ConnectionRefusedError:
            pass
        state_becomes(lbd, 41006, "CLOSE", 10)


@test(families=BOTH)
def a_silent_real_leaves_syn_recv(bed):
    config = bed.config()
    # Nobody has this MAC: the SYN leaves and is lost.
    nobody = {"IPv4": "10.0.0.99", "IPv6": "fd00:20::99"}[bed.ip.name]
    config["neighbour"] = [{"address": nobody, "mac": "02:00:00:00:00:99"}]
    with bed.lbd(config, services=[("tcp", bed.ip.at(bed.ip.vip, 7403), [(bed.ip.at(nobody, 80), 1)])]) as lbd:
        try:
            connect(bed, "client", (bed.ip.vip, 7403), 41007, seconds=0.5)
            raise AssertionError("connected to nobody")
        except TimeoutError:
            pass
        state_becomes(lbd, 41007, "SYN_RECV", 60)
        assert counts(lbd) == (1, 0)


@test(families=BOTH)
def a_udp_connection(bed):
    with udp_echo(bed, "rs1", 5000), bed.lbd(services=[service(bed, "udp", 5000, 5000)]) as lbd:
        with udp_socket(bed, "client", 41008) as client:
            client.sendto(b"hello", (bed.ip.vip, 5000))
            assert receive(client) == (b"hello", (bed.ip.vip, 5000))
        state_becomes(lbd, 41008, "UDP", 300)


@test(families=BOTH)
def timeouts_are_changed_while_running(bed):
    with bed.lbd(services=[service(bed, "tcp", 80, 80)]) as lbd:
        assert lbd.ctl("timeouts").strip() == "Timeout (tcp tcpfin udp): 900 120 300"
        lbd.ctl("timeouts", "--set", 60, 0, 0)
        assert lbd.ctl("timeouts").strip() == "Timeout (tcp tcpfin udp): 60 120 300"
        client = connect(bed, "client", (bed.ip.vip, 80), 41009)
        state_becomes(lbd, 41009, "ESTABLISHED", 60)
        client.close()


@test(families=BOTH)
def draining_waits_for_the_last_connection(bed):
    real = named(bed, 7400, 7000)
    with tcp_listener(bed, "rs1", 7000) as listener, bed.lbd(services=[service(bed, "tcp", 7400, 7000)]) as lbd:
        client = connect(bed, "client", (bed.ip.vip, 7400), 41010)
        server, _ = listener.accept()
        assert "1" in lbd.ctl("drain", *real)
        assert lbd.service()["reals"][0]["weight"] == 0
        assert lbd.lbctl("drain", *real, "--wait", 1).returncode == 1
        # What is established lives on.
        client.sendall(b"still here")
        assert server.recv(100) == b"still here"
        try:
            connect(bed, "client", (bed.ip.vip, 7400), 41011)
            raise AssertionError("a drained real got a new connection")
        except ConnectionRefusedError:
            pass
        client.close()
        server.close()
        assert lbd.lbctl("drain", *real, "--wait", PATIENCE).returncode == 0


@test(families=BOTH)
def a_removed_reals_connection_comes_back_with_it(bed):
    real = named(bed, 7400, 7000)
    with tcp_listener(bed, "rs1", 7000) as listener, bed.lbd(services=[service(bed, "tcp", 7400, 7000)]) as lbd:
        client = connect(bed, "client", (bed.ip.vip, 7400), 41012)
        server, _ = listener.accept()
        lbd.ctl("del-real", *real)
        # Replies are still translated ...
        server.sendall(b"reply")
        assert client.recv(100) == b"reply"
        # ... packets towards the removed real are dropped and counted ...
        client.sendall(b"request")
        assert wait_for(lambda: lbd.json("status")["drops"].get("real_removed", 0) > 0)
        # ... until it is added again: the retransmission arrives.
        lbd.ctl("add-real", *real)
        assert server.recv(100) == b"request"
        client.close()
        server.close()
