"""Starting, stopping, dying and coming back; configuration errors; the control socket."""

import os
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

from .families import BOTH
from .runner import test
from .testbed import PATIENCE, REALS, ROOT, VIP, Daemon, binary, to_toml, wait_for

SERVICE = ("tcp", f"{VIP}:80", [(f"{REALS['rs1']}:80", 1), (f"{REALS['rs2']}:80", 1)])


def with_state(bed):
    config = bed.config()
    config["control"]["state"] = str(bed.dir / "state")
    return config


def lbd(*words):
    return subprocess.run([binary("lbd"), *map(str, words)], capture_output=True, text=True, timeout=2 * PATIENCE)


@test(families=BOTH)
def a_killed_daemon_comes_back_with_its_services(bed):
    service = ("tcp", bed.ip.at(bed.ip.vip, 80), bed.ip.pool())
    with bed.lbd(with_state(bed), services=[service]) as daemon:
        bed.expect(["rs2", "rs1"])
        saved = daemon.ctl("save")
        times = []
        for _ in range(3):
            daemon.kill()
            daemon.start()
            ready = time.monotonic()
            bed.expect(["rs2", "rs1"])
            times.append(time.monotonic() - ready)
            assert daemon.ctl("save") == saved
        # Whatever else the machine has to do, it is hardly in the way each time.
        assert min(times) < 2, times


@test()
def the_state_replaces_the_files_services(bed):
    config = with_state(bed)
    config["service"] = [{"listen": f"tcp://{VIP}:81", "real": [{"address": f"{REALS['rs1']}:80"}]}]
    with bed.lbd(config) as daemon:
        assert daemon.service()["port"] == 81
        daemon.ctl("clear")
        daemon.kill()
        daemon.start()
        assert daemon.json("list")["services"] == []


@test()
def a_second_daemon_on_the_socket_is_refused(bed):
    with bed.lbd(services=[SERVICE]) as first:
        config = bed.config()
        config["eal"]["args"][-1] += "-second"
        second = Daemon(bed, config, name="second")
        second.spawn()
        try:
            assert second.process.wait(PATIENCE) == 1
        finally:
            second.kill()
        assert config["control"]["socket"] in second.log(), second.log()
        bed.expect(["rs2", "rs1"])
        assert first.lbctl("list").returncode == 0
    second.log_file.unlink()


@test()
def a_dead_daemons_socket_is_taken_over(bed):
    with bed.lbd() as daemon:
        daemon.kill()
        assert os.path.exists(daemon.socket)
        daemon.start()
        assert daemon.lbctl("list").returncode == 0


@test()
def termination_is_clean(bed):
    for number in (signal.SIGTERM, signal.SIGINT):
        with bed.lbd(services=[SERVICE]) as daemon:
            assert stat.S_IMODE(os.stat(daemon.socket).st_mode) == 0o660
            daemon.process.send_signal(number)
            assert daemon.process.wait(PATIENCE) == 0
            assert not os.path.exists(daemon.socket)
            gone = daemon.lbctl("list")
            assert gone.returncode == 3 and daemon.socket in gone.stderr, gone.stderr


