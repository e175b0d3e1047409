"""Changes while a load runs: no request on the reals that stay fails."""

import random

from .runner import test
from .sockets import Load, connect, tcp_listener
from .testbed import PATIENCE, REALS, VIP, wait_for

LISTEN = f"{VIP}:80"
RS1, RS2, RS3 = (f"{address}:80" for address in REALS.values())


@test()
def reals_come_and_go_and_weights_change(bed):
    with bed.lbd(services=[("tcp", LISTEN, [(RS1, 1), (RS2, 1)])]) as lbd:
        load = Load(bed, (VIP, 80))
        assert wait_for(lambda: load.total() > 100), load.failures
        lbd.ctl("add-real", "-t", LISTEN, "-r", RS3)
        assert wait_for(lambda: load.answers.get("rs3")), "the added real gets no connection"
        for _ in range(200):
            lbd.ctl("edit-real", "-t", LISTEN, "-r", random.choice([RS1, RS2, RS3]), "-w", random.randint(1, 10))
        lbd.ctl("del-real", "-t", LISTEN, "-r", RS3)
        before = load.total()
        assert wait_for(lambda: load.total() > before + 100)
        load.stop()
        # Requests that were under way on the removed real may hang; each of the clients has at most one.
        on_others = [(lbd.connection(port), error) for port, error in load.failures]
        on_others = [failure for failure in on_others if not failure[0] or failure[0]["real"] != RS3]
        assert not on_others, on_others
        assert len(load.failures) <= len(load.threads), load.failures
        assert set(load.answers) == {"rs1", "rs2", "rs3"}


@test()
def draining_before_removal_fails_nothing(bed):
    with bed.lbd(services=[("tcp", LISTEN, [(RS1, 1), (RS2, 1), (RS3, 1)])]) as lbd:
        load = Load(bed, (VIP, 80))
        assert wait_for(lambda: load.total() > 100), load.failures
        for _ in range(3):
            assert lbd.lbctl("drain", "-t", LISTEN, "-r", RS3, "--wait", PATIENCE).returncode == 0
            lbd.ctl("del-real", "-t", LISTEN, "-r", RS3)
            lbd.ctl("add-real", "-t", LISTEN, "-r", RS3)
        load.stop()
        assert not load.failures, load.failures


@test()
def other_services_changes_leave_connections_alone(bed):
    with tcp_listener(bed, "rs1", 7000) as listener, bed.lbd() as lbd:
        lbd.add_service("tcp", f"{VIP}:7400", [(f"{REALS['rs1']}:7000", 1)])
        client = connect(bed, "client", (VIP, 7400))
        server, _ = listener.accept()
        saved = lbd.ctl("save")
        for number in range(50):
            lbd.add_service("tcp", f"{VIP}:{8000 + number}", [(RS1, 1), (RS2, 2)])
            lbd.ctl("edit-service", "-t", f"{VIP}:{8000 + number}", "-s", "rr")
            client.sendall(b"ping")
            assert server.recv(100) == b"ping"
        lbd.ctl("restore", input=saved)
        server.sendall(b"pong")
        assert client.recv(100) == b"pong"
        assert lbd.service()["port"] == 7400 and len(lbd.json("list")["services"]) == 1
        client.close()
        server.close()
