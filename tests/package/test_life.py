"""The package in a bare Debian 12: installed, run, upgraded under a connection, removed and purged."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from ..lab.testbed import PATIENCE, Testbed, Unavailable, to_toml, wait_for
from .package import VERSIONS, built, run, tool

# Seconds that the root may take to be made, and packages to be fetched and installed.
FETCH = 600
# What changes whenever anything is installed.
ALWAYS_NEW = ("var/log/", "var/cache/", "var/lib/apt/", "var/lib/dpkg/", "etc/ld.so.cache", "tmp/", "proc/", "sys/", "dev/",
              "packages/")
# Why a test may be skipped in CI too.
NO_DEBIAN = "a bare Debian 12 cannot be made"
SERVICE = "192.168.10.100:9000"
# The real answers each line with itself.
ECHO = """
import socketserver
class Lines(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("10.0.0.7", 9000), Lines).serve_forever()
"""


class Debian:
    """A bare Debian 12 in a folder. Its mounts are in this process's namespace."""

    def __init__(self, folder):
        self.root = folder / "root"
        try:
            made = run(tool("mmdebstrap"), "--quiet", "--variant=minbase", "bookworm", self.root, check=False, timeout=FETCH)
        except subprocess.TimeoutExpired as error:
            raise unittest.SkipTest(f"{NO_DEBIAN} in {FETCH} s") from error
        if made.returncode != 0:
            raise unittest.SkipTest(f"{NO_DEBIAN}: {made.stderr.strip().splitlines()[-1:]}")
        shutil.copyfile("/etc/resolv.conf", self.root / "etc/resolv.conf", follow_symlinks=True)
        (self.root / "packages").mkdir()
        for kind, source, place in (("proc", "proc", "proc"), ("tmpfs", "tmpfs", "run"), ("tmpfs", "tmpfs", "tmp")):
            run("mount", "-t", kind, source, self.root / place)
        run("mount", "--rbind", "/sys", self.root / "sys")
        run("mount", "--bind", "/dev", self.root / "dev")
        # What lbd keeps is to be seen, and to go with the test.
        run("mount", "-t", "tmpfs", "tmpfs", self.root / "dev/shm")

    def words(self, *words):
        clean = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"]
        return [*clean, "chroot", str(self.root), *map(str, words)]

    def run(self, *words, check=True, timeout=FETCH):
        return run(*self.words(*words), check=check, timeout=timeout)

    def install(self, package, *others):
        shutil.copy(package, self.root / "packages")
        # What packages recommend is for NICs, and large.
        return self.run("apt-get", "-qq", "install", "--yes", "--no-install-recommends", f"/packages/{package.name}", *others)

    def files(self):
        """Every file outside of what always changes, with the text of those that name users."""
        found = {}
        for folder, folders, files in os.walk(self.root):
            here = os.path.relpath(folder, self.root)
            here = "" if here == "." else here + "/"
            folders[:] = [name for name in folders if not f"{here}{name}/".startswith(ALWAYS_NEW)]
            for name in [*folders, *files]:
                path = here + name
                if not path.startswith(ALWAYS_NEW) and not (path.startswith("etc/") and path.endswith("-")):
                    found[path] = ""
        for path in ("etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"):
            found[path] = (self.root / path).read_text()
        return found

    def processes(self):
        """What runs in it."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(process / "root") == str(self.root):
                    found.append((process / "comm").read_text().strip())
        return found


def remove(folder):
    """Unmounts all below a folder and removes it; nothing of what might still be mounted there."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in reversed([place for place in mounted if place.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", place], check=False)
    run("rm", "-rf", "--one-file-system", folder)


class Lbd:
    """The installed daemon in the lab's lb. This test is its supervisor."""

    def __init__(self, bed, debian):
        self.bed, self.debian, self.process, self.log = bed, debian, None, None

    def start(self, *options):
        before = self.process
        self.log = tempfile.NamedTemporaryFile(mode="r", suffix=".log")
        with open(self.log.name, "w") as log:
            words = self.bed.command("lb", *self.debian.words("lbd", "--config", "/etc/natlb/lbd.toml", *options))
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: self.is_ready() or self.process.poll() is not None)
        assert self.process.poll() is None and self.is_ready(), self.text()
        if before is not None and options:
            assert before.wait(PATIENCE) == 0, "the exit code of the one before is not 0"

    def text(self):
        return Path(self.log.name).read_text()

    def is_ready(self):
        return any(line.split()[-1:] == ["ready"] for line in self.text().splitlines())

    def stop(self):
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0, self.text()

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)

    def ctl(self, *words):
        return self.debian.run("lbctl", "--timeout", PATIENCE, *words).stdout


