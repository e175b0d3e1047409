"""The configuration file is read again under load, and changes are confirmed or taken back."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time

from .runner import test
from .sockets import Load
from .test_restart import tmpfs
from .testbed import PATIENCE, REALS, VIP, binary, wait_for

LISTEN = f"{VIP}:80"
RS1, RS2, RS3 = (f"{address}:80" for address in REALS.values())
# Reloads of the first test; more of them for a longer run.
RELOADS = int(os.environ.get("NATLB_RELOADS", 1000))


def configuration(bed, weights):
    """The lab's, with a service of all reals with these weights."""
    config = bed.config()
    config["control"]["state"] = str(bed.dir / "state")
    reals = [{"address": real, "weight": weight} for real, weight in zip((RS1, RS2, RS3), weights)]
    config["service"] = [{"listen": f"tcp://{LISTEN}", "real": reals}]
    return config


@contextlib.contextmanager
def under_load(bed, lbd):
    """No request fails meanwhile."""
    load = Load(bed, (VIP, 80), clients=4)
    try:
        assert wait_for(lambda: load.total() > 50), load.failures
        yield load
    finally:
        load.stop()
    assert not load.failures, load.failures


def weights(lbd):
    return {f"{real['address']}:{real['port']}": real["weight"] for real in lbd.service()["reals"]}


def ask(lbd, asking, **request):
    """A request and its answer over an open connection to lbd's socket."""
    stream, answers = asking
    stream.sendall(json.dumps({"v": 1, **request}).encode() + b"\n")
    answer = json.loads(answers.readline())
    assert "ok" in answer, (request, answer, lbd.log())
    return answer["ok"]


@contextlib.contextmanager
def asking(lbd):
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(PATIENCE)
        stream.connect(str(lbd.socket))
        yield stream, stream.makefile("rb")


@test()
def a_thousand_reloads_with_one_real_changed_each_fail_no_request(bed):
    current = [1, 1, 1]
    with bed.lbd(configuration(bed, current)) as lbd, under_load(bed, lbd) as load, asking(lbd) as connection:
        before = load.total()
        for number in range(RELOADS):
            # Of each real in turn; one of the three may have no weight for a while, and so gets nothing new.
            place = number % 3
            current[place] = 0 if number % 7 == 0 and 0 not in current else 1 + (current[place] + number) % 9
            lbd.configure(configuration(bed, current))
            done = ask(lbd, connection, command="reload")
            assert len(done["edits"]) <= 1 and done["others"] == [] and done["needs_restart"] == [], done
            assert number % 50 or weights(lbd) == dict(zip((RS1, RS2, RS3), current)), (number, current)
        assert weights(lbd) == dict(zip((RS1, RS2, RS3), current))
        # What is in force is what the file says.
        assert lbd.lbctl("diff").returncode == 0
        assert load.total() > before + 100, load.total()
        changes = lbd.json("history")["changes"]
        assert len(changes) == min(200, RELOADS + 1) or RELOADS < 200, len(changes)
        assert all(change["lines_back"] for change in changes[-50:]), changes[-1]


@test()
def a_faulty_file_under_load_changes_nothing_and_is_named_by_line(bed):
    with bed.lbd(configuration(bed, [1, 2, 3])) as lbd, under_load(bed, lbd):
        text = lbd.file.read_text()
        lbd.file.write_text(text.replace("weight = 2", "weight = -2").replace("weight = 3", "weigth = 3"))
        lines = [1 + number for number, line in enumerate(lbd.file.read_text().splitlines())
                 if "-2" in line and "weight" in line or "weigth" in line]
        version = lbd.json("timeouts")["config_version"]
        for words in (["reload"], ["diff"]):
            refused = lbd.lbctl(*words)
            assert refused.returncode == 1
            named = [line.split(":")[2] for line in refused.stderr.splitlines()]
            assert refused.stderr.startswith(f"lbctl: {lbd.file}:") and named == [str(line) for line in lines], refused.stderr
        lbd.process.send_signal(signal.SIGHUP)
        assert wait_for(lambda: lbd.says(rf"error: {lbd.file}:{lines[1]}: ")), lbd.log()
        assert lbd.json("timeouts")["config_version"] == version and weights(lbd) == {RS1: 1, RS2: 2, RS3: 3}


