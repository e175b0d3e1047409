"""Restarts under load: what is held stays, downloads are whole, and what cannot be kept is said and counted."""

import contextlib
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from .families import BOTH
from .restarting import config, in_file, kill_and_start, kill_and_start_with, stop_and_start, take_over
from .runner import test
from .sockets import Greeters
from .testbed import PATIENCE, Daemon, wait_for
from .traffic.held import Held
from .traffic.load import SMALL, Load, families, services
from .traffic.servers import ECHO

# Without what takes time to start and to end.
HELD_ONLY = replace(SMALL, openings=0, download=0)
# A port of the VIP whose reals are those of ECHO.
OTHER = 7100


def restart(load, daemon, way):
    """Restarts it, and waits until all that is not lost has been heard of."""
    began = time.monotonic()
    way(daemon)
    load.settle(time.monotonic())
    # How long it is depends on what else the machine does: see scripts/restarts.
    assert load.gap(began) < PATIENCE


def nothing_is_lost(load):
    outcome = load.finish()
    assert not outcome.losses(), outcome.losses()


def held_by(daemon):
    """The connections to ECHO that the reals are counted to have."""
    return sum(real["active"] for service in daemon.json("list")["services"] if service["port"] == ECHO
               for real in service["reals"])


def keeping(bed, folder):
    made = config(bed)
    made["connections"]["keep"] = str(folder)
    return made


def tables(folder):
    return sorted(Path(folder).rglob("*.tables"))


def crash(daemon):
    """As by a fault of its own."""
    daemon.process.send_signal(signal.SIGSEGV)
    assert daemon.process.wait(PATIENCE) == -signal.SIGSEGV


@contextlib.contextmanager
def tmpfs(bed, *options):
    """A small file system of memory for what is kept."""
    folder = bed.dir / "keep"
    folder.mkdir(mode=0o700)
    bed.run("lb", "mount", "-t", "tmpfs", "-o", ",".join(["mode=0700", *options]), "tmpfs", folder)
    try:
        yield folder
    finally:
        bed.run("lb", "umount", "--lazy", folder)
        folder.rmdir()


@test()
def a_stop_or_a_crash_loses_no_connection(bed):
    with bed.lbd(config(bed), services()) as daemon, Load(bed, SMALL) as load:
        for way in (stop_and_start, kill_and_start) * 2:
            restart(load, daemon, way)
            assert wait_for(lambda: held_by(daemon) == SMALL.connections), held_by(daemon)
        nothing_is_lost(load)


@test()
def a_successor_takes_over_every_connection(bed):
    with bed.lbd(config(bed), services()) as daemon, Load(bed, SMALL) as load:
        for _ in range(2):
            restart(load, daemon, take_over)
            assert wait_for(lambda: held_by(daemon) == SMALL.connections), held_by(daemon)
        nothing_is_lost(load)


@test()
def the_number_of_workers_may_change(bed):
    two, one = config(bed, workers=2), config(bed, workers=1)
    with bed.lbd(two, services()) as daemon, Load(bed, SMALL) as load:
        for made in (one, two):
            restart(load, daemon, kill_and_start_with(made))
            assert wait_for(lambda: held_by(daemon) == SMALL.connections), held_by(daemon)
        assert all(worker["connections"] for worker in daemon.json("status")["workers"]), daemon.json("status")
        nothing_is_lost(load)


@test()
def a_smaller_table_keeps_the_established_ones(bed):
    def with_room_for(capacity):
        made = config(bed, workers=1)
        made["connections"]["capacity"] = capacity
        return made

    worker = lambda: daemon.json("status")["workers"][0]
    with bed.lbd(with_room_for(1024), services()) as daemon, Load(bed, replace(SMALL, openings=400, download=0)) as load:
        # Those that are over stay for two minutes, so that there are more than a half of it, of each family.
        assert wait_for(lambda: worker()["connections"] > 1300), worker()
        # What its real has not confirmed yet would rightly have no place in a table that is too small.
        assert wait_for(lambda: load.openings.call("finish") == 0)
        restart(load, daemon, kill_and_start_with(with_room_for(512)))
        assert worker()["capacity"] == 512 and 800 < worker()["connections"] <= 1024, worker()
        assert wait_for(lambda: held_by(daemon) == SMALL.connections), held_by(daemon)
        restart(load, daemon, kill_and_start_with(with_room_for(2048)))
        assert worker()["capacity"] == 2048, worker()
        assert wait_for(lambda: held_by(daemon) == SMALL.connections), held_by(daemon)
        nothing_is_lost(load)


@test()
def a_service_that_is_gone_loses_its_own_connections_only(bed):
    other = [("tcp", family.at(family.vip, OTHER), family.pool([1, 1], ECHO)) for family in families()]
    made = config(bed)
    del made["control"]["state"]
    with_both, with_one = dict(made, service=in_file(services() + other)), dict(made, service=in_file(services()))
    with bed.lbd(with_both) as daemon, Load(bed, HELD_ONLY) as load:
        leaving = load.start("client", Held, [(family.domain, (family.vip, OTHER)) for family in families()], 40, 100)
        assert wait_for(lambda: leaving.call("open_ones") == 40)
        restart(load, daemon, kill_and_start_with(with_one))
        assert wait_for(lambda: len(leaving.call("losses")) == 40), leaving.call("losses")
        assert wait_for(lambda: held_by(daemon) == SMALL.connections), held_by(daemon)
        nothing_is_lost(load)


