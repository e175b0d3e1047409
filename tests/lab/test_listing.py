"""What lbctl prints, and that its figures are true."""

import re

from .families import BOTH
from .runner import test
from .testbed import wait_for


def web(bed):
    return "tcp", bed.ip.at(bed.ip.vip, 80), bed.ip.pool()


def listed(bed, inactive):
    """What `list` prints with so many connections of each real that are over."""
    return f"""\
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  {bed.ip.at(bed.ip.vip, 80)} wrr
  -> {bed.ip.real("rs1", 80):<28} Masq    1      0          {inactive}
  -> {bed.ip.real("rs2", 80):<28} Masq    1      0          {inactive}
"""


@test(families=BOTH)
def the_how_tos_session(bed):
    with bed.lbd() as lbd:
        listen = bed.ip.at(bed.ip.vip, 80)
        lbd.ctl("add-service", "-t", listen, "-s", "wrr")
        assert lbd.ctl("list") == "".join(listed(bed, 0).splitlines(keepends=True)[:3])
        lbd.ctl("add-real", "-t", listen, "-r", bed.ip.real("rs1", 80), "-m")
        lbd.ctl("add-real", "-t", listen, "-r", bed.ip.real("rs2", 80), "-m")
        assert lbd.ctl("list") == listed(bed, 0)
        bed.expect(["rs2", "rs1"] * 3)
        if bed.workers == 1:
            assert wait_for(lambda: lbd.ctl("list") == listed(bed, 3)), lbd.ctl("list")


@test(families=BOTH)
def connections_are_listed_as_ipvsadm_does(bed):
    with bed.lbd(services=[web(bed)]) as lbd:
        bed.curls(4)
        # The last one may still be closing.
        wait_for(lambda: lbd.ctl("connections").count(" TIME_WAIT ") == 4)
        lines = lbd.ctl("connections").splitlines()
        assert lines[0] == "pro expire state       source             virtual            destination", lines
        client, vip = re.escape(bed.ip.at(bed.ip.client, 0)[:-1]), re.escape(bed.ip.at(bed.ip.vip, 80))
        real = "|".join(re.escape(bed.ip.real(name, 80)) for name in ("rs1", "rs2"))
        row = re.compile(rf"TCP 0(1:\d\d|2:00)  TIME_WAIT   {client}\d+ +{vip} +({real})")
        assert len(lines) == 5 and all(row.fullmatch(line) for line in lines[1:]), lines
        entries = lbd.json("connections")["connections"]
        assert len(entries) == 4
        for entry in entries:
            assert {"protocol", "state", "expires_s", "client", "virtual", "real", "worker"} <= entry.keys(), entry
            assert (entry["protocol"].upper(), entry["state"], entry["virtual"]) == ("TCP", "TIME_WAIT", bed.ip.at(bed.ip.vip, 80)), entry
            assert 60 < entry["expires_s"] <= 120


@test(families=BOTH)
def statistics_add_up(bed):
    with bed.lbd(services=[web(bed)]) as lbd:
        bed.curls(6)
        figures = lambda text: [int(figure) for figure in text.splitlines()[2].split()[-5:]]
        in_json = lambda: [lbd.service("stats")[k] for k in ("conns", "in_packets", "out_packets", "in_bytes", "out_bytes")]
        # The last connection's last packet may still be under way: then it passes between the two, or after `zero`.
        assert wait_for(lambda: figures(lbd.ctl("stats")) == in_json()), (lbd.ctl("stats"), in_json())
        lines = lbd.ctl("stats").splitlines()
        assert lines[:2] == ["Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes",
                             "  -> RemoteAddress:Port"], lines
        rows = [line.split()[-5:] for line in lines[2:]]
        service, *reals = [[int(figure) for figure in row] for row in rows]
        assert service == [sum(column) for column in zip(*reals)], lines
        assert service[0] == 6, lines
        assert bed.workers > 1 or [real[0] for real in reals] == [3, 3], lines
        # SYN, ACK, request, FIN at the least; SYN+ACK, answer, FIN.
        assert 24 <= service[1] <= 60 and 18 <= service[2] <= 60, lines
        assert wait_for(lambda: lbd.ctl("zero") == "" and figures(lbd.ctl("stats")) == [0] * 5), lbd.ctl("stats")


@test(families=BOTH)
def rates_have_ipvsadms_title(bed):
    with bed.lbd(services=[web(bed)]) as lbd:
        lines = lbd.ctl("rate").splitlines()
        assert lines[:2] == ["Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS",
                             "  -> RemoteAddress:Port"], lines


@test(families=BOTH)
def json_has_the_keys_of_the_interface(bed):
    with bed.lbd(services=[web(bed)]) as lbd:
        service = lbd.service()
        assert {"protocol", "address", "port", "scheduler", "flags", "persistence_s", "reals"} <= service.keys(), service
        assert (service["address"], service["port"], service["scheduler"]) == (bed.ip.vip, 80, "wrr"), service
        for real in service["reals"]:
            assert {"address", "port", "forward", "weight", "upper_threshold", "lower_threshold", "active",
                    "inactive"} <= real.keys(), real
        status = lbd.json("status")
        assert {"version", "dpdk", "uptime_s", "config_version", "ports", "workers", "drops"} <= status.keys(), status
        assert [port["name"] for port in status["ports"]] == ["vip0", "dip0"]
        for port in status["ports"]:
            assert {"name", "side", "driver", "mac", "link_up", "steering", "rx_packets", "tx_packets",
                    "rx_missed", "buffers_in_use", "buffers"} <= port.keys(), port
        for worker in status["workers"]:
            assert {"id", "core", "rx_packets", "tx_packets", "handed_over", "busy_share", "cycles_per_packet",
                    "connections", "capacity"} <= worker.keys(), worker


@test(families=BOTH)
def the_servers_log_shows_the_clients_true_address(bed):
    log = bed.dir / "rs2" / "access.log"
    before = log.stat().st_size
    with bed.lbd(services=[("tcp", bed.ip.at(bed.ip.vip, 80), [(bed.ip.real("rs2", 80), 1)])]):
        bed.expect(["rs2"])
    lines = log.read_text()[before:].splitlines()
    assert len(lines) == 1 and lines[0].split()[0].rsplit(":", 1)[0] == bed.ip.host(bed.ip.client), lines


@test(families=BOTH)
def save_and_restore_bring_the_same_picks_back(bed):
    with bed.lbd(services=[web(bed)]) as lbd:
        saved = lbd.ctl("save")
        listen = bed.ip.at(bed.ip.vip, 80)
        assert saved.splitlines() == ["--set 900 120 300", f"-A -t {listen} -s wrr",
                                      f"-a -t {listen} -r {bed.ip.real('rs1', 80)} -m -w 1",
                                      f"-a -t {listen} -r {bed.ip.real('rs2', 80)} -m -w 1"], saved
        lbd.ctl("clear")
        assert bed.ip.vip not in lbd.ctl("list")
        lbd.ctl("restore", input=saved)
        assert lbd.ctl("save") == saved
        bed.expect(["rs2", "rs1"] * 2)
