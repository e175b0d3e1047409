"""keepalived, as the distribution ships it, drives lbd: its checks, its reloads, and lbd going away under it."""

import contextlib
import re
import signal

from . import debian13
from .lvs_tools import CHECKER, Keepalived, checker, socket_of, spins
from .runner import Skip, test
from .sockets import connect, http_server, tcp_listener
from .testbed import PATIENCE, REALS, VIP, has_ipv6, wait_for

GLOBAL = """\
global_defs {
    script_user root
    lvs_timeouts tcp 111 tcpfin 22 udp 33
}
"""
# Seconds between checks; a check that is not answered in time fails, so that one is given much.
EVERY, ANSWER = 0.2, 30


def virtual(listen, reals, *settings, protocol="TCP", algorithm="wrr", every=EVERY):
    """A virtual server by NAT; the reals are texts of (endpoint, check)."""
    address, _, port = listen.rpartition(":")
    blocks = [f"    real_server {real.rpartition(':')[0].strip('[]')} {real.rpartition(':')[2]} {{\n        {inner}\n    }}\n"
              for real, inner in reals]
    rows = "".join(f"    {setting}\n" for setting in (f"delay_loop {every}", f"lvs_sched {algorithm}", "lvs_method NAT",
                                                      f"protocol {protocol}", *settings))
    return f"virtual_server {address.strip('[]')} {port} {{\n{rows}{''.join(blocks)}}}\n"


def check(kind, *settings):
    lines = " ".join(f"\n            {setting}" for setting in (*settings, "retry 0" if kind != "MISC_CHECK" else "", "warmup 0"))
    limit = f"connect_timeout {ANSWER}" if kind != "MISC_CHECK" else f"misc_timeout {ANSWER}"
    return f"{kind} {{{lines}\n            {limit}\n        }}"


def tcp(port=9001):
    return check("TCP_CHECK", f"connect_port {port}")


def file_exists(path):
    return check("MISC_CHECK", f'misc_path "/usr/bin/test -e {path}"')


def table(lbd):
    """What `save` says, without the timeouts and in no order: which real was added first is chance."""
    return sorted(lbd.ctl("save").splitlines()[1:])


def lines(port, algorithm, *reals, options=""):
    """A TCP service's lines of `save`; the reals are ("RIP:PORT", weight)."""
    return [f"-A -t {VIP}:{port} -s {algorithm}{options}", *(f"-a -t {VIP}:{port} -r {real} -m -w {weight}" for real, weight in reals)]


def has(lbd, wanted):
    """Waits until the table is this."""
    assert wait_for(lambda: table(lbd) == sorted(wanted)), (table(lbd), sorted(wanted))


def at(name, port=9001):
    return f"{REALS[name]}:{port}"


@contextlib.contextmanager
def listening(bed, name, port=9001):
    """A server on a real, for a check by TCP."""
    with http_server(bed, name, port, name):
        yield