@test(families=BOTH)
def a_client_stays_with_its_real(bed):
    servers = Greeters(bed, 7400)
    listen, service = bed.ip.at(bed.ip.vip, 7400), (bed.ip.vip, 7400)
    with bed.lbd(config(bed)) as daemon:
        daemon.add_service("tcp", listen, servers.reals([1, 0, 0]), "-s", "rr", "-p", 300)
        name = servers.name(service)
        # The first client after a start would have the last one.
        for real, _ in servers.reals([1, 1, 1]):
            daemon.ctl("edit-real", "-t", listen, "-r", real, "-w", 1)
        for way in (stop_and_start, kill_and_start):
            way(daemon)
            assert {servers.name(service) for _ in range(4)} == {name}


@test()
def nothing_is_kept_if_that_is_not_wanted(bed):
    with bed.lbd(keeping(bed, "off"), services()) as daemon, Load(bed, HELD_ONLY) as load:
        stop_and_start(daemon)
        # This also shows that a loss is seen.
        assert wait_for(lambda: len(load.held.call("losses")) == SMALL.connections), load.held.call("losses")


@test()
def without_room_it_says_so_and_forwards(bed):
    with tmpfs(bed, "size=1m") as folder, bed.lbd(keeping(bed, folder), services()) as daemon:
        assert daemon.says(rf"(?m)^warn: .*{folder}"), daemon.log()
        bed.expect(["rs2", "rs1"])
        kill_and_start(daemon)
        assert daemon.says(rf"(?m)^warn: .*{folder}"), daemon.log()
        bed.expect(["rs2", "rs1"])


@test()
def a_folder_that_cannot_be_written_is_named_and_left_as_it_is(bed):
    with tmpfs(bed) as folder, bed.lbd(keeping(bed, folder), services()) as daemon:
        bed.curls(4)
        clients = lambda: {entry["client"] for entry in daemon.json("connections")["connections"]}
        before = clients()
        daemon.kill()
        bed.run("lb", "mount", "-o", "remount,ro", folder)
        daemon.spawn()
        assert daemon.process.wait(PATIENCE) == 1
        assert daemon.says(rf"(?m)^lbd: .*{folder}.*Read-only"), daemon.log()
        bed.run("lb", "mount", "-o", "remount,rw", folder)
        daemon.start()
        assert wait_for(lambda: clients() == before), (clients(), before)
        bed.expect(["rs2", "rs1"])


@test()
def a_folder_belongs_to_one_at_a_time(bed):
    with tmpfs(bed) as folder, bed.lbd(keeping(bed, folder), services()) as first:
        made = keeping(bed, folder)
        made["eal"]["args"][-1] += "-second"
        made["control"]["socket"] += "-second"
        made["control"]["state"] += "-second"
        second = Daemon(bed, made, name="second")
        second.spawn()
        try:
            assert second.process.wait(PATIENCE) == 1, second.log()
        finally:
            second.kill()
        assert second.says(str(folder)), second.log()
        bed.expect(["rs2", "rs1"])
        with Load(bed, HELD_ONLY) as load:
            restart(load, first, kill_and_start)
            nothing_is_lost(load)


@test()
def what_another_wrote_is_refused(bed):
    forgeries = {
        "not a table": lambda file, size: file.write(os.urandom(size)),
        "cut off": lambda file, size: file.truncate(size // 2),
        "empty": lambda file, size: file.truncate(0),
        "one bit": lambda file, size: (file.seek(40), byte := file.read(1), file.seek(40), file.write(bytes([byte[0] ^ 1]))),
    }
    with tmpfs(bed) as folder, bed.lbd(keeping(bed, folder), services()) as daemon:
        for what, forge in forgeries.items():
            bed.curls(4)
            daemon.kill()
            assert tables(folder)
            for path in tables(folder):
                with open(path, "r+b") as file:
                    forge(file, path.stat().st_size)
            daemon.start()
            assert daemon.says(rf"(?m)^warn: .*{folder}"), (what, daemon.log())
            bed.expect(["rs2", "rs1"])


@test()
def however_often_it_is_killed_nothing_is_lost(bed):
    with bed.lbd(config(bed), services()) as daemon, Load(bed, HELD_ONLY) as load:
        for number in (0, 3, 6):
            restart(load, daemon, kill_and_start)
            # Also while it starts, or takes over.
            daemon.kill()
            daemon.spawn()
            wait_for(lambda: daemon.says("memory: "), pause=0.001)
            time.sleep(0.01 * number)
        daemon.kill()
        daemon.start()
        nothing_is_lost(load)


@test()
def what_makes_it_crash_three_times_is_set_aside(bed):
    without_core = ("prlimit", "--core=0")
    with (tmpfs(bed) as folder, bed.lbd(keeping(bed, folder), services(), without_core) as daemon,
          Load(bed, HELD_ONLY) as load):
        restart(load, daemon, kill_and_start)
        for _ in range(2):
            crash(daemon)
            restart(load, daemon, lambda daemon: daemon.start())
        crash(daemon)
        daemon.start()
        assert daemon.says(rf"(?m)^error: .*{folder}/.*\.bad"), daemon.log()
        assert list(folder.glob("*.bad"))
        assert wait_for(lambda: len(load.held.call("losses")) == SMALL.connections)
        bed.expect(["rs2", "rs1"])


@test()
def after_a_reboot_nothing_is_taken_for_connections(bed):
    boot = bed.dir / "boot_id"
    boot.write_text("5a7d6c1e-0000-4000-8000-0123456789ab\n")
    with tmpfs(bed) as folder, bed.lbd(keeping(bed, folder), services()) as daemon:
        bed.curls(4)
        daemon.kill()
        # Another boot, as far as this one can see.
        daemon.wrapper = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"', boot)
        daemon.start()
        assert daemon.json("connections")["connections"] == [] and daemon.says("boot"), daemon.log()
        bed.expect(["rs2", "rs1"])
