"""lbd without root: the capabilities that it needs and no other, what is said where one is missing, and what it gives
up once it forwards."""

import contextlib
import errno
import mmap
import os
import shutil
import signal
import socket
from pathlib import Path

from .injection import GETPID, HERE, OF_32_BITS, Ended, Held, NoSuchEntry
from .runner import test
from .test_take_over import SERVICE, Kept
from .testbed import PATIENCE, Daemon, binary, wait_for

# Nobody's number.
USER = 64321
# Rings that fit into the memory that any user may lock.
RINGS = "framesz=2048,blocksz=262144,framecnt=512"
# The bits of capabilities (linux/capability.h).
BITS = {"net_admin": 12, "net_raw": 13}
# Numbers of system calls (asm/unistd_64.h). Those of the first list end the process.
EXECVE = 59
DEADLY = {"execveat": 322, "ptrace": 101, "process_vm_writev": 311, "setresuid": 117, "capset": 126, "unshare": 272,
          "mount": 165, "init_module": 175, "kexec_load": 246, "bpf": 321, "keyctl": 250, "io_uring_setup": 425}
KILL, FORK, MMAP, SOCKET = 62, 57, 9, 41
# What marks a number as one of the x32 calls, and execve among these.
EXECVE_OF_X32 = 1 << 30 | 520
# i386's numbers (asm/unistd_32.h).
EXECVE_OF_32_BITS, GETPID_OF_32_BITS = 11, 20
# Kinds of threads, by how their names begin: DPDK has renamed its own. Control is the process's first one.
THREADS = {"control": (), "worker": ("rte-worker-", "dpdk-worker"), "interrupts": ("eal-intr", "dpdk-intr"),
           "statistics": ("statistics",)}


class Unprivileged:
    """A user of its own, with a folder; what is run as that user has these capabilities alone."""

    def __init__(self, bed, *capabilities):
        self.bed, self.capabilities = bed, capabilities
        self.folder = bed.dir / "user"

    def __enter__(self):
        self.bed.dir.chmod(0o711)
        self.folder.mkdir()
        os.chown(self.folder, USER, USER)
        # Where the programs lie may be root's alone.
        shutil.copy(binary("lbd"), self.folder / "lbd")
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)
        self.bed.dir.chmod(0o700)

    def wrapper(self, **environment):
        caps = ",".join(["-all", *(f"+{name}" for name in self.capabilities)])
        words = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", f"--inh-caps={caps}",
                 f"--ambient-caps={caps}", f"--bounding-set={caps}"]
        variables = [f"{name}={value}" for name, value in {"RUNTIME_DIRECTORY": self.folder, **environment}.items()]
        # The copy takes the place of the program's path.
        return [*words, "env", *variables, "sh", "-c", 'shift; exec "$0" "$@"', str(self.folder / "lbd")]

    def config(self, *devices):
        config = self.bed.config()
        config["control"] = {"socket": str(self.folder / "lbd.sock"), "state": str(self.folder / "state")}
        for port, device in zip(config["port"], devices):
            port["device"] = device
        return config

    @contextlib.contextmanager
    def lbd(self, config, *options, **environment):
        daemon = Daemon(self.bed, config, wrapper=self.wrapper(**environment))
        daemon.start(*options)
        try:
            yield daemon
            assert daemon.stop() == 0, daemon.log()
        finally:
            daemon.kill()

    def refused(self, config):
        """The last lines of one that does not start."""
        daemon = Daemon(self.bed, config, wrapper=self.wrapper())
        daemon.spawn()
        try:
            assert daemon.process.wait(PATIENCE) == 1, daemon.log()
        finally:
            daemon.kill()
        return daemon.log()


def on_interfaces(workers):
    queues = f",qpairs={workers}" if workers > 1 else ""
    return [f"net_af_packet{number},iface=eth{1 - number},{RINGS}{queues}" for number in (0, 1)]