@test()
def sighup_and_lbd_reload_read_the_file(bed):
    with bed.lbd(configuration(bed, [1, 1, 1])) as lbd, under_load(bed, lbd):
        lbd.configure(configuration(bed, [1, 1, 5]))
        assert lbd.lbctl("diff").returncode == 4
        lbd.process.send_signal(signal.SIGHUP)
        assert wait_for(lambda: weights(lbd)[RS3] == 5), lbd.log()
        assert lbd.says(rf"change \d+: .*\(by SIGHUP, process {os.getpid()}, user root\)"), lbd.log()
        # As the unit does it.
        config = configuration(bed, [1, 4, 5])
        config["eal"]["memory_mb"] += 16
        lbd.configure(config)
        done = subprocess.run([binary("lbd"), "--config", lbd.file, "--reload"], capture_output=True, text=True,
                              timeout=PATIENCE)
        assert done.returncode == 0 and "needs a restart of lbd: [eal] memory_mb" in done.stderr, done
        assert weights(lbd) == {RS1: 1, RS2: 4, RS3: 5} and lbd.process.poll() is None
        assert "is read again, with which" not in done.stderr, done
        # It is the running one's file that is read, whichever is named here.
        other, elsewhere = bed.dir / "other.toml", str(bed.dir / "elsewhere.sock")
        shutil.copy(lbd.file, other)
        done = subprocess.run([binary("lbd"), "--config", other, "--reload"], capture_output=True, text=True,
                              timeout=PATIENCE)
        said = f"{lbd.file} is read again, with which lbd was started, and not {other}"
        assert done.returncode == 0 and said in done.stderr, done
        # Nor does it answer on a socket that it does not have yet.
        other.write_text(lbd.file.read_text().replace(lbd.socket, elsewhere))
        done = subprocess.run([binary("lbd"), "--config", other, "--reload"], capture_output=True, text=True,
                              timeout=PATIENCE)
        assert done.returncode == 1 and "needs a restart to come to this one ([control] socket)" in done.stderr, done
        other.unlink()
        told = lbd.lbctl("reload")
        assert told.returncode == 5 and "[eal] memory_mb" in told.stderr, told
        lbd.file.write_text("faulty")
        refused = subprocess.run([binary("lbd"), "--config", lbd.file, "--reload"], capture_output=True, text=True,
                                 timeout=PATIENCE)
        assert refused.returncode == 2 and f"{lbd.file}:1: " in refused.stderr, refused


@test()
def where_another_program_is_installed_reload_takes_over(bed):
    other = bed.dir / "lbd-of-another-package"
    shutil.copy(binary("lbd"), other)
    config = configuration(bed, [1, 1, 1])
    try:
        with bed.lbd(config) as lbd:
            log = bed.dir / "lbd-other.log"
            successor = None
            try:
                with under_load(bed, lbd):
                    with open(log, "w") as out:
                        asked = bed.spawn("lb", other, "--config", lbd.file, "--reload", stdin=subprocess.DEVNULL,
                                          stdout=out, stderr=subprocess.STDOUT)
                    assert asked.wait(PATIENCE) == 0, log.read_text()
                    assert lbd.process.wait(PATIENCE) == 0, "the exit code of the one before is not 0"
                    with asking(lbd) as connection:
                        successor = ask(lbd, connection, command="program")["process"]
                    assert os.readlink(f"/proc/{successor}/exe") == str(other)
                    # From now on it is this one that reads the file again.
                    lbd.configure(configuration(bed, [1, 1, 7]))
                    again = subprocess.run([other, "--config", lbd.file, "--reload"], capture_output=True, text=True,
                                           timeout=PATIENCE)
                    assert again.returncode == 0, again
                    assert weights(lbd)[RS3] == 7
            finally:
                if successor:
                    os.kill(successor, signal.SIGTERM)
                    assert wait_for(lambda: not os.path.exists(f"/proc/{successor}/exe") or not is_alive(successor))
                    assert "panicked" not in log.read_text()
    finally:
        other.unlink(missing_ok=True)


def is_alive(process):
    with contextlib.suppress(OSError):
        return open(f"/proc/{process}/stat").read().rsplit(")", 1)[1].split()[0] not in "ZX"
    return False