def checks(bed, program):
    """Checks of three kinds find reals down and up; quorum, sorry server, and the end."""
    alive, up = bed.dir / "rs1" / "files" / "alive", {name: bed.dir / f"up-{name}" for name in ("rs1", "rs2")}
    told = bed.dir / "told"
    other_alive = bed.dir / "rs2" / "files" / "alive"
    for file in (alive, other_alive, *up.values()):
        file.parent.mkdir(exist_ok=True)
        file.write_text("yes")
    by_page = check("HTTP_GET", "url {\n path /files/alive\n status_code 200\n }", "connect_port 80")
    (bed.dir / "tell").write_text(f"#!/bin/sh\necho $1 >>{told}\n")
    (bed.dir / "tell").chmod(0o755)
    text = GLOBAL + "".join([
        virtual(f"{VIP}:80", [(at("rs1"), tcp()), (at("rs2"), f"weight 2\n{tcp()}")]),
        virtual(f"{VIP}:81", [(at("rs1", 80), f"inhibit_on_failure\n{by_page}"), (at("rs2", 80), by_page)], algorithm="wlc"),
        virtual(f"{VIP}:82", [(at(name, 80), file_exists(file)) for name, file in up.items()], "quorum 2",
                f'quorum_up "{bed.dir}/tell up"', f'quorum_down "{bed.dir}/tell down"', f"sorry_server {REALS['rs3']} 80",
                algorithm="rr")])
    with contextlib.ExitStack() as servers, bed.lbd() as lbd:
        servers.enter_context(listening(bed, "rs2"))
        with contextlib.ExitStack() as first, Keepalived(bed, text, program) as keepalived:
            first.enter_context(listening(bed, "rs1"))
            whole = [*lines(80, "wrr", (at("rs1"), 1), (at("rs2"), 2)), *lines(81, "wlc", (at("rs1", 80), 1), (at("rs2", 80), 1)),
                     *lines(82, "rr", (at("rs1", 80), 1), (at("rs2", 80), 1))]
            has(lbd, whole)
            assert lbd.ctl("save").splitlines()[0] == "--set 111 22 33"
            assert {bed.curl(f"http://{VIP}/").split()[0] for _ in range(6)} == {"rs1", "rs2"}
            # A real fails in each of the three.
            first.close()
            alive.unlink()
            up["rs1"].unlink()
            sorry = (f"{REALS['rs3']}:80", 1)
            has(lbd, [*lines(80, "wrr", (at("rs2"), 2)), *lines(81, "wlc", (at("rs1", 80), 0), (at("rs2", 80), 1)),
                      *lines(82, "rr", sorry)])
            assert wait_for(lambda: told.exists() and told.read_text().split()[-1:] == ["down"]), keepalived.log()
            assert {bed.curl(f"http://{VIP}/").split()[0] for _ in range(4)} == {"rs2"}
            assert bed.curl(f"http://{VIP}:82/").split()[1] == "rs3"
            # And is back.
            first.enter_context(listening(bed, "rs1"))
            alive.write_text("yes")
            up["rs1"].touch()
            has(lbd, whole)
            assert wait_for(lambda: told.read_text().split()[-1:] == ["up"]), keepalived.log()
            assert keepalived.stop() == 0, keepalived.log()
            # Nothing is left of it.
            assert lbd.ctl("save").splitlines() == ["--set 900 120 300"]
    for file in (told, alive, other_alive, *up.values()):
        file.unlink(missing_ok=True)


@test()
def checks_find_reals_down_and_up(bed):
    checks(bed, ("keepalived",))


# Its packages have to be fetched, and a mirror may have them no more.
@test(may_be_skipped=True)
def debian_13s_checks_find_reals_down_and_up(bed):
    checks(bed, debian13.keepalived())


@test()
def a_reload_changes_what_has_changed(bed):
    reals = [(at("rs1", 80), tcp(80)), (at("rs2", 80), tcp(80))]
    weighted = [(at("rs1", 80), f"weight 5\n{tcp(80)}"), (at("rs2", 80), tcp(80))]
    with tcp_listener(bed, "rs1", 7000) as listener, bed.lbd() as lbd:
        keeps = [(at("rs1", 7000), "weight 1")]
        before = [virtual(f"{VIP}:79", keeps), virtual(f"{VIP}:80", reals), virtual(f"{VIP}:81", reals)]
        with Keepalived(bed, GLOBAL + "".join(before)) as keepalived:
            whole = [*lines(79, "wrr", (at("rs1", 7000), 1)), *lines(80, "wrr", (at("rs1", 80), 1), (at("rs2", 80), 1)),
                     *lines(81, "wrr", (at("rs1", 80), 1), (at("rs2", 80), 1))]
            has(lbd, whole)
            client = connect(bed, "client", (VIP, 79))
            server, _ = listener.accept()
            server.settimeout(PATIENCE)
            # A weight, a scheduler, persistence; a service less, a service more; a real less.
            after = [virtual(f"{VIP}:79", keeps), virtual(f"{VIP}:80", weighted, "persistence_timeout 300", algorithm="wlc"),
                     virtual(f"{VIP}:82", reals[:1], algorithm="rr")]
            keepalived.reload(GLOBAL + "".join(after))
            has(lbd, [*lines(79, "wrr", (at("rs1", 7000), 1)),
                      *lines(80, "wlc", (at("rs1", 80), 5), (at("rs2", 80), 1), options=" -p 300"),
                      *lines(82, "rr", (at("rs1", 80), 1))])
            # What has not changed was not touched.
            client.sendall(b"still there")
            assert server.recv(100) == b"still there"
            assert lbd.service("stats")["conns"] == 1
            keepalived.reload(GLOBAL + "".join(before))
            has(lbd, whole)
            assert keepalived.stop() == 0, keepalived.log()
            assert table(lbd) == []