def threads(daemon):
    """What the kernel says of each thread, as dictionaries."""
    found = []
    for task in Path(f"/proc/{daemon.process.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):
            lines = (task / "status").read_text().splitlines()
            found.append(dict(line.split(":\t", 1) for line in lines if ":\t" in line))
    return found


def expect_confined(daemon, *capabilities):
    expected = sum(1 << BITS[name] for name in capabilities)
    found = threads(daemon)
    assert len(found) > 4, found
    for thread in found:
        assert thread["Uid"].split() == [str(USER)] * 4, thread
        sets = [int(thread[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")]
        assert sets == [expected] * 4, thread
        assert (thread["NoNewPrivs"], thread["Seccomp"]) == ("1", "2"), thread


@test()
def two_capabilities_suffice_on_interfaces(bed):
    """Traffic, a restart that keeps connections, and a take-over, as a user that has nothing else."""
    capabilities = ("net_raw", "net_admin")
    with Unprivileged(bed, *capabilities) as user:
        daemon = Daemon(bed, user.config(*on_interfaces(bed.workers)), wrapper=user.wrapper())
        try:
            # A thread that starts after the others are confined.
            daemon.start("--stats-period", "1")
            daemon.add_service(*SERVICE)
            expect_confined(daemon, *capabilities)
            bed.expect(["rs2", "rs1"] * 2)
            kept = Kept(bed)
            assert daemon.stop() == 0, daemon.log()
            daemon.start()
            assert wait_for(kept.still_work)
            daemon.take_over()
            assert kept.still_work()
            expect_confined(daemon, *capabilities)
            daemon.ctl("zero")
            assert daemon.stop() == 0, daemon.log()
        finally:
            daemon.kill()


@test()
def virtual_devices_need_none(bed):
    with Unprivileged(bed) as user, user.lbd(user.config("net_null0", "net_null1")) as daemon:
        expect_confined(daemon)
        daemon.add_service(*SERVICE)
        assert daemon.json("list")["services"]


@test()
def a_missing_capability_is_named_before_anything_is_touched(bed):
    with Unprivileged(bed, "net_raw") as user:
        said = user.refused(user.config())
        assert "needs CAP_NET_ADMIN: " in said and "AmbientCapabilities=CAP_NET_ADMIN" in said, said
        assert "CAP_NET_RAW" not in said and "starting DPDK" not in said, said
        said = user.refused(user.config("net_tap0", "net_null0"))
        assert "port vip0: net_tap0 needs CAP_NET_ADMIN: " in said, said


@test()
def a_group_that_the_user_is_not_in_is_refused(bed):
    with Unprivileged(bed) as user:
        config = user.config("net_null0", "net_null1")
        config["control"]["group"] = "daemon"
        said = user.refused(config)
        assert 'may not give it to group "daemon", of which it is no member' in said, said


@test()
def without_seccomp_it_says_so(bed):
    with Unprivileged(bed) as user, user.lbd(user.config("net_null0", "net_null1"), "--seccomp", "off") as daemon:
        assert daemon.says("system calls are not confined: --seccomp off"), daemon.log()
        assert {thread["Seccomp"] for thread in threads(daemon)} == {"0"}


@test()
def systemd_hears_of_it_again_and_again_also_of_a_successor(bed):
    """The test is systemd: it listens, and asks for a sign of life within 4 s."""
    with Unprivileged(bed, "net_raw", "net_admin") as user, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        path = user.folder / "notify"
        systemd.bind(str(path))
        path.chmod(0o777)
        systemd.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        systemd.settimeout(PATIENCE)

        def heard():
            """The next word, and which process says it."""
            data, ancillary, _, _ = systemd.recvmsg(4096, 256)
            credentials = next(value for _, kind, value in ancillary if kind == socket.SCM_CREDENTIALS)
            return data.decode().strip(), int.from_bytes(credentials[:4], "little")

        watched = {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": 4_000_000}
        # Of a shell that has started it.
        daemon = Daemon(bed, user.config(*on_interfaces(bed.workers)), wrapper=user.wrapper(**watched))
        try:
            daemon.start()
            first = daemon.process.pid
            assert [heard() for _ in range(4)] == [("READY=1", first)] + [("WATCHDOG=1", first)] * 3
            daemon.wrapper = user.wrapper(**watched, WATCHDOG_PID=1)
            daemon.take_over()
            second, words = daemon.process.pid, []
            while words.count(("WATCHDOG=1", second)) < 3:
                words.append(heard())
            assert ("READY=1", second) in words and (f"MAINPID={second}", first) in words, words
            assert daemon.stop() == 0, daemon.log()
        finally:
            daemon.kill()


def thread_of(daemon, kind):
    """The number of a thread of this kind, of several the last; None if there is none yet. A new one has the name of the
    one that has started it until it gives itself another."""
    process, found = daemon.process.pid, []
    if kind == "control":
        return process
    for task in Path(f"/proc/{process}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if (task / "comm").read_text().startswith(THREADS[kind]):
                found.append(int(task.name))
    return max(found, default=None)


def held(daemon, kind):
    thread = wait_for(lambda: thread_of(daemon, kind))
    assert thread, f"there is no thread for {kind}"
    return Held(daemon.process.pid, thread)


@contextlib.contextmanager
def with_statistics(user, config, *options):
    """lbd with a thread that starts after the others are confined. It leaves no core dump, whatever becomes of it."""
    daemon = Daemon(user.bed, config, wrapper=["prlimit", "--core=0", *user.wrapper()])
    daemon.start("--stats-period", "3600", *options)
    try:
        yield daemon
    finally:
        daemon.kill()


def expect_ended(daemon, kind, call, **how):
    """The kernel ends all of it where this thread makes this call."""
    try:
        with held(daemon, kind) as thread:
            returned = thread.call(call, **how)
    except Ended:
        assert daemon.process.wait(PATIENCE) == -signal.SIGSYS, (kind, call)
    else:
        raise AssertionError(f"{kind}: call {call} returned {returned}")


@test(may_be_skipped=not HERE)
def a_call_that_only_an_attacker_makes_ends_it_in_whichever_thread(bed):
    calls = [(kind, EXECVE) for kind in THREADS]
    calls += [(list(THREADS)[index % len(THREADS)], call) for index, call in enumerate(DEADLY.values())]
    with Unprivileged(bed) as user:
        config = user.config("net_null0", "net_null1")
        config["connections"]["keep"] = "off"
        for kind, call in calls:
            with with_statistics(user, config) as daemon:
                expect_ended(daemon, kind, call)
        with with_statistics(user, config, "--seccomp", "off") as daemon, held(daemon, "worker") as thread:
            try:
                has_32_bits = thread.call(GETPID_OF_32_BITS, entry=OF_32_BITS) == daemon.process.pid
            except NoSuchEntry:
                has_32_bits = False
        if has_32_bits:
            with with_statistics(user, config) as daemon:
                expect_ended(daemon, "worker", EXECVE_OF_32_BITS, entry=OF_32_BITS)


@test(may_be_skipped=not HERE)
def calls_that_it_does_not_need_fail_in_all_threads_and_it_goes_on(bed):
    """With traffic. When it has been ended at last, the next one keeps the connections."""
    of_code = mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    missing = {"kill": (KILL, 0, 0), "fork": (FORK,), "mmap of code": (MMAP, 0, mmap.PAGESIZE, *of_code, -1, 0),
               "socket of another family": (SOCKET, socket.AF_VSOCK, socket.SOCK_STREAM, 0),
               "execve of x32": (EXECVE_OF_X32,)}
    with Unprivileged(bed, "net_raw", "net_admin") as user:
        config = user.config(*on_interfaces(bed.workers))
        with with_statistics(user, config) as daemon:
            daemon.add_service(*SERVICE)
            bed.expect(["rs2", "rs1"])
            for kind in THREADS:
                with held(daemon, kind) as thread:
                    assert thread.call(GETPID) == daemon.process.pid, kind
                    for name, call in missing.items():
                        assert thread.call(*call) == -errno.ENOSYS, (kind, name)
                bed.expect(["rs2", "rs1"])
            kept = Kept(bed)
            expect_ended(daemon, "worker", EXECVE)
            daemon.start()
            assert wait_for(kept.still_work)
            assert daemon.stop() == 0, daemon.log()


@test(may_be_skipped=not HERE)
def without_seccomp_it_is_the_kernel_that_refuses(bed):
    """It finds no program at the address -1. In all other cases of these tests, too, nothing is done that matters if the
    filter lets the call pass."""
    with Unprivileged(bed) as user:
        for mode in ("off", "log"):
            with with_statistics(user, user.config("net_null0", "net_null1"), "--seccomp", mode) as daemon:
                for kind in THREADS:
                    with held(daemon, kind) as thread:
                        assert thread.call(EXECVE) == -errno.EFAULT, (mode, kind)
                assert daemon.json("status")["ports"]
                assert daemon.stop() == 0, daemon.log()
