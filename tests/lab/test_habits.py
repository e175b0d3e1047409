"""What people and their tools are used to: a log that programs can read, no colour where none is wanted."""

import contextlib
import errno
import fcntl
import json
import os
import pty
import re
import select
import signal
import stat
import struct
import subprocess
import tarfile
import termios
import time

from .runner import test
from .testbed import PATIENCE, REALS, VIP, Daemon, binary, wait_for

SERVICE = ("tcp", f"{VIP}:80", [(f"{real}:80", 1) for real in (REALS["rs1"], REALS["rs2"])])


ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
# What programs ask the environment before they colour: none is to come from where the tests run. With CI set, even a
# dumb terminal is given colours.
COLOUR_VARIABLES = ("NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLORTERM", "CI")


class Terminal:
    """A program on a terminal of its own, with what it has written there."""

    def __init__(self, *words, rows=40, columns=200, stdin=None, stdout=None, **variables):
        environment = {name: value for name, value in os.environ.items() if name not in COLOUR_VARIABLES}
        environment |= {"TERM": "xterm-256color", **variables}
        self.file, its = pty.openpty()
        self.written = ""
        self.resize(rows, columns)
        self.process = subprocess.Popen(list(map(str, words)), stdin=stdin or its, stdout=stdout or its, stderr=its,
                                        env=environment, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0))
        os.close(its)

    def resize(self, rows, columns):
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.file, text.encode())

    def read(self, seconds=PATIENCE):
        """What comes next, as far as it has come; nothing once the program has ended."""
        if not select.select([self.file], [], [], seconds)[0]:
            return ""
        try:
            piece = os.read(self.file, 65536).decode()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return ""
        self.written += piece
        return piece

    def until(self, text):
        """Reads until this has come, behind what came before the call."""
        begin, deadline = len(self.written), time.monotonic() + PATIENCE
        while text not in self.written[begin:]:
            assert self.read() and time.monotonic() < deadline, f"{text!r} does not come: {self.written[-999:]!r}"

    def frame(self):
        """The lines of the next frame that begins and is whole."""
        begin = len(self.written)
        while "\x1b[H" not in self.written[begin:] or "\x1b[J" not in self.written[begin:].split("\x1b[H", 1)[1]:
            assert self.read(), repr(self.written)
        # The terminal ends lines with one more carriage return.
        return re.split("\x1b\\[K\r+\n", self.written[begin:].split("\x1b[H", 1)[1].split("\x1b[K\x1b[J")[0])

    def end(self):
        """Everything, once the program has ended by itself; its exit code is negative if a signal ended it."""
        while self.read():
            pass
        self.process.wait(PATIENCE)
        return self.written

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        os.close(self.file)


@contextlib.contextmanager
def terminal(*words, **options):
    program = Terminal(*words, **options)
    try:
        yield program
    finally:
        program.close()


def said(*words, **variables):
    """All that a program writes on a terminal until it ends."""
    with terminal(*words, **variables) as program:
        return program.end()


def watching(lbd, *words, **options):
    return terminal(binary("lbctl"), "--socket", lbd.socket, "--timeout", PATIENCE, *words, **options)


@test()
def the_log_as_json_has_an_object_in_each_line(bed):
    daemon = Daemon(bed, bed.config())
    daemon.spawn("--log-format", "json", "--log-level", "debug")
    try:
        assert wait_for(lambda: '"message":"ready"' in daemon.log() or daemon.process.poll() is not None)
        daemon.add_service(*SERVICE)
        assert daemon.lbctl("del-service", "-t", f"{VIP}:81").returncode == 1
        daemon.process.send_signal(signal.SIGHUP)
        assert wait_for(lambda: "SIGHUP" in daemon.log())
        assert daemon.stop() == 0
    finally:
        daemon.kill()
    lines = [json.loads(line) for line in daemon.log().splitlines()]
    assert all({"time", "level", "target", "message"} <= line.keys() for line in lines), daemon.log()
    versions = [line["config_version"] for line in lines if "config_version" in line]
    assert versions == sorted(versions) and len(versions) == 3, daemon.log()
    changes = [line for line in lines if "config_version" in line]
    assert all((line["program"], line["uid"]) == ("lbctl", 0) and line["process"] > 0 for line in changes), changes
    assert any(line["target"] == "dpdk" for line in lines), daemon.log()
    assert lines[-1]["message"] == "stopped"


