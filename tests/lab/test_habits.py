"""What people and their tools are used to: a log that programs can read, no colour where none is wanted."""

import errno
import json
import os
import pty
import signal
import subprocess

from .runner import test
from .testbed import PATIENCE, REALS, VIP, Daemon, binary, wait_for

SERVICE = ("tcp", f"{VIP}:80", [(f"{real}:80", 1) for real in (REALS["rs1"], REALS["rs2"])])


class Terminal:
    """A program on a terminal of its own, with what it has written there."""

    def __init__(self, *words, **variables):
        environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CLICOLOR_FORCE")}
        environment |= {"TERM": "xterm-256color", **variables}
        ours, its = pty.openpty()
        self.file, self.written = ours, b""
        self.process = subprocess.Popen(list(map(str, words)), stdin=its, stdout=its, stderr=its, env=environment,
                                        start_new_session=True)
        os.close(its)

    def read(self):
        """Everything, once the program has ended."""
        while True:
            try:
                piece = os.read(self.file, 65536)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
                piece = b""
            if not piece:
                break
            self.written += piece
        self.process.wait(PATIENCE)
        os.close(self.file)
        return self.written.decode()


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
    assert any(line["target"] == "dpdk" for line in lines), daemon.log()
    assert lines[-1]["message"] == "stopped"


@test()
def nothing_is_coloured_that_should_not_be(bed):
    wrong = [(binary("lbd"), "--nonsense"), (binary("lbctl"), "nonsense"), (binary("natlb-lvs"), "--nonsense")]
    for words in wrong:
        plain = Terminal(*words, NO_COLOR="1").read()
        assert "\x1b" not in plain and "nonsense" in plain, plain
        assert "\x1b" not in Terminal(*words, TERM="dumb").read(), words
        piped = subprocess.run(words, capture_output=True, text=True)
        assert piped.returncode == 2 and "\x1b" not in piped.stdout + piped.stderr, piped
    # So it is looked at rightly: on a terminal that may have colours, clap's errors have them.
    assert "\x1b" in Terminal(*wrong[0]).read()