@test()
def the_daemon_dies_stops_and_comes_back_under_it(bed):
    config = bed.config()
    config["control"]["state"] = str(bed.dir / "state")
    text = virtual(f"{VIP}:80", [(at("rs1"), tcp()), (at("rs2"), tcp())], every=1)
    both, one = lines(80, "wrr", (at("rs1"), 1), (at("rs2"), 1)), lines(80, "wrr", (at("rs2"), 1))
    with contextlib.ExitStack() as first, listening(bed, "rs2"), bed.lbd(config) as lbd, Keepalived(bed, text) as keepalived:
        first.enter_context(listening(bed, "rs1"))
        has(lbd, both)
        # Dead: a change fails, in words, and is tried again.
        lbd.kill()
        first.close()
        assert wait_for(lambda: keepalived.says(r"IPVS.*\berror\b")), keepalived.log()
        assert not spins(keepalived.pids()), "keepalived spins without lbd"
        assert keepalived.process.poll() is None, keepalived.log()
        lbd.start()
        has(lbd, one)
        first.enter_context(listening(bed, "rs1"))
        has(lbd, both)
        # Stopped: it waits, and goes on.
        lbd.process.send_signal(signal.SIGSTOP)
        try:
            first.close()
            assert not spins(keepalived.pids()), "keepalived spins while lbd is stopped"
        finally:
            lbd.process.send_signal(signal.SIGCONT)
        has(lbd, one)
        first.enter_context(listening(bed, "rs1"))
        has(lbd, both)
        # In order: nothing is lost or said.
        assert lbd.stop() == 0
        lbd.start()
        has(lbd, both)
        first.close()
        has(lbd, one)
        assert keepalived.stop() == 0, keepalived.log()
        assert table(lbd) == []


@test()
def a_daemon_that_forgets_its_services_is_a_loud_matter(bed):
    text = virtual(f"{VIP}:80", [(at("rs1"), tcp()), (at("rs2"), tcp())])
    with contextlib.ExitStack() as first, listening(bed, "rs2"), bed.lbd() as lbd, Keepalived(bed, text) as keepalived:
        first.enter_context(listening(bed, "rs1"))
        has(lbd, lines(80, "wrr", (at("rs1"), 1), (at("rs2"), 1)))
        assert lbd.stop() == 0
        lbd.start()
        first.close()
        # The removal of the real is refused, for its service is not there.
        assert wait_for(lambda: keepalived.says(r"IPVS.*\berror\b")), keepalived.log()
        assert table(lbd) == []
        assert keepalived.says("natlb: lbd was restarted"), keepalived.log()
        # Started again it brings all of it back.
        keepalived.stop()
        with Keepalived(bed, text):
            has(lbd, lines(80, "wrr", (at("rs2"), 1)))


@test()
def without_lbd_it_ends_and_says_why(bed):
    assert not socket_of(bed).exists()
    text = virtual(f"{VIP}:80", [(at("rs1"), tcp())])
    with Keepalived(bed, text, wait=0) as keepalived:
        assert keepalived.process.wait(PATIENCE) == 3
        assert keepalived.says(f"cannot reach lbd at {socket_of(bed)}"), keepalived.log()