@test()
def signals_that_do_not_stop_it_are_logged_and_ignored(bed):
    # All that end a process by default, but for the two that stop lbd, the one by which it reads its file again, and
    # those that a fault of its own raises.
    faults = {"SIGILL", "SIGTRAP", "SIGABRT", "SIGBUS", "SIGFPE", "SIGSEGV", "SIGSYS"}
    harmless = {"SIGCHLD", "SIGCONT", "SIGURG", "SIGWINCH", "SIGPIPE", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU"}
    named = {s.name for s in signal.Signals} - faults - harmless - {"SIGTERM", "SIGINT", "SIGHUP", "SIGKILL", "SIGRTMIN", "SIGRTMAX"}
    assert {"SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGXFSZ"} <= named
    with bed.lbd(services=[SERVICE]) as daemon:
        for name in sorted(named):
            daemon.process.send_signal(signal.Signals[name])
            assert wait_for(lambda: daemon.says(f"warn: {name} from process {os.getpid()} of user 0 is ignored: ")), name
        for offset in (0, 1, signal.SIGRTMAX - signal.SIGRTMIN):
            daemon.process.send_signal(signal.SIGRTMIN + offset)
            assert wait_for(lambda: daemon.says(rf"warn: SIGRTMIN\+{offset} from process")), offset
        # A flood of them is no flood of lines.
        lines, began = len(daemon.log().splitlines()), time.monotonic()
        for _ in range(5000):
            daemon.process.send_signal(signal.SIGUSR1)
        bed.expect(["rs2", "rs1"])
        said = len(daemon.log().splitlines()) - lines
        assert said <= 2 + (time.monotonic() - began), daemon.log()
        assert daemon.lbctl("list").returncode == 0


@test()
def a_reader_of_the_log_that_goes_away_ends_nothing(bed):
    daemon = Daemon(bed, bed.config())
    read_end, write_end = os.pipe()
    os.close(read_end)
    daemon.process = bed.spawn("lb", binary("lbd"), "--config", daemon.file, stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=write_end)
    os.close(write_end)
    try:
        assert wait_for(lambda: daemon.lbctl("list").returncode == 0 or daemon.process.poll() is not None)
        assert daemon.process.poll() is None, f"lbd ended with {daemon.process.poll()}"
        assert daemon.stop() == 0
    finally:
        daemon.kill()


@test()
def check_starts_nothing(bed):
    file = bed.dir / "checked.toml"
    file.write_text(to_toml(bed.config()))
    done = lbd("--config", file, "--check")
    assert done.returncode == 0, done.stderr
    assert not (bed.dir / "lbd.sock").exists()
    lines = file.read_text().splitlines()
    faults = [lines.index("[connections]"), next(i for i, line in enumerate(lines) if line.startswith("memory_mb"))]
    lines[faults[0]] = "[conections]"
    lines[faults[1]] = 'memory_mb = "much"'
    file.write_text("\n".join(lines))
    done = lbd("--config", file, "--check")
    assert done.returncode == 2
    for fault in faults:
        assert f"{file}:{fault + 1}: " in done.stderr + done.stdout, done.stderr + done.stdout
    file.unlink()


@test()
def a_missing_file_or_device_is_named(bed):
    done = lbd("--config", bed.dir / "no.toml")
    assert done.returncode == 2 and "no.toml: " in done.stderr, done.stderr
    config = bed.config()
    config["port"][0]["device"] = "net_af_packet0,iface=nosuch0"
    daemon = Daemon(bed, config)
    daemon.spawn()
    try:
        assert daemon.process.wait(PATIENCE) == 1
    finally:
        daemon.kill()
    assert daemon.says("nosuch0"), daemon.log()


@test()
def refusals_have_their_words_and_codes(bed):
    with bed.lbd(services=[SERVICE]) as daemon:
        one, other = f"{VIP}:80", f"{VIP}:81"
        for words, code, text in [
            (["add-service", "-t", one], 1, "service exists"),
            (["del-service", "-t", other], 1, "no such service"),
            (["add-real", "-t", other, "-r", "10.0.0.7"], 1, "no such service"),
            (["add-real", "-t", one, "-r", "10.0.0.7"], 1, "real exists"),
            (["del-real", "-t", one, "-r", "10.0.0.9"], 1, "no such real"),
            (["add-service", "-t", other, "-s", "nonsense"], 1, 'unknown scheduler "nonsense" (known: '),
            (["add-service", "-t", "192.168.10:80"], 2, ""),
            (["add-real", "-t", one, "-r", "10.0.0.9", "-w", "65536"], 2, ""),
            (["no-such-command"], 2, ""),
        ]:
            done = daemon.lbctl(*words)
            assert done.returncode == code and text in done.stderr, (words, done.returncode, done.stderr)
            assert code != 1 or done.stderr.startswith("lbctl: ") and done.stderr.count("\n") == 1, done.stderr


@test()
def bad_peers_on_the_socket_disturb_nobody(bed):
    with bed.lbd(services=[SERVICE]) as daemon:
        peers = []
        for first_bytes in (b"", b"garbage\n", b"\0" * 1_000_000, b'{"v":1,"command":'):
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            peer.connect(daemon.socket)
            peer.setblocking(False)
            try:
                peer.send(first_bytes)
            except (BlockingIOError, BrokenPipeError):
                pass
            peers.append(peer)
        bed.expect(["rs2", "rs1"] * 2)
        assert daemon.lbctl("list").returncode == 0
        for peer in peers:
            peer.close()
        assert wait_for(lambda: daemon.lbctl("status").returncode == 0)


@test()
def the_demo_removes_no_lab_but_its_own(bed):
    demo, lab = ROOT / "scripts" / "demo", ROOT / "scripts" / "lab"
    up = subprocess.run([lab, "up", "--reals", "0", "--owner", str(os.getpid())], capture_output=True, text=True, check=True)
    other = Path(up.stdout.strip())
    try:
        refused = subprocess.run([demo, "--clean", other], capture_output=True, text=True)
        assert refused.returncode == 1 and "is no lab that scripts/demo --keep left" in refused.stderr, refused
        assert (other / "hosts").exists()
        (other / "kept-by-demo").touch()
        subprocess.run([demo, "--clean", other], check=True)
        assert not other.exists() and (bed.dir / "hosts").exists()
    finally:
        if other.exists():
            subprocess.run([lab, "down", other], check=True)
