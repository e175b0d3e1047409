"""Services on several ports of the VIP."""

from .runner import test
from .sockets import connect
from .testbed import REALS, VIP

RS1, RS2, RS3 = REALS["rs1"], REALS["rs2"], REALS["rs3"]


def request(client):
    """A request on a connection that stays open; the name of the real that answers."""
    client.sendall(b"GET / HTTP/1.1\r\nHost: vip\r\n\r\n")
    answer = b""
    while b"\n" not in answer.partition(b"\r\n\r\n")[2]:
        received = client.recv(4096)
        assert received, answer
        answer += received
    return answer.split(b"\r\n\r\n")[1].split()[1].decode()


@test()
def any_port_ranges_and_one_port_beside_each_other(bed):
    def of(port):
        return bed.curls(1, f"http://{VIP}:{port}/")

    with bed.lbd() as lbd:
        lbd.add_service("tcp", f"{VIP}:0", [(RS1, 1)])
        assert (of(80), of(8080)) == (["rs1"], ["rs1"]), "the port asked for"
        with connect(bed, "client", (VIP, 8080)) as kept:
            assert request(kept) == "rs1"
            lbd.add_service("tcp", f"{VIP}:8000-8100", [(f"{RS2}:80", 1)])
            assert (of(8000), of(8080), of(80)) == (["rs2"], ["rs2"], ["rs1"])
            lbd.add_service("tcp", f"{VIP}:8080", [(f"{RS3}:80", 1)])
            assert (of(8080), of(8081)) == (["rs3"], ["rs2"])
            assert request(kept) == "rs1", "it stays where it is"
            entry = lbd.connection(kept.getsockname()[1])
            assert (entry["virtual"], entry["real"]) == (f"{VIP}:8080", f"{RS1}:8080"), entry
        listed = lbd.ctl("list")
        for line in (f"TCP  {VIP}:0 wrr", f"TCP  {VIP}:8000-8100 wrr", f"  -> {RS1}:0 "):
            assert line in listed, listed
        # What is saved brings the same back.
        saved = lbd.ctl("save")
        lbd.ctl("restore", input=saved)
        assert (lbd.ctl("save"), of(8080), of(8081), of(80)) == (saved, ["rs3"], ["rs2"], ["rs1"])
        lbd.ctl("delete-service", "-t", f"{VIP}:8080")
        lbd.ctl("delete-service", "-t", f"{VIP}:8000-8100")
        assert of(8080) == ["rs1"]
