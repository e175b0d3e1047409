"""What is checked of every kind of card: buffers of any number and size, several workers, either way of binding."""

import itertools
import re

from tests.guest import rig as rigs
from tests.guest.rig import exchange, random_endpoints
from tests.lab import runner
from tests.lab.sockets import udp_echo, udp_socket
from tests.lab.testbed import REALS, VIP

JUMBO = 9000
# The number of buffers, from the fewest that the file may name.
COUNTS = (512, 1024, 2048, 8192)
# Bytes of a buffer, and the MTU.
SIZES = ((1518, 1500), (1536, 1500), (2048, 1500), (9018, 9000), (9216, 9000))
# A port of its own for each echo server: the thread of one before may still have its.
PORTS = itertools.count(5001)
WITH_SEVERAL_QUEUES = ("igb", "virtio")


def register(pairs):
    """A check of its own for every kind and property."""
    for pair in pairs:
        for name, function in (("counts", counts), ("sizes", sizes), ("workers", workers), ("restart", restart), ("second", second)):
            add(pair, "uio_pci_generic", name, function)
        # The legacy interface knows no IOMMU.
        if pair.kind != "legacy":
            add(pair, "vfio-pci", "vfio", traffic)
            add(pair, "vfio-pci", "second_on_vfio", second)
        add(pair, "uio_pci_generic", "no_huge_pages", no_huge_pages)


def add(pair, driver, name, function):
    def check(rig):
        rig.guest.bind(pair, driver)
        rig.guest.plug(pair)
        function(rig)

    runner.TESTS.append(runner.Test(f"{pair.kind}.{name}", check, 900))


def widen(bed):
    """Lets every link of the lab carry frames of 9,000 bytes; what is sent depends on its sender's MTU."""
    for host in ("client", "lb", "sw", *REALS):
        links = bed.run(host, "ip", "-o", "link").stdout
        for link in re.findall(r"^\d+: ([^:@]+)", links, re.MULTILINE):
            if link != "lo":
                bed.run(host, "ip", "link", "set", link, "mtu", JUMBO, check=False)


def clients_mtu(rig, mtu):
    for host in ("client", *REALS):
        rig.bed.run(host, "ip", "link", "set", "eth0", "mtu", mtu)


def drops(status, *reasons):
    return {reason: status["drops"][reason] for reason in reasons if status["drops"].get(reason)}


