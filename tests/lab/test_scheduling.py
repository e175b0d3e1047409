"""Which real a new connection goes to: the kernel's order, newest real first."""

from .runner import test
from .testbed import REALS, VIP


def pool(weights, scheduler=()):
    return [(f"{address}:80", weight) for address, weight in zip(REALS.values(), weights)]


@test()
def forty_requests_alternate_from_the_newest_real(bed):
    with bed.lbd(services=[("tcp", f"{VIP}:80", pool([1, 1]))]):
        bed.expect(["rs2", "rs1"] * 20)


@test()
def weights_three_to_one(bed):
    with bed.lbd(services=[("tcp", f"{VIP}:80", pool([3, 1]))]):
        bed.expect(["rs2", "rs1", "rs1", "rs1"] * 10)


@test()
def weights_five_to_one_to_one(bed):
    # Recorded from IPVS with rs1 5, rs2 1, rs3 1, added in this order.
    expected = ("rs3 rs2 rs1 rs1 rs1 rs1 rs1 rs3 rs2 rs1 "
                "rs1 rs1 rs1 rs1 rs3 rs2 rs1 rs1 rs1 rs1 "
                "rs1 rs3 rs2 rs1 rs1 rs1 rs1 rs1 rs3 rs2 "
                "rs1 rs1 rs1 rs1 rs1 rs3 rs2 rs1 rs1 rs1").split()
    with bed.lbd(services=[("tcp", f"{VIP}:80", pool([5, 1, 1]))]):
        bed.expect(expected)


@test()
def round_robin_ignores_weights(bed):
    with bed.lbd() as lbd:
        lbd.add_service("tcp", f"{VIP}:80", pool([3, 1, 2]), "-s", "rr")
        bed.expect(["rs3", "rs2", "rs1"] * 4)


@test()
def a_real_of_weight_zero_gets_nothing(bed):
    with bed.lbd(services=[("tcp", f"{VIP}:80", pool([1, 0, 1]))]):
        bed.expect(["rs3", "rs1"] * 4)


@test()
def reals_of_the_file_count_as_added_in_the_order_written(bed):
    config = bed.config()
    config["service"] = [{"listen": f"tcp://{VIP}:80", "scheduler": "wrr",
                          "real": [{"address": address, "weight": weight} for address, weight in pool([1, 1])]}]
    with bed.lbd(config):
        bed.expect(["rs2", "rs1"] * 3)


@test()
def the_vip_port_maps_to_another_port_of_the_reals(bed):
    reals = [(f"{REALS['rs1']}:8080", 1), (f"{REALS['rs2']}:8080", 1)]
    with bed.lbd(services=[("tcp", f"{VIP}:80", reals)]):
        log = bed.dir / "rs1" / "access.log"
        before = log.stat().st_size
        bed.expect(["rs2", "rs1"] * 2)
        lines = log.read_text()[before:].splitlines()
        assert len(lines) == 2 and all(line.split()[1] == "8080" for line in lines), lines