class Held:
    """A connection from the client to the service."""

    def __init__(self, bed):
        with bed.inside("client"):
            host, port = SERVICE.split(":")
            self.socket = socket.create_connection((host, int(port)), timeout=PATIENCE)
        self.lines = 0

    def works(self):
        self.lines += 1
        line = f"line {self.lines}\n".encode()
        self.socket.sendall(line)
        answer = b""
        while not answer.endswith(b"\n"):
            piece = self.socket.recv(100)
            assert piece, f"the connection was closed after {answer}"
            answer += piece
        assert answer == line, (answer, line)


class Life(unittest.TestCase):
    def setUp(self):
        if os.geteuid() != 0:
            raise unittest.SkipTest("a Debian in a folder needs root")
        folder = tempfile.mkdtemp(prefix="natlb-package-root-")
        self.addCleanup(remove, folder)
        self.debian = Debian(Path(folder))
        try:
            self.bed = Testbed()
        except Unavailable as why:
            raise unittest.SkipTest(str(why)) from why
        self.addCleanup(self.bed.remove)
        self.lbd = Lbd(self.bed, self.debian)
        self.addCleanup(self.lbd.kill)

    def config(self):
        config = self.bed.config()
        config["control"] = {"socket": "/run/natlb/lbd.sock", "state": "/var/lib/natlb/state"}
        return to_toml(config)

    def test_install_run_upgrade_remove_purge(self):
        debian, lbd, root = self.debian, self.lbd, self.debian.root
        # What it depends on comes first, so that what is left in the end is natlb's alone.
        depends = run("dpkg-deb", "--field", built(), "Depends").stdout
        needed = [entry.split("|")[0].split("(")[0].strip() for entry in depends.split(",") if "|" not in entry]
        debian.run("apt-get", "-qq", "update")
        debian.run("apt-get", "-qq", "install", "--yes", "--no-install-recommends", *needed, "systemd-standalone-sysusers")
        before = debian.files()

        debian.install(built())
        self.assertEqual(debian.processes(), [], "the installation has started something")
        self.assertIn("natlb:", (root / "etc/passwd").read_text())
        self.assertEqual([path.name for path in (root / "etc/natlb").iterdir()], ["lbd.toml.example"])
        self.assertIn("nothing wrong", debian.run("lbd", "--config", "/etc/natlb/lbd.toml.example", "--check").stdout)
        for program in ("lbd", "lbctl", "natlb-lvs"):
            self.assertTrue(debian.run(program, "--version").stdout.startswith(program))

        (root / "etc/natlb/lbd.toml").write_text(self.config())
        (root / "run/natlb").mkdir()
        debian.run("lbd", "--config", "/etc/natlb/lbd.toml", "--check")
        lbd.start()
        lbd.ctl("add-service", "-t", SERVICE)
        lbd.ctl("add-real", "-t", SERVICE, "-r", "10.0.0.7:9000")
        echo = self.bed.spawn("rs1", sys.executable, "-c", ECHO)
        self.addCleanup(lambda: (echo.kill(), echo.wait(PATIENCE)))
        held = wait_for(self.connected)
        held.works()

        first = lbd.process.pid
        (root / "etc/systemd/system/lbd.service").touch()
        said = debian.install(built(VERSIONS[1]))
        self.assertIn("--take-over", said.stdout)
        self.assertIn("/etc/systemd/system/lbd.service was installed by hand", said.stdout)
        self.assertNotIn("/usr/local/sbin", said.stdout)
        (root / "etc/systemd/system/lbd.service").unlink()
        self.assertEqual((lbd.process.poll(), lbd.process.pid), (None, first), "the upgrade has ended it")
        held.works()
        # Without a gap, and as a service is restarted.
        lbd.start("--take-over")
        held.works()
        lbd.stop()
        lbd.start()
        held.works()
        status = json.loads(lbd.ctl("--output", "json", "status"))
        self.assertGreaterEqual(sum(worker["connections"] for worker in status["workers"]), 1)

        debian.run("apt-get", "-qq", "remove", "--yes", "natlb")
        held.works()
        lbd.stop()
        for kept in ("etc/natlb/lbd.toml", "etc/natlb/lbd.toml.example", "var/lib/natlb/state"):
            self.assertTrue((root / kept).exists(), f"the removal took {kept}")
        self.assertFalse((root / "usr/sbin/lbd").exists())
        self.assertTrue(list((root / "dev/shm").glob("natlb-*")), "connections are not kept")

        debian.run("apt-get", "-qq", "purge", "--yes", "natlb")
        shutil.rmtree(root / "run/dpdk", ignore_errors=True)  # DPDK's, not natlb's
        after = debian.files()
        left = sorted(path for path in after if path not in before)
        gone = sorted(path for path in before if path not in after)
        self.assertEqual((left, gone), ([], []))
        self.assertEqual({path: text for path, text in after.items() if text}, {path: text for path, text in before.items() if text})
        self.assertEqual(list((root / "dev/shm").iterdir()), [])

    def connected(self):
        with contextlib.suppress(OSError):
            return Held(self.bed)
        return None