def counts(rig):
    """Whatever is accepted goes on: more packets than all rings together hold, and buffers are left."""
    clients_mtu(rig, 1500)
    accepted = 0
    for count in COUNTS:
        settings = rigs.config(rig.guest.plugged, 1, "auto", "vip")
        settings["buffers"] = {"count": count}
        if not rig.try_lbd(settings):
            line = rig.log().strip().splitlines()[-1]
            print(f"        count {count}: refused: {line}", flush=True)
            least = re.search(rf"count = {count} is too few.* set it to (\d+) or more", line)
            assert least and int(least[1]) > count, rig.log()
            continue
        accepted += 1
        with rig.serving():
            clients = random_endpoints(max(1500, 3 * count // 2), seed=count)
            unanswered, sent = exchange(rig.bed, clients)
            status = rig.status()
            ports = [(port["buffers_in_use"], port["rx_missed"]) for port in status["ports"]]
            print(f"        count {count}: {sent} datagrams of {len(clients)} clients, unanswered {len(unanswered)}; buffers in use "
                  f"and frames missed {ports}", flush=True)
            assert not unanswered, f"{status}\n{rig.log()}"
            assert not drops(status, "no_buffer", "segmented"), status
            assert all(in_use < count for in_use, _ in ports), ports
    assert accepted, "no count at all was accepted"


def sizes(rig):
    """Whatever is accepted takes a frame of the MTU, and every shorter one, in one piece."""
    for size, mtu in SIZES:
        clients_mtu(rig, mtu)

        def change(settings, size=size, mtu=mtu):
            # Buffers for long frames of few kinds of cards are twice as long: few of them fit the memory.
            settings["buffers"] = {"count": 2048, "cache": 32, "size": size}
            for port in settings["port"]:
                port["mtu"] = mtu

        with rig.lbd(1, change=change):
            in_force = min(limit(rig.log(), mtu))
            print(f"        size {size}, MTU {mtu}{'' if in_force == mtu else f', {in_force} in force'}", flush=True)
            echo(rig, in_force)
            status = rig.status()
            assert not drops(status, "segmented", "truncated"), status


def limit(log, mtu):
    """The MTUs that lbd says it uses instead."""
    return [mtu, *(int(used) for used in re.findall(r"is not possible with this device and these buffers, (\d+) is used", log))]


def echo(rig, mtu):
    """Datagrams of many lengths come back as they were."""
    port = next(PORTS)
    rig.lbctl(f"add-service -u {VIP}:{port}")
    rig.lbctl(f"add-real -u {VIP}:{port} -r {REALS['rs1']}:{port} -m")
    longest = mtu - 28
    lengths = sorted({1, 18, 19, 100, 900, 990, 1000, 1005, 1024, 1200, 1472, 2000, 2020, 3000, 4000, 4050, 8100, 8160, 8192,
                      longest - 1, longest})
    with udp_echo(rig.bed, "rs1", port), udp_socket(rig.bed, "client", 30000, seconds=2) as client:
        for length in lengths:
            if length <= longest:
                data = bytes(number % 251 for number in range(length))
                assert ask(client, port, data) == data, f"{length} bytes: {rig.status()}"


def ask(client, port, data, tries=3):
    """The answer to a datagram, which may get lost on a busy machine."""
    for _ in range(tries):
        client.sendto(data, (VIP, port))
        try:
            return client.recvfrom(65535)[0]
        except TimeoutError:
            pass
    return None


def workers(rig):
    """With two workers no client is left out; a card that can steers them by itself."""
    clients_mtu(rig, 1500)
    clients = random_endpoints(1000, seed=7)
    with rig.lbd(2, change=lambda settings: settings.update(buffers={"count": 8192})) as server:
        unanswered, sent = exchange(rig.bed, clients)
        unreached, _ = exchange(rig.bed, clients, server.push)
        status = rig.status()
        steering = [port["steering"] for port in status["ports"]]
        shares = [worker["created"] for worker in status["workers"]]
        handed = sum(worker["handed_over"] for worker in status["workers"])
        print(f"        {sent} datagrams of {len(clients)} clients, unanswered {len(unanswered)}, then unreached {len(unreached)}; {steering}; "
              f"connections of each worker {shares}; handed over {handed}, misdirected {[p['misdirected'] for p in status['ports']]}", flush=True)
        assert not unanswered and not unreached, f"{status}\n{rig.log()}"
        assert sum(shares) == len(clients) and min(shares) > 0.3 * len(clients), status
        assert not drops(status, "transmit_full", "no_buffer"), status
        if rig.guest.plugged.kind in WITH_SEVERAL_QUEUES:
            assert all(text.startswith("by the NIC") for text in steering), f"{steering}\n{rig.log()}"
        if rig.guest.plugged.kind == "igb":
            assert handed == 0 and all(port["misdirected"] == 0 for port in status["ports"]), status


def traffic(rig):
    """Ping, web and datagrams pass; twice, for the first lbd must leave the card as the next one needs it."""
    clients_mtu(rig, 1500)
    for _ in range(2):
        with rig.lbd(1):
            rig.bed.run("client", "ping", "-c", 3, "-i", 0.3, "-W", 5, VIP, timeout=60)
            rigs.requests(rig.bed, 5)
            echo(rig, 1500)
            print(f"        {rig.status()['ports'][0]['driver']}", flush=True)


def restart(rig):
    """A killed lbd leaves a card that the next one takes over."""
    clients_mtu(rig, 1500)
    settings = rigs.config(rig.guest.plugged, 1, "auto", "vip")
    assert rig.try_lbd(settings), rig.log()
    rig.guest.run("kill -9 $(cat /tmp/lbd.pid)")
    with rig.lbd(1):
        echo(rig, 1500)


def second(rig):
    """Another lbd with a socket of its own does not take the card away: it is refused, and the first goes on."""
    clients_mtu(rig, 1500)
    with rig.lbd(1):
        settings = rigs.config(rig.guest.plugged, 1, "auto", "vip")
        settings["control"]["socket"] = "/run/second.sock"
        rig.guest.write("/tmp/second.toml", rigs.to_toml(settings))
        said = rig.guest.run("lbd --config /tmp/second.toml 2>&1; echo exit code $?; echo first $(cat /tmp/lbd.pid)", timeout=60)
        first = re.search(r"first (\d+)", said)[1]
        print(f"        {next(line for line in said.splitlines() if line.startswith('lbd:'))}", flush=True)
        assert "exit code 1" in said and f"process {first} (lbd) has {rig.guest.plugged.address('vip0')}" in said, said
        echo(rig, 1500)


def no_huge_pages(rig):
    """A device on uio cannot go without them, and the last line says so."""
    settings = rigs.config(rig.guest.plugged, 1, "auto", "vip")
    settings["eal"]["hugepages"] = "never"
    if rig.try_lbd(settings):
        rig.stop_lbd()
        # The legacy interface of virtio is used by port numbers, and takes what the kernel gives.
        raise runner.Skip("this one goes without")
    line = rig.log().strip().splitlines()[-1]
    print(f"        {line}", flush=True)
    assert "needs huge pages" in line and "as configured" in line, rig.log()
