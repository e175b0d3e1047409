"""With a device that hashes by key and table: each packet comes to the worker that software would have chosen."""

import time

from tests.lab.runner import test
from tests.lab.sockets import may_be_cut, udp_echo, udp_socket
from tests.lab.testbed import REALS, VIP

from tests.guest.rig import exchange, neighbouring_endpoints, random_endpoints, requests

RANDOM, NEIGHBOURS, REQUESTS = 3000, 1024, 200
ALL = RANDOM + NEIGHBOURS + REQUESTS
# Seconds: twice what Linux keeps a tap's idle flow, and its timer.
FORGOTTEN = 8
BY_THE_NIC = "by the NIC: RSS by client address and port"


def handed_over(status):
    return sum(worker["handed_over"] for worker in status["workers"])


def drive(rig, server, workers):
    """All clients once through, and later a datagram from the real to each; returns the status after either."""
    clients = random_endpoints(RANDOM, seed=workers) + neighbouring_endpoints(NEIGHBOURS)
    unanswered, sent = exchange(rig.bed, clients)
    assert not unanswered, f"{len(unanswered)} clients without an answer, as {unanswered[:3]}"
    requests(rig.bed, REQUESTS)
    asked = rig.status()
    # A tap sends answers to the queue that the flow was last sent from, RSS or not; until it has forgotten the flow.
    time.sleep(FORGOTTEN)
    unreached, pushed = exchange(rig.bed, clients, server.push)
    assert not unreached, f"{len(unreached)} clients that the real does not reach, as {unreached[:3]}"
    status = rig.status()
    ports, created = status["ports"], [worker["created"] for worker in status["workers"]]
    print(f"        {workers} workers, {ports[0]['steering']}\n"
          f"        {sent} datagrams and {REQUESTS} requests of {ALL} clients, then {pushed} datagrams to them; "
          f"received vip {ports[0]['rx_packets']}, dip {ports[1]['rx_packets']}\n"
          f"        misdirected vip {ports[0]['misdirected']}, dip {ports[1]['misdirected']}; handed over "
          f"{handed_over(asked)} + {handed_over(status) - handed_over(asked)}; connections of each worker {created}", flush=True)
    # A connection that two workers had would be counted twice.
    assert sum(created) == ALL, status
    assert ports[0]["rx_packets"] >= ALL and ports[1]["rx_packets"] >= ALL + len(clients), status
    assert all(port["driver"] == "net_virtio" for port in ports), status
    return asked, status


def agrees(rig, workers):
    with rig.lbd(workers) as server:
        _, status = drive(rig, server, workers)
        assert all(port["steering"] == BY_THE_NIC and port["misdirected"] == 0 for port in status["ports"]), status
        assert handed_over(status) == 0, status
        even = ALL / workers
        shares = [worker["created"] for worker in status["workers"]]
        assert 0.8 * even < min(shares) and max(shares) < 1.2 * even, shares


@test(timeout=300)
def the_device_agrees_with_the_owner_map_2_workers(rig):
    agrees(rig, 2)


@test(timeout=300)
def the_device_agrees_with_the_owner_map_3_workers(rig):
    agrees(rig, 3)


@test(timeout=300)
def the_device_agrees_with_the_owner_map_4_workers(rig):
    agrees(rig, 4)


@test(timeout=300)
def datagrams_in_fragments_come_back_whole(rig):
    """A device hashes no ports of fragments, so that software steers these; that is not the device's fault."""
    data, port = bytes(range(250)) * 16, 5001
    with rig.lbd(2), udp_echo(rig.bed, "rs1", port, prepare=may_be_cut):
        rig.lbctl(f"add-service -u {VIP}:{port}")
        rig.lbctl(f"add-real -u {VIP}:{port} -r {REALS['rs1']}:{port} -m")
        for source in range(30000, 30040):
            with udp_socket(rig.bed, "client", source, seconds=10) as client:
                may_be_cut(client)
                client.sendto(data, (VIP, port))
                assert client.recvfrom(65535) == (data, (VIP, port))
        status = rig.status()
        print(f"        handed over {handed_over(status)} of {sum(port['rx_packets'] for port in status['ports'])} packets", flush=True)
        assert all(port["steering"] == BY_THE_NIC and port["misdirected"] == 0 for port in status["ports"]), status
        assert handed_over(status) > 0, status


@test(timeout=300)
def without_the_keys_half_of_it_is_handed_over(rig):
    """This device and these clients, steered by software: what the keys save. Shows also that the checks above can fail."""
    with rig.lbd(2, mode="software") as server:
        asked, status = drive(rig, server, 2)
        assert all(port["steering"].startswith("by software") for port in status["ports"]), status
        assert 0.3 < handed_over(asked) / sum(port["rx_packets"] for port in asked["ports"]) < 0.7, asked
        assert 0.3 < (handed_over(status) - handed_over(asked)) / (RANDOM + NEIGHBOURS) < 0.7, status


@test(timeout=300)
def a_one_arm_port_without_flow_rules_is_left_to_software(rig):
    """Its driver takes no rules. By another key than it began with it spreads what comes for the VIP over both queues."""
    with rig.lbd(2, side="both") as server:
        asked, status = drive(rig, server, 2)
        one_arm, dip = status["ports"]
        begin, end = "by software: one-arm, and net_virtio refuses an RSS rule for ", ": Function not implemented"
        assert one_arm["steering"].startswith(begin) and one_arm["steering"].endswith(end), status
        assert dip["steering"] == BY_THE_NIC and dip["misdirected"] == 0, status
        received = [worker["rx_packets"] for worker in asked["workers"]]
        print(f"        received by each worker {received}", flush=True)
        assert min(received) > 0.4 * sum(received), received
        assert 0.3 < handed_over(asked) / one_arm["rx_packets"] < 0.7, asked
