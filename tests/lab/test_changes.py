"""Changes while a load runs: no request on the reals that stay fails."""

import itertools
import json
import os
import random
import socket
import time
from collections import Counter

from .runner import test
from .sockets import HANGS, Load, connect, tcp_listener
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


# Edits of the test below; more of them for a longer run.
EDITS = int(os.environ.get("NATLB_EDITS", 4000))


class Editor:
    """Requests over one connection to lbd's socket, a millisecond apart where lbd answers within that."""

    def __init__(self, lbd):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(str(lbd.socket))
        self.answers = self.socket.makefile("rb")
        self.due = time.monotonic()
        self.durations = []

    def ask(self, command, real, **attributes):
        time.sleep(max(0, self.due - time.monotonic()))
        began = time.monotonic()
        self.due = max(self.due + 0.001, began)
        request = {"v": 1, "command": command, "service": f"tcp://{LISTEN}", "real": real, **attributes}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self.answers.readline())
        assert "ok" in answer, (request, answer)
        self.durations.append(time.monotonic() - began)


def edits():
    """(command, real, attributes) without end. The first real always takes connections, the second at times, the third
    comes and goes."""
    for number in itertools.count():
        yield "edit-real", RS1, {"weight": 1 + number % 7}
        yield "edit-real", RS2, {"weight": number % 5}
        # Closed at once with the next connection, then open again.
        yield "edit-real", RS2, {"upper_threshold": 1, "lower_threshold": 1}
        yield "edit-real", RS1, {"upper_threshold": 1_000_000 + number, "lower_threshold": number}
        yield "edit-real", RS2, {"upper_threshold": 1_000_000, "lower_threshold": 0}
        yield "edit-real", RS2, {"upper_threshold": 0}
        yield "del-real", RS3, {}
        yield "add-real", RS3, {"weight": 1 + number % 3, "upper_threshold": (0, 4)[number % 2]}


@test()
def an_edit_each_millisecond_fails_no_request_and_leaves_the_counts_true(bed):
    with bed.lbd() as lbd:
        # No connection of the load times out before the end.
        lasting = ("--timeouts", "time_wait=3600,close=3600")
        lbd.add_service("tcp", LISTEN, [(RS1, 1), (RS2, 1), (RS3, 1)], "-s", "wlc", *lasting)
        load = Load(bed, (VIP, 80))
        assert wait_for(lambda: load.total() > 100), load.failures
        before, began = load.total(), time.monotonic()
        editor = Editor(lbd)
        for command, real, attributes in itertools.islice(edits(), EDITS):
            editor.ask(command, real, **attributes)
        seconds, requests = time.monotonic() - began, load.total() - before
        load.stop()
        # What was under way on the real that goes may hang for as long as it is not there.
        on_others = [(lbd.connection(port), error) for port, error in load.failures]
        on_others = [failure for failure in on_others if not failure[0] or failure[0]["real"] != RS3]
        assert not on_others, on_others
        assert len(load.failures) <= len(load.threads) * (1 + seconds / HANGS), load.failures
        assert set(load.answers) == {"rs1", "rs2", "rs3"}, load.answers
        assert requests > 100, requests

        def listed():
            return {f"{real['address']}:{real['port']}": (real["active"], real["inactive"])
                    for real in lbd.service()["reals"]}

        def counted():
            entries = lbd.json("connections")["connections"]
            active = Counter(entry["real"] for entry in entries if entry["state"] in ("ESTABLISHED", "SYN_RECV"))
            total = Counter(entry["real"] for entry in entries)
            return {real: (active[real], total[real] - active[real]) for real in (RS1, RS2, RS3)}

        # The last ones may still be closing.
        assert wait_for(lambda: listed() == counted()), (listed(), counted())
        assert sum(map(sum, listed().values())) > 100, listed()
        in_tables = lambda: sum(worker["connections"] for worker in lbd.json("status")["workers"])
        assert wait_for(lambda: in_tables() == sum(map(sum, counted().values()))), (in_tables(), counted())
        totals = {real: sum(counts) for real, counts in listed().items()}

        # What thresholds count is true too: each real takes three more than it has.
        used = {int(entry["client"].split(":")[1]) for entry in lbd.json("connections")["connections"]}
        # Below those that the client's kernel gives to sockets, of which some may linger.
        free, more = itertools.filterfalse(used.__contains__, range(20000, 32000)), []
        for real, has in totals.items():
            for each in totals:
                lbd.ctl("edit-real", "-t", LISTEN, "-r", each, "-w", int(each == real))
            lbd.ctl("edit-real", "-t", LISTEN, "-r", real, "-x", has + 3, "-y", 0)
            more += [connect(bed, "client", (VIP, 80), port) for port in itertools.islice(free, 3)]
            try:
                connect(bed, "client", (VIP, 80), next(free))
                raise AssertionError(f"{real} takes more than {has} + 3: {lbd.service()}")
            except ConnectionRefusedError:
                pass
        if "NATLB_EDITS" in os.environ:
            times = sorted(editor.durations)
            print(f"{EDITS} edits in {seconds:.1f} s (median {times[EDITS // 2] * 1e3:.2f} ms, 99 of 100 within "
                  f"{times[EDITS * 99 // 100] * 1e3:.2f} ms, longest {times[-1] * 1e3:.1f} ms), {requests} requests, "
                  f"{len(load.failures)} that hung on the removed real, {totals}", flush=True)