@test()
def nothing_is_coloured_that_should_not_be(bed):
    wrong = [(binary("lbd"), "--nonsense"), (binary("lbctl"), "nonsense"), (binary("natlb-lvs"), "--nonsense")]
    for words in wrong:
        plain = said(*words, NO_COLOR="1")
        assert "\x1b" not in plain and "nonsense" in plain, plain
        assert "\x1b" not in said(*words, TERM="dumb"), words
        piped = subprocess.run(words, capture_output=True, text=True)
        assert piped.returncode == 2 and "\x1b" not in piped.stdout + piped.stderr, piped
    # So it is looked at rightly: on a terminal that may have colours, clap's errors have them.
    assert "\x1b" in said(*wrong[0])


@test()
def a_watch_gives_the_terminal_back_whatever_ends_it(bed):
    with bed.lbd(services=[SERVICE]) as lbd:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with watching(lbd, "list", "--watch", "0.2") as program:
                program.until(REALS["rs2"])
                if number == signal.SIGINT:
                    program.type("\x03")
                else:
                    program.process.send_signal(number)
                text = program.end()
            assert text.startswith(ENTER) and text.endswith(LEAVE) and text.count(ENTER) == 1, repr(text)
            assert program.process.returncode == -number, program.process.returncode
        # An lbd that does not answer holds nothing up.
        with watching(lbd, "list", "--watch", "0.2") as program:
            program.until(REALS["rs2"])
            lbd.process.send_signal(signal.SIGSTOP)
            try:
                program.read(0.5)
                program.type("\x03")
                assert program.end().endswith(LEAVE)
            finally:
                lbd.process.send_signal(signal.SIGCONT)
        # Stopped and resumed.
        with watching(lbd, "status", "--watch", "0.2") as program:
            program.until("Workers")
            program.process.send_signal(signal.SIGTSTP)
            os.waitpid(program.process.pid, os.WUNTRACED)
            while program.read(0.1):
                pass
            assert program.written.endswith(LEAVE), repr(program.written[-40:])
            program.process.send_signal(signal.SIGCONT)
            program.until("Workers")
            program.type("\x03")
            text = program.end()
        assert text.count(ENTER) == text.count(LEAVE) == 2, repr(text)
        # At the end of its count the last answer stays on the usual screen.
        with watching(lbd, "status", "--watch", "0.2", "--count", "2") as program:
            text = program.end()
        assert program.process.returncode == 0 and "Workers" in text.rsplit(LEAVE, 1)[1], repr(text)


@test()
def a_watch_fits_its_window(bed):
    with bed.lbd(services=[SERVICE]) as lbd:
        with watching(lbd, "list", "--watch", "3600", rows=5, columns=40) as program:
            frame = program.frame()
            assert frame[4] == "(3 more lines)" and len(frame) == 5, frame
            assert all(len(line) <= 40 for line in frame) and frame[0].endswith(">"), frame
            # No period passes: the window's new size is enough.
            program.resize(30, 120)
            frame = program.frame()
            assert any(REALS["rs2"] in line for line in frame) and not any("more lines" in line for line in frame), frame