@test()
def what_is_not_confirmed_is_taken_back_by_itself(bed):
    with bed.lbd(configuration(bed, [1, 1, 1])) as lbd, under_load(bed, lbd):
        before = lbd.ctl("save")
        file = bed.dir / "wanted"
        file.write_text(before.replace(f"-r {RS3} -m -w 1", f"-r {RS3} -m -w 9"))
        tried = lbd.lbctl("apply", file, "--dry-run")
        assert tried.returncode == 4 and f"-e -t {LISTEN} -r {RS3} -m -w 9    # " in tried.stdout, tried
        assert lbd.ctl("save") == before
        assert "taken back in 2 s" in lbd.ctl("apply", file, "--confirm", 2)
        began = time.monotonic()
        assert wait_for(lambda: lbd.ctl("save") == before), lbd.log()
        assert time.monotonic() - began < PATIENCE
        assert lbd.says("was not confirmed in time: it is taken back"), lbd.log()
        assert lbd.lbctl("confirm").returncode == 1
        lbd.ctl("apply", file, "--confirm", 600)
        refused = lbd.lbctl("edit-real", "-t", LISTEN, "-r", RS1, "-w", 3)
        assert refused.returncode == 1 and "to be confirmed" in refused.stderr, refused
        assert "waits for lbctl confirm" in lbd.ctl("history", 1)
        lbd.ctl("confirm")
        assert weights(lbd)[RS3] == 9
        lbd.ctl("rollback", "--last")
        assert lbd.ctl("save") == before
        shown = lbd.ctl("history")
        assert "user root" in shown and "lbctl, process" in shown and "lbd itself" in shown, shown
        file.unlink()


@test()
def a_change_that_waits_survives_a_restart_and_a_take_over(bed):
    with bed.lbd(configuration(bed, [1, 1, 1])) as lbd:
        before = lbd.ctl("save")
        wanted = before.replace(f"-r {RS3} -m -w 1", f"-r {RS3} -m -w 9")
        lbd.ctl("apply", "-", "--confirm", 600, input=wanted)
        lbd.take_over()
        assert lbd.lbctl("clear").returncode == 1, "the next one does not know of it"
        lbd.kill()
        lbd.start()
        assert weights(lbd)[RS3] == 9 and lbd.lbctl("clear").returncode == 1
        lbd.ctl("rollback", "--last")
        assert lbd.ctl("save") == before
        # The time is up while none runs.
        lbd.ctl("apply", "-", "--confirm", 1, input=wanted)
        lbd.kill()
        time.sleep(1)
        lbd.start()
        assert wait_for(lambda: lbd.ctl("save") == before), lbd.log()


@test()
def on_a_full_disk_a_change_is_taken_back_all_the_same(bed):
    with tmpfs(bed, "size=64k") as folder:
        config = configuration(bed, [1, 1, 1])
        config["control"]["state"] = str(folder / "state")
        with bed.lbd(config) as lbd:
            before = lbd.ctl("save")
            wanted = before.replace(f"-r {RS3} -m -w 1", f"-r {RS3} -m -w 9")
            lbd.ctl("apply", "-", "--confirm", 2, input=wanted)
            assert len(files(folder)) == 3, files(folder)
            fill(bed, folder)
            assert wait_for(lambda: lbd.ctl("save") == before), lbd.log()
            # The file that is gone has left room.
            fill(bed, folder)
            assert "cannot be written" in lbd.lbctl("edit-real", "-t", LISTEN, "-r", RS1, "-w", 3).stderr
            # No other lbd waits for anything, whatever its history lacks.
            lbd.kill()
            lbd.start()
            assert lbd.ctl("save") == before and lbd.lbctl("confirm").returncode == 1
            (folder / "filler").unlink()
            # What is confirmed leaves nothing behind, nor what is refused.
            lbd.ctl("apply", "-", "--confirm", 600, input=wanted)
            lbd.ctl("confirm")
            assert len(files(folder)) == 2, files(folder)
            fill(bed, folder)
            refused = lbd.lbctl("apply", "-", "--confirm", 600, input=before)
            assert refused.returncode == 1 and "cannot be written" in refused.stderr, refused
            (folder / "filler").unlink()
            assert weights(lbd)[RS3] == 9 and len(files(folder)) == 2, files(folder)


def fill(bed, folder):
    to = [f"of={folder}/filler", "oflag=append", "conv=notrunc"]
    bed.run("lb", "dd", "if=/dev/zero", *to, "bs=4k", check=False)


def files(folder):
    """What is kept there, besides locks."""
    return [file.name for file in folder.iterdir() if not file.name.endswith(".lock")]