# What configurations in public have in common, one of each kind, each on a port of its own: the text, and the lines of
# `save` that it leads to.
def kinds(bed):
    real, other = at("rs1", 80), at("rs2", 80)
    plain = [(real, tcp(80)), (other, tcp(80))]
    pair = [(real, 1), (other, 1)]
    page = lambda *more: check("HTTP_GET", "url {", "path /", *more, "}", "connect_port 80")
    digest = "digest " + digest_of(bed, "rs1")
    service = lambda port, *more, algorithm="rr", reals=plain, **kw: virtual(f"{VIP}:{port}", reals, *more, algorithm=algorithm, **kw)
    udp = lambda port, algorithm: [f"-A -u {VIP}:{port} -s {algorithm}", f"-a -u {VIP}:{port} -r {at('rs1', 53)} -m -w 1"]
    return {
        "rr with TCP_CHECK": (service(1001), lines(1001, "rr", *pair)),
        "connect_port": (service(1002, reals=[(at("rs1", 8081), tcp(8080))]), lines(1002, "rr", (at("rs1", 8081), 1))),
        "persistence": (service(1003, "persistence_timeout 50"), lines(1003, "rr", *pair, options=" -p 50")),
        "weights": (service(1004, algorithm="wrr", reals=[(real, f"weight 3\n{tcp(80)}"), (other, f"weight 100\n{tcp(80)}")]),
                    lines(1004, "wrr", (real, 3), (other, 100))),
        "wlc": (service(1005, algorithm="wlc"), lines(1005, "wlc", *pair)),
        "no scheduler named": (service(1006).replace("    lvs_sched rr\n", ""), lines(1006, "wlc", *pair)),
        "HTTP_GET with a status": (service(1007, reals=[(real, page("status_code 200"))]), lines(1007, "rr", (real, 1))),
        "HTTP_GET with a digest": (service(1008, reals=[(real, page(digest))]), lines(1008, "rr", (real, 1))),
        "virtualhost": (service(1009, "virtualhost www.example", reals=[(real, page("status_code 200"))]), lines(1009, "rr", (real, 1))),
        "MISC_CHECK": (service(1010, reals=[(real, check("MISC_CHECK", "misc_path /bin/true")), (other, check("MISC_CHECK", "misc_path /bin/true"))]),
                       lines(1010, "rr", *pair)),
        "misc_dynamic": (service(1011, reals=[(real, check("MISC_CHECK", f'misc_path "{bed.dir}/weight"', "misc_dynamic"))]),
                         lines(1011, "rr", (real, 48))),
        "groups": (f"virtual_server_group many {{\n    {VIP} 1012\n    {VIP} 1013\n}}\n"
                   + service(1, reals=plain).replace(f"virtual_server {VIP} 1 ", "virtual_server group many "),
                   lines(1012, "rr", *pair) + lines(1013, "rr", *pair)),
        "mapped ports": (service(1014, reals=[(at("rs1", 8080), tcp(8080))]), lines(1014, "rr", (at("rs1", 8080), 1))),
        "inhibit_on_failure": (service(1015, reals=[(at("rs1", 9), f"inhibit_on_failure\n{tcp(9)}"), (other, tcp(80))]),
                               lines(1015, "rr", (at("rs1", 9), 0), (other, 1))),
        "sorry_server": (service(1016, f"sorry_server {REALS['rs3']} 80", reals=[(at("rs1", 9), tcp(9))]),
                         lines(1016, "rr", (f"{REALS['rs3']}:80", 1))),
        "quorum with hysteresis": (service(1017, "quorum 1", "hysteresis 0", "alpha", "omega"), lines(1017, "rr", *pair)),
        "UDP": (service(1018, protocol="UDP", reals=[(at("rs1", 53), check("MISC_CHECK", "misc_path /bin/true"))]), udp(1018, "rr")),
        "one packet": (service(1019, "ops", protocol="UDP", reals=[(at("rs1", 53), "weight 1")]),
                       [f"-A -u {VIP}:1019 -s rr -o", f"-a -u {VIP}:1019 -r {at('rs1', 53)} -m -w 1"]),
        "SCTP": (service(1020, protocol="SCTP", reals=[(at("rs1", 53), "weight 1")]),
                 [f"-A --sctp-service {VIP}:1020 -s rr", f"-a --sctp-service {VIP}:1020 -r {at('rs1', 53)} -m -w 1"]),
        "IPv6": (virtual("[fd00:10::100]:1021", [("[fd00:20::7]:80", tcp(80))]),
                 ["-A -t [fd00:10::100]:1021 -s wrr", "-a -t [fd00:10::100]:1021 -r [fd00:20::7]:80 -m -w 1"]),
        "any port": (virtual(f"{VIP}:0", [(at("rs1", 0), check("MISC_CHECK", "misc_path /bin/true"))], "persistence_timeout 60", algorithm="rr"),
                     lines(0, "rr", (at("rs1", 0), 1), options=" -p 60")),
        "thresholds": (service(1022, reals=[(real, f"uthreshold 100\nlthreshold 50\n{tcp(80)}")]),
                       [f"-A -t {VIP}:1022 -s rr", f"-a -t {VIP}:1022 -r {real} -m -w 1 -x 100 -y 50"]),
        "granularity": (service(1023, "persistence_timeout 60", "persistence_granularity 255.255.255.0"),
                        lines(1023, "rr", *pair, options=" -p 60 -M 255.255.255.0")),
        "sh with flags": (service(1024, "sh-port", "sh-fallback", algorithm="sh"), lines(1024, "sh", *pair, options=" -b sh-fallback,sh-port")),
        "lc": (service(1025, algorithm="lc"), lines(1025, "lc", *pair)),
        "dh": (service(1026, algorithm="dh"), lines(1026, "dh", *pair)),
        "mh": (service(1027, algorithm="mh"), lines(1027, "mh", *pair)),
        "ping": (service(1028, reals=[(real, check("PING_CHECK"))]), lines(1028, "rr", (real, 1))),
        "vrrp": (VRRP.format(dir=bed.dir), []),
    }


