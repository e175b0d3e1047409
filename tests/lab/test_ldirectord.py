"""ldirectord, as the distribution ships it, drives lbd through ipvsadm."""

import contextlib

from .lvs_tools import Running
from .runner import test
from .sockets import http_server
from .testbed import REALS, VIP, wait_for

CONFIG = """\
checktimeout=30
checkinterval=1
autoreload=no
quiescent={quiescent}
logfile="{log}"
virtual={vip}:80
\treal={rs1}:9001 masq 1
\treal={rs2}:9001 masq 3
\tfallback={rs3}:80 masq
\tservice=http
\tscheduler=wrr
\tpersistent=60
\tprotocol=tcp
\tchecktype=negotiate
\trequest="/"
\treceive="rs"
virtual={vip}:81
\treal={rs1}:80 masq 1
\tservice=none
\tscheduler=wlc
\tprotocol=tcp
\tchecktype=connect
"""


def at(name, port=9001):
    return f"{REALS[name]}:{port}"


def directs(bed, quiescent):
    """Both reals, one, none and both again are there: what it makes of the service."""
    file = bed.dir / "ldirectord.cf"
    file.write_text(CONFIG.format(vip=VIP, quiescent=quiescent, log=bed.dir / "ldirectord-checks.log", **REALS))
    second = [f"-A -t {VIP}:81 -s wlc", f"-a -t {VIP}:81 -r {at('rs1', 80)} -m -w 1"]

    def has(*reals):
        wanted = {f"-A -t {VIP}:80 -s wrr -p 60", *(f"-a -t {VIP}:80 -r {real} -m -w {weight}" for real, weight in reals), *second}
        assert wait_for(lambda: set(lbd.ctl("save").splitlines()[1:]) == wanted), (lbd.ctl("save"), wanted)

    fallback, gone = (at("rs3", 80), 1), [] if quiescent == "no" else None
    with bed.lbd() as lbd, Running(bed, "ldirectord", ["ldirectord", "-d", file, "start"]) as ldirectord, \
            contextlib.ExitStack() as first, contextlib.ExitStack() as other:
        first.enter_context(http_server(bed, "rs1", 9001, "rs1"))
        other.enter_context(http_server(bed, "rs2", 9001, "rs2"))
        down = lambda *names: gone if gone is not None else [(at(name), 0) for name in names]
        has((at("rs1"), 1), (at("rs2"), 3))
        first.close()
        has(*down("rs1"), (at("rs2"), 3))
        assert bed.curl(f"http://{VIP}/").split()[0] == "rs2"
        other.close()
        has(*down("rs1", "rs2"), fallback)
        first.enter_context(http_server(bed, "rs1", 9001, "rs1"))
        other.enter_context(http_server(bed, "rs2", 9001, "rs2"))
        has((at("rs1"), 1), (at("rs2"), 3))
        ldirectord.stop()
        assert wait_for(lambda: lbd.json("list")["services"] == []), (lbd.ctl("save"), ldirectord.log())


@test()
def a_real_that_fails_keeps_its_connections(bed):
    directs(bed, "yes")


@test()
def a_real_that_fails_is_removed(bed):
    directs(bed, "no")