@test()
def a_watch_outlives_lbd(bed):
    with bed.lbd(services=[SERVICE]) as lbd:
        with watching(lbd, "rate", "--watch", "0.2") as program:
            program.until(REALS["rs2"])
            # So long that the next one's time of start is another, in whole seconds.
            assert wait_for(lambda: lbd.json("status")["uptime_s"] >= 5)
            lbd.kill()
            program.until("cannot reach lbd")
            frame = program.frame()
            assert "cannot reach lbd" in frame[1] and any(REALS["rs2"] in line for line in frame), frame
            lbd.start()
            program.until("another lbd than before since")
            assert wait_for(lambda: lbd.json("status")["uptime_s"] >= 5)
            noticed = program.frame()[1]
            lbd.take_over()
            assert wait_for(lambda: program.frame()[1] != noticed and "than before" in program.frame()[1], pause=0)
        with terminal("bash", "-c", f"{binary('lbctl')} --socket {lbd.socket} list --watch 0.1 | head -n 1; "
                                    "echo codes ${PIPESTATUS[*]}") as program:
            assert "codes 0 0" in program.end(), program.written


@test()
def a_long_restore_says_how_far_it_is(bed):
    with bed.lbd(services=[SERVICE]) as lbd:
        lines = lbd.ctl("save")
        read_end, write_end = os.pipe()
        words = (binary("lbctl"), "--socket", lbd.socket, "--timeout", PATIENCE, "restore")
        with terminal(*words, stdin=read_end) as program:
            os.close(read_end)
            os.write(write_end, lines.encode())
            program.until(f"\r\x1b[Klbctl: {len(lines)} bytes read")
            os.close(write_end)
            # Nothing is left of it.
            assert program.end().endswith("\r\x1b[K") and program.process.returncode == 0, repr(program.written)
        assert lbd.ctl("save") == lines
        # Where nobody waits, nothing is said.
        slow = f"(echo; sleep 2; cat) | {' '.join(map(str, words))}"
        done = subprocess.run(["bash", "-c", slow], input=lines, capture_output=True, text=True)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done


@test()
def an_archive_for_support_has_all_of_a_running_lbd(bed):
    file = bed.dir / "support.tar.gz"
    with bed.lbd(services=[SERVICE]) as lbd:
        bed.expect(["rs2", "rs1"])
        said = lbd.json("support", "--write", file)
        assert lbd.lbctl("connections").stdout.count(VIP) == 2
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as archive:
        entries = {name.split("/", 1)[1]: archive.extractfile(name).read().decode() for name in archive.getnames()}
    assert entries.keys() - {"MANIFEST"} == set(said["entries"]), said
    # The configuration is found by the process behind the socket, and DPDK's statistics by its telemetry.
    assert entries["lbd/lbd.toml"] == lbd.file.read_text()
    assert str(lbd.file) in entries["lbd/process/cmdline"]
    ports = [json.loads(line) for line in entries["dpdk/ports.json"].splitlines()]
    assert ports[0] == {"/ethdev/list": [0, 1]}
    assert sum("rx_good_packets" in line.get("/ethdev/xstats", {}) for line in ports) == 2, ports
    # Each connection is counted, and none named.
    assert sum(worker["connections"] for worker in json.loads(entries["lbd/status.json"])["workers"]) >= 2
    assert not any(bed.ip.client in text for name, text in entries.items() if name.startswith("lbd/")), said
    for missing in said["missing"]:
        assert missing["why"] and f"{missing['name']}: {missing['why']}" in entries["MANIFEST"], missing
    # An lbd that hangs is no reason to wait for long.
    with bed.lbd(services=[SERVICE]) as lbd:
        lbd.process.send_signal(signal.SIGSTOP)
        try:
            hung = subprocess.run([binary("lbctl"), "--socket", lbd.socket, "--timeout", "1", "support", "--write", file],
                                  capture_output=True, text=True, timeout=2 * PATIENCE)
        finally:
            lbd.process.send_signal(signal.SIGCONT)
        assert hung.returncode == 3 and "no answer within 1 s" in hung.stderr, hung
        assert tarfile.is_tarfile(file)
    file.unlink()
