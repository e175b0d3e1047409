"""Packets of no connection: routed between the sides, or dropped where the configuration says so."""

import contextlib

from .families import BOTH, IPV6
from .runner import test
from .sockets import http_server, receive, udp_echo, udp_socket
from .testbed import MACS, PATIENCE, wait_for


def web(bed):
    return "tcp", bed.ip.at(bed.ip.vip, 80), bed.ip.pool([1])


@contextlib.contextmanager
def route_to_the_reals(bed):
    """The client knows the way to the reals' network meanwhile."""
    bed.run("client", "ip", "route", "replace", bed.ip.reals_network, "via", bed.ip.vip)
    try:
        yield
    finally:
        bed.run("client", "ip", "route", "del", bed.ip.reals_network)


def unmatched_drop(bed):
    return bed.config() | {"forward": {"unmatched": "drop"}}


@test(families=BOTH)
def a_real_reaches_the_client_untranslated(bed):
    with route_to_the_reals(bed), http_server(bed, "client", 8000, "client sees"), bed.lbd(services=[web(bed)]):
        bed.run("rs1", "ping", "-c", 3, "-i", 0.1, "-W", PATIENCE, bed.ip.client)
        answer = bed.curl(bed.ip.url(address=bed.ip.client, port=8000), host="rs1")
        assert answer == f"client sees {bed.ip.reals['rs1']}\n", answer


@test(families=BOTH)
def the_client_reaches_a_real_untranslated(bed):
    rs1 = bed.ip.reals["rs1"]
    with route_to_the_reals(bed), bed.lbd(services=[web(bed)]), udp_echo(bed, "rs1", 5005):
        ping = bed.run("client", "ping", "-c", 3, "-i", 0.1, "-W", PATIENCE, rs1).stdout
        assert "ttl=63" in ping, ping
        assert bed.curl(bed.ip.url(address=rs1, port=8080)) == f"{rs1} rs1\n"
        with udp_socket(bed, "client") as client:
            client.sendto(b"hello", (rs1, 5005))
            assert receive(client) == (b"hello", (rs1, 5005))


@test(families=BOTH)
def an_endpoints_packet_without_connection_is_dropped(bed):
    with route_to_the_reals(bed), bed.lbd(services=[web(bed)]) as lbd:
        done = bed.run("client", "curl", "-sS", "--max-time", 1, bed.ip.url(address=bed.ip.reals["rs1"]), check=False)
        assert done.returncode == 28, done.stderr
        assert lbd.json("status")["drops"]["real_without_connection"] > 0


@test(families=BOTH)
def nothing_is_routed_where_unmatched_is_drop(bed):
    with route_to_the_reals(bed), bed.lbd(unmatched_drop(bed), services=[web(bed)]) as lbd:
        for host, target in (("rs1", bed.ip.client), ("client", bed.ip.reals["rs1"])):
            assert bed.run(host, "ping", "-c", 1, "-W", 1, target, check=False).returncode == 1
        assert lbd.json("status")["drops"]["unrouted"] >= 2
        bed.expect(["rs1"] * 2)


@test(families=BOTH)
def a_route_leads_to_clients_behind_a_router(bed):
    with route_to_the_reals(bed), far_client(bed), bed.lbd(far_config(bed), services=[web(bed)]):
        assert bed.curl(host="far") == f"{bed.ip.reals['rs1']} rs1\n"
        bed.run("rs1", "ping", "-c", 1, "-W", PATIENCE, bed.ip.far)


@test(families=BOTH)
def a_gateway_is_the_way_to_everything_else(bed):
    config = bed.config()
    config["port"][0]["gateway"] = bed.ip.client
    with far_client(bed), bed.lbd(config, services=[web(bed)]):
        assert bed.curl(host="far") == f"{bed.ip.reals['rs1']} rs1\n"


@test(families=BOTH)
def no_route_is_a_counted_drop(bed):
    with bed.lbd(services=[web(bed)]) as lbd:
        assert bed.run("rs1", "ping", "-c", 1, "-W", 1, bed.ip.far, check=False).returncode == 1
        assert wait_for(lambda: lbd.json("status")["drops"].get("no_route", 0) > 0)


def far_config(bed):
    return bed.config() | {"route": [{"to": bed.ip.far_network, "via": bed.ip.client}]}


@contextlib.contextmanager
def forwarding(bed, host):
    """The host is a router meanwhile."""
    switch = f"/proc/sys/net/{bed.ip.forwarding}"
    bed.run(host, "sh", "-c", f"echo 1 >{switch}")
    try:
        yield
    finally:
        bed.run(host, "sh", "-c", f"echo 0 >{switch}")


@contextlib.contextmanager
def far_client(bed, mtu=1500):
    """A host `far` behind the client, which is its router; towards it the link's MTU is `mtu`."""
    ip = bed.ip
    name = f"{bed.dir.name}-far"
    hosts = bed.dir / "hosts"
    listed = hosts.read_text()
    hosts.write_text(listed + "far\n")
    try:
        bed.run("client", "ip", "netns", "add", name)
        bed.run("client", "ip", "link", "add", "eth1", "type", "veth", "peer", "name", "eth0", "netns", name)
        nodad = ["nodad"] if ip is IPV6 else []
        for words in (["link", "set", "eth1", "up", "mtu", mtu],
                      ["address", "add", f"{ip.far_router}/{ip.prefix}", "dev", "eth1", *nodad]):
            bed.run("client", "ip", *words)
        for words in (["link", "set", "eth0", "up"], ["address", "add", f"{ip.far}/{ip.prefix}", "dev", "eth0", *nodad],
                      ["route", "add", "default", "via", ip.far_router]):
            bed.run("far", "ip", *words)
        for host, device in (("client", "eth1"), ("far", "eth0")):
            bed.run(host, "ethtool", "-K", device, "tx", "off", "gro", "off")
        with forwarding(bed, "client"):
            yield
    finally:
        bed.run("client", "ip", "link", "del", "eth1", check=False)
        bed.run("client", "ip", "netns", "del", name, check=False)
        hosts.write_text(listed)


@test(families=BOTH)
def a_gateway_outside_the_prefix(bed):
    config = bed.config()
    vip0, dip0 = config["port"]
    # As clouds set interfaces up: nobody shares the prefix, and the router is on the link all the same.
    vip0.update(addresses=[bed.ip.whole(bed.ip.vip)], gateway=bed.ip.client)
    dip0.update(addresses=[bed.ip.whole(bed.ip.dip)], gateway=bed.ip.reals["rs1"])
    config["neighbour"] = [{"address": bed.ip.reals["rs2"], "mac": MACS["rs2"], "port": "dip0"}]
    with bed.lbd(config, services=[("tcp", bed.ip.at(bed.ip.vip, 80), bed.ip.pool())]):
        bed.expect(["rs2", "rs1"] * 2)
