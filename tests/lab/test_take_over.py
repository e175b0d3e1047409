"""Another lbd takes the place of the one that runs: without a gap, or not at all."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

from .families import BOTH
from .runner import test
from .sockets import connect
from .testbed import PATIENCE, REALS, VIP, Daemon, background, wait_for

SERVICE = ("tcp", f"{VIP}:80", [(f"{REALS['rs1']}:80", 1), (f"{REALS['rs2']}:80", 1)])
# How long the one that runs waits for a successor that it has paused for, in seconds.
PAUSE = 5
# What a successor says on its way, in this order.
STEPS = ["taking the place of lbd", "starting DPDK", "vip0: setting up", "dip0: setting up", "memory: "]


class Conversation:
    """A successor that goes the steps that a test wants."""

    def __init__(self, daemon):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(daemon.socket)
        self.descriptors = []

    def say(self, step, conversation=1):
        """The answer: what stands under "ok", or the refusal's text; None: the connection has ended."""
        request = {"v": 1, "command": "hand-over", "conversation": conversation, "step": step}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        line = b""
        while not line.endswith(b"\n"):
            part, descriptors, _, _ = socket.recv_fds(self.socket, 65536, 253)
            self.descriptors += descriptors
            if not part:
                return None
            line += part
        answer = json.loads(line)
        return answer["ok"] if "ok" in answer else answer["error"]["message"]

    def end(self):
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors = []
        self.socket.close()


class Asking:
    """Asks on the control socket again and again; every question must be answered, whoever answers."""

    def __init__(self, daemon):
        self.path, self.over, self.answers, self.faults = daemon.socket, False, 0, []
        self.thread = background(self.ask)

    def ask(self):
        while not self.over:
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
                    peer.settimeout(PATIENCE)
                    peer.connect(self.path)
                    peer.sendall(b'{"v":1,"command":"list"}\n')
                    if not peer.recv(65536).startswith(b'{"v":1,"ok":'):
                        self.faults.append("no answer")
                    self.answers += 1
            except OSError as error:
                self.faults.append(repr(error))
            time.sleep(0.001)

    def end(self):
        self.over = True
        self.thread.join(PATIENCE)
        return self.faults


def links(bed):
    """What the kernel says of lbd's interfaces, but for what it counts."""
    shown = json.loads(bed.run("lb", "ip", "-json", "-details", "link", "show").stdout)
    kept = ("ifname", "flags", "mtu", "address", "promiscuity", "allmulti")
    return [{key: link.get(key) for key in kept} for link in shown]


class Kept:
    """HTTP connections to the VIP that are asked on now and then: as many as there are reals, so that the next one is
    given to the first real again."""

    def __init__(self, bed):
        self.sockets = [connect(bed, "client", (bed.ip.vip, 80)) for _ in range(2)]
        self.reals = self.ask()

    def ask(self):
        return [real_of(socket) for socket in self.sockets]

    def still_work(self):
        return self.ask() == self.reals


def real_of(connection):
    """The name of the real that answers a request."""
    connection.sendall(b"GET / HTTP/1.1\r\nHost: lab\r\n\r\n")
    said = b""
    while not re.search(rb"\r\n\r\n.*rs\d", said, re.DOTALL):
        part = connection.recv(4096)
        assert part, "the server has closed the connection"
        said += part
    return said.split()[-1].decode()


def is_forwarding(bed, daemon):
    """Whether the daemon works as if no successor had been there: it forwards, and takes changes."""
    bed.expect(["rs2", "rs1"])
    wait_for(lambda: daemon.lbctl("add-service", "-t", f"{VIP}:99").returncode == 0, pause=0.1)
    daemon.ctl("del-service", "-t", f"{VIP}:99")
    assert daemon.process.poll() is None
    return True


def successor(bed, daemon, config=None, name="successor"):
    """Another lbd, not started yet."""
    return Daemon(bed, config or bed.config(), name)