# On the checker's own interface: lbd's have no host's address.
VRRP = """\
vrrp_script forwarding {{
    script "/usr/bin/test -S {dir}/ipvs.sock"
    interval 1
}}
vrrp_sync_group all {{
    group {{
        one
    }}
}}
vrrp_instance one {{
    state BACKUP
    nopreempt
    interface eth0
    virtual_router_id 51
    priority 100
    advert_int 1
    unicast_src_ip 10.0.0.200
    unicast_peer {{
        10.0.0.201
    }}
    virtual_ipaddress {{
        10.0.0.250/32 dev eth0
    }}
    track_script {{
        forwarding
    }}
    notify_master "/usr/bin/touch {dir}/master"
}}
"""


def digest_of(bed, name):
    """The MD5 digest of a real's page, as keepalived's `genhash` tells it."""
    checker(bed)
    words = bed.run(CHECKER, "genhash", "-s", REALS[name], "-p", 80, "-u", "/").stdout
    return re.search(r"MD5SUM = (\w{32})|([0-9a-f]{32})", words).group(0).split()[-1]


@test()
def the_kinds_of_configurations_in_use_are_understood(bed):
    if not has_ipv6():
        raise Skip("this kernel has no IPv6")
    (bed.dir / "weight").write_text("#!/bin/sh\nexit 50\n")
    (bed.dir / "weight").chmod(0o755)
    master = bed.dir / "master"
    with bed.lbd() as lbd:
        all_kinds = kinds(bed)
        with Keepalived(bed, GLOBAL + "".join(text for text, _ in all_kinds.values()), checks_only=False) as keepalived:
            missing = lambda: {name: wanted for name, (_, wanted) in all_kinds.items() if not set(wanted) <= set(table(lbd))}
            assert wait_for(lambda: not missing()), (missing(), table(lbd))
            assert len(table(lbd)) == sum(len(wanted) for _, wanted in all_kinds.values()), table(lbd)
            assert wait_for(master.exists), keepalived.log()
            # keepalived itself had nothing to say against any of them.
            assert not keepalived.says(r"Unknown keyword|\) unknown|error|invalid|ignor(ed|ing)"), keepalived.log()
            assert keepalived.stop() == 0
            assert table(lbd) == []
    master.unlink()


@test()
def what_it_asks_for_and_natlb_has_not_is_refused_by_name(bed):
    text = "".join([
        "virtual_server fwmark 7 {\n    lvs_sched rr\n    lvs_method NAT\n    real_server 10.0.0.7 80 {\n    }\n}\n",
        virtual(f"{VIP}:81", [(at("rs1", 80), "weight 1")], algorithm="rr").replace("lvs_method NAT", "lvs_method DR"),
        virtual(f"{VIP}:82", [(at("rs1", 80), "weight 1")], algorithm="lblc"),
        virtual(f"{VIP}:83", [(at("rs1", 80), "weight 1")])])
    with bed.lbd() as lbd, Keepalived(bed, text) as keepalived:
        # The others come all the same.
        assert wait_for(lambda: set(lines(83, "wrr", (at("rs1", 80), 1))) <= set(table(lbd))), (table(lbd), keepalived.log())
        assert not any(" -g" in line or ":82" in line or "-f" in line.split() for line in table(lbd)), table(lbd)
        for words in ("firewall mark", "direct routing", "lblc"):
            assert wait_for(lambda: lbd.says(f"(?i){words}")), (words, lbd.log())
        assert keepalived.says(r"IPVS.*Protocol not supported|IPVS cmd .* error"), keepalived.log()
        keepalived.stop()
