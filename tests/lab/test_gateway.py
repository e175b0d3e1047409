"""Packets of no connection: routed between the sides, or dropped where the configuration says so."""

import contextlib

from .runner import test
from .sockets import http_server, udp_echo, udp_socket
from .testbed import CLIENT, MACS, PATIENCE, REALS, VIP, wait_for

RS1 = REALS["rs1"]
SERVICE = ("tcp", f"{VIP}:80", [(f"{RS1}:80", 1)])


@contextlib.contextmanager
def route_to_the_reals(bed):
    """The client knows the way to 10.0.0.0/24 meanwhile."""
    bed.run("client", "ip", "route", "replace", "10.0.0.0/24", "via", VIP)
    try:
        yield
    finally:
        bed.run("client", "ip", "route", "del", "10.0.0.0/24")


def unmatched_drop(bed):
    return bed.config() | {"forward": {"unmatched": "drop"}}


@test()
def a_real_reaches_the_client_untranslated(bed):
    with route_to_the_reals(bed), http_server(bed, "client", 8000, "client sees"), bed.lbd(services=[SERVICE]):
        bed.run("rs1", "ping", "-c", 3, "-i", 0.1, "-W", PATIENCE, CLIENT)
        assert bed.curl(f"http://{CLIENT}:8000/", host="rs1") == f"client sees {RS1}\n"


@test()
def the_client_reaches_a_real_untranslated(bed):
    with route_to_the_reals(bed), bed.lbd(services=[SERVICE]), udp_echo(bed, "rs1", 5005):
        ping = bed.run("client", "ping", "-c", 3, "-i", 0.1, "-W", PATIENCE, RS1).stdout
        assert "ttl=63" in ping, ping
        assert bed.curl(f"http://{RS1}:8080/") == f"{RS1} rs1\n"
        with udp_socket(bed, "client") as client:
            client.sendto(b"hello", (RS1, 5005))
            assert client.recvfrom(100) == (b"hello", (RS1, 5005))


@test()
def an_endpoints_packet_without_connection_is_dropped(bed):
    with route_to_the_reals(bed), bed.lbd(services=[SERVICE]) as lbd:
        done = bed.run("client", "curl", "-sS", "--max-time", 1, f"http://{RS1}/", check=False)
        assert done.returncode == 28, done.stderr
        assert lbd.json("status")["drops"]["real_without_connection"] > 0


@test()
def nothing_is_routed_where_unmatched_is_drop(bed):
    with route_to_the_reals(bed), bed.lbd(unmatched_drop(bed), services=[SERVICE]) as lbd:
        for host, target in (("rs1", CLIENT), ("client", RS1)):
            assert bed.run(host, "ping", "-c", 1, "-W", 1, target, check=False).returncode == 1
        assert lbd.json("status")["drops"]["unrouted"] >= 2
        bed.expect(["rs1"] * 2)


@test()
def a_route_leads_to_clients_behind_a_router(bed):
    with route_to_the_reals(bed), far_client(bed), bed.lbd(far_config(bed), services=[SERVICE]):
        assert bed.curl(host="far") == f"{RS1} rs1\n"
        bed.run("rs1", "ping", "-c", 1, "-W", PATIENCE, FAR)


@test()
def a_gateway_is_the_way_to_everything_else(bed):
    config = bed.config()
    config["port"][0]["gateway"] = CLIENT
    with far_client(bed), bed.lbd(config, services=[SERVICE]):
        assert bed.curl(host="far") == f"{RS1} rs1\n"


@test()
def no_route_is_a_counted_drop(bed):
    with bed.lbd(services=[SERVICE]) as lbd:
        assert bed.run("rs1", "ping", "-c", 1, "-W", 1, FAR, check=False).returncode == 1
        assert wait_for(lambda: lbd.json("status")["drops"].get("no_route", 0) > 0)


FAR, FAR_ROUTER = "172.16.9.2", "172.16.9.1"


def far_config(bed):
    return bed.config() | {"route": [{"to": "172.16.9.0/24", "via": CLIENT}]}


@contextlib.contextmanager
def far_client(bed, mtu=1500):
    """A host `far` behind the client, which is its router; towards it the link's MTU is `mtu`."""
    name = f"{bed.dir.name}-far"
    hosts = bed.dir / "hosts"
    listed = hosts.read_text()
    hosts.write_text(listed + "far\n")
    try:
        bed.run("client", "ip", "netns", "add", name)
        bed.run("client", "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", name)
        for words in (["link", "set", "eth1", "up", "mtu", mtu], ["address", "add", f"{FAR_ROUTER}/24", "dev", "eth1"]):
            bed.run("client", "ip", *words)
        for words in (["link", "set", "eth0", "up"], ["address", "add", f"{FAR}/24", "dev", "eth0"],
                      ["route", "add", "default", "via", FAR_ROUTER]):
            bed.run("far", "ip", *words)
        for host, device in (("client", "eth1"), ("far", "eth0")):
            bed.run(host, "ethtool", "-K", device, "tx", "off", "gro", "off")
        bed.run("client", "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        yield
    finally:
        bed.run("client", "sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_forward")
        bed.run("client", "ip", "link", "del", "eth1", check=False)
        bed.run("client", "ip", "netns", "del", name, check=False)
        hosts.write_text(listed)


@test()
def a_gateway_outside_the_prefix(bed):
    config = bed.config()
    vip0, dip0 = config["port"]
    # As clouds set interfaces up: nobody shares the prefix, and the router is on the link all the same.
    vip0.update(addresses=[f"{VIP}/32"], gateway=CLIENT)
    dip0.update(addresses=["10.0.0.8/32"], gateway=REALS["rs1"])
    config["neighbour"] = [{"address": REALS["rs2"], "mac": MACS["rs2"], "port": "dip0"}]
    services = [("tcp", f"{VIP}:80", [(f"{REALS['rs1']}:80", 1), (f"{REALS['rs2']}:80", 1)])]
    with bed.lbd(config, services=services):
        bed.expect(["rs2", "rs1"] * 2)