@contextlib.contextmanager
def pings(bed, seconds=0.002):
    """Pings the VIP meanwhile; the list that is given has the counts of sent, answered and answered twice at the end."""
    counts = []
    ping = bed.spawn("client", "ping", "-i", seconds, "-q", bed.ip.vip, stdout=subprocess.PIPE)
    try:
        yield counts
    finally:
        ping.send_signal(signal.SIGINT)
        said = ping.communicate(timeout=PATIENCE)[0]
    sent, answered = map(int, re.search(r"(\d+) packets transmitted, (\d+) received", said).groups())
    twice = re.search(r"\+(\d+) duplicates", said)
    counts += [sent, answered, int(twice[1]) if twice else 0]


@test(families=BOTH)
def nobody_is_left_without_an_answer(bed):
    service = ("tcp", bed.ip.at(bed.ip.vip, 80), bed.ip.pool())
    with bed.lbd(services=[service]) as daemon:
        before, saved, asking, kept = links(bed), daemon.ctl("save"), Asking(daemon), Kept(bed)
        with pings(bed) as counts:
            for _ in range(4):
                bed.expect(["rs2", "rs1"])
                process = daemon.process.pid
                daemon.take_over()
                assert daemon.process.pid != process
                assert kept.still_work()
                assert daemon.ctl("save") == saved, "the services, which are in no file"
        assert asking.end() == [] and asking.answers > 0
        sent, answered, twice = counts
        # Two that answered at once would show in every take-over; the gap is a few milliseconds on a machine with
        # nothing else to do, and this one may have.
        assert twice == 0 and sent - answered <= sent // 10, counts
        after = links(bed)
        assert after == before, (before, after)
        bed.expect(["rs2", "rs1"])


@test()
def interfaces_stay_as_the_operator_has_set_them(bed):
    bed.run("lb", "ip", "link", "set", "eth0", "promisc", "on")
    try:
        with bed.lbd(services=[SERVICE]) as daemon:
            before = links(bed)
            daemon.take_over()
            assert links(bed) == before
            bed.expect(["rs2", "rs1"])
    finally:
        bed.run("lb", "ip", "link", "set", "eth0", "promisc", "off")


@test()
def a_successor_that_is_killed_changes_nothing(bed):
    config = bed.config()
    config["control"]["state"] = str(bed.dir / "state")
    with bed.lbd(config, services=[SERVICE]) as daemon:
        kept = Kept(bed)
        for step in STEPS:
            other = successor(bed, daemon, config)
            other.spawn("--take-over")
            try:
                assert wait_for(lambda: other.says(re.escape(step)) or other.process.poll() is not None, pause=0)
            finally:
                other.kill()
            if daemon.process.poll() is not None:
                # It was as fast as that: it has taken over, and was killed then.
                assert daemon.process.returncode == 0, daemon.log()
                daemon.start()
            assert is_forwarding(bed, daemon) and kept.still_work(), step
        daemon.take_over()
        bed.expect(["rs2", "rs1"])
        assert kept.still_work()
        other.log_file.unlink()


@test()
def a_successor_that_is_stopped_before_it_has_taken_over_changes_nothing(bed):
    with bed.lbd(services=[SERVICE]) as daemon:
        other = successor(bed, daemon)
        other.spawn("--take-over")
        try:
            assert wait_for(lambda: other.says("starting DPDK") or other.process.poll() is not None, pause=0)
            other.stop()
        finally:
            other.kill()
        # A start that takes seconds ends at once.
        assert other.says("the lbd that runs goes on|stopped while this hung"), other.log()
        assert is_forwarding(bed, daemon)
        other.log_file.unlink()


@test()
def a_conversation_that_ends_at_any_step_changes_nothing(bed):
    with bed.lbd(services=[SERVICE]) as daemon:
        kept = Kept(bed)
        for steps in (["prepare"], ["prepare", "pause"], ["pause"], ["taken"], ["prepare", "taken"], ["prepare", "prepare"]):
            conversation = Conversation(daemon)
            answers = [conversation.say(step) for step in steps]
            as_it_should = steps == ["prepare", "pause"][:len(steps)]
            assert all(isinstance(answer, dict) for answer in answers) == as_it_should, answers
            conversation.end()
            assert is_forwarding(bed, daemon) and kept.still_work(), steps


@test()
def while_a_successor_starts_changes_are_refused_and_packets_forwarded(bed):
    with bed.lbd(services=[SERVICE]) as daemon:
        conversation = Conversation(daemon)
        facts = conversation.say("prepare")
        assert facts["process"] == daemon.process.pid and len(conversation.descriptors) == len(facts["descriptors"])
        kinds = [label["kind"] for label in facts["descriptors"]]
        assert kinds.count("interface") == 2 and "socket" in kinds and "lock" in kinds, kinds
        refused = daemon.lbctl("add-service", "-t", f"{VIP}:99")
        assert refused.returncode == 1 and f"process {os.getpid()} is about to take the place" in refused.stderr, refused
        bed.expect(["rs2", "rs1"])
        second = Conversation(daemon)
        assert "already" in second.say("prepare")
        second.end()
        conversation.end()
        assert is_forwarding(bed, daemon)


@test()
def frames_that_come_while_it_has_paused_are_handled_when_it_goes_on(bed):
    with bed.lbd(services=[SERVICE]) as daemon:
        bed.expect(["rs2", "rs1"])
        conversation = Conversation(daemon)
        conversation.say("prepare")
        began = time.monotonic()
        assert conversation.say("pause") == {}
        # A ping needs all that is left of the pause, and gets its answer then.
        ping = bed.run("client", "ping", "-c", "1", "-W", PATIENCE, VIP)
        waited = time.monotonic() - began
        assert PAUSE * 0.9 <= waited, waited
        milliseconds = float(re.search(r"time=([\d.]+) ms", ping.stdout)[1])
        assert milliseconds > 100 or waited > 2 * PAUSE, ping.stdout
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            assert conversation.say("taken") is None, "it has been given up"
        conversation.end()
        assert is_forwarding(bed, daemon)
        assert daemon.says("does not take the place of this lbd: it does not go on; it goes on"), daemon.log()


@test()
def a_hand_over_that_cannot_be_is_refused_in_words(bed):
    def refused(daemon, config=None):
        other = successor(bed, daemon, config)
        other.spawn("--take-over")
        try:
            assert other.process.wait(PATIENCE) == 1
        finally:
            other.kill()
        said = other.log()
        other.log_file.unlink()
        return said

    off, null, elsewhere = bed.config(), bed.config(), bed.config()
    off["connections"]["keep"] = "off"
    null["port"][1]["device"] = "net_null0"
    elsewhere["connections"]["keep"] = f"/dev/shm/{bed.dir.name}-elsewhere"
    with bed.lbd(services=[SERVICE]) as daemon:
        assert 'keep = "off"' in refused(daemon, off)
        assert "device net_null0 has one owner at a time" in refused(daemon, null)
        try:
            assert "where this one would not find them" in refused(daemon, elsewhere)
        finally:
            shutil.rmtree(elsewhere["connections"]["keep"], ignore_errors=True)
        conversation = Conversation(daemon)
        assert "speaks number 1" in conversation.say("prepare", conversation=2)
        conversation.end()
        assert is_forwarding(bed, daemon)
    with bed.lbd(off, services=[SERVICE]) as daemon:
        assert 'the lbd that runs refuses: [connections] keep = "off"' in refused(daemon)
        assert is_forwarding(bed, daemon)
    assert "no lbd is there to take over from" in refused(daemon)


@test()
def systemd_learns_of_the_new_main_process(bed):
    path = str(bed.dir / "notify.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(path)
        notified.settimeout(PATIENCE)
        os.environ["NOTIFY_SOCKET"] = path
        try:
            with bed.lbd() as daemon:
                assert notified.recv(4096) == b"READY=1\n"
                daemon.take_over()
                said = sorted(notified.recv(4096) for _ in range(2))
                assert said == [b"MAINPID=%d\n" % daemon.process.pid, b"READY=1\n"], said
        finally:
            del os.environ["NOTIFY_SOCKET"]
            os.unlink(path)
