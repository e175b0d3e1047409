"""ipvsadm, as the distribution ships it, drives lbd."""

import contextlib
import os
import re
import socket
import struct
import subprocess

from .families import BOTH, IPV4
from .lvs_tools import PATIENCE, Tools, environment, memory, socket_of, took, under
from .lvs_transcript import differs, steps
from .runner import Skip, test
from .sockets import Greeters, tcp_listener, udp_echo
from .testbed import REALS, VIP, background, binary, has_ipv6, wait_for

# What ipvsadm writes for a refusal that it has no words for.
UNSUPPORTED = "Protocol not supported"
INVALID = "Invalid operation.  Possibly wrong module version, address not unicast, ..."


def refused(tools, line):
    """The exit code of a line that is refused, ipvsadm's words, and natlb's."""
    done = tools.run("ipvsadm", *line.split())
    assert done.returncode != 0 and done.stdout == "", (line, done)
    lines = done.stderr.splitlines()
    own = [text for text in lines if text.startswith("natlb: ")]
    return done.returncode, "\n".join(text for text in lines if text not in own), "\n".join(own)


@test(families=BOTH)
def each_command_changes_what_lbctl_shows(bed):
    listen, real, other = bed.ip.at(bed.ip.vip, 80), bed.ip.real("rs1", 80), bed.ip.real("rs2", 8080)
    with bed.lbd() as lbd:
        tools = Tools(bed)

        def leads_to(line, *saved):
            assert tools.ipvsadm(line) == "", line
            lines = lbd.ctl("save").splitlines()
            assert lines[1:] == list(saved), (line, lines)

        leads_to(f"-A -t {listen}", f"-A -t {listen} -s wlc")
        leads_to(f"-E -t {listen} -s rr -p 60", f"-A -t {listen} -s rr -p 60")
        leads_to(f"-E -t {listen} -s wrr", f"-A -t {listen} -s wrr")
        leads_to(f"-a -t {listen} -r {real} -m -w 3", f"-A -t {listen} -s wrr", f"-a -t {listen} -r {real} -m -w 3")
        leads_to(f"-a -t {listen} -r {other} -m -x 20 -y 10", f"-A -t {listen} -s wrr", f"-a -t {listen} -r {real} -m -w 3",
                 f"-a -t {listen} -r {other} -m -w 1 -x 20 -y 10")
        leads_to(f"-e -t {listen} -r {real} -m -w 0", f"-A -t {listen} -s wrr", f"-a -t {listen} -r {real} -m -w 0",
                 f"-a -t {listen} -r {other} -m -w 1 -x 20 -y 10")
        bed.curl(bed.ip.url())
        assert lbd.service("stats")["conns"] == 1
        assert tools.ipvsadm(f"-Z -t {listen}") == ""
        assert wait_for(lambda: tools.ipvsadm("-Z") == "" and lbd.service("stats")["conns"] == 0)
        leads_to(f"-d -t {listen} -r {real}", f"-A -t {listen} -s wrr", f"-a -t {listen} -r {other} -m -w 1 -x 20 -y 10")
        leads_to(f"-D -t {listen}")
        leads_to(f"-A -u {listen} -s rr -o", f"-A -u {listen} -s rr -o")
        leads_to(f"-A --sctp-service {listen} -s sh -b sh-port", f"-A -u {listen} -s rr -o",
                 f"-A --sctp-service {listen} -s sh -b sh-port")
        leads_to("-C")
        assert tools.ipvsadm("--set 100 0 200") == "" and lbd.ctl("save").splitlines() == ["--set 100 120 200"]


# Every form of service and real that both have, in an order of no use.
RICH = """\
-A -t {vip}:443 -s sh -b sh-fallback,sh-port
-a -t {vip}:443 -r {rs1}:443 -m -w 2
-A -t {vip}:80 -s wrr
-a -t {vip}:80 -r {rs2}:80 -m -w 1
-a -t {vip}:80 -r {rs1}:80 -m -w 3
-A -u {vip}:514 -s rr -o
-A -t {vip}:8443 -s mh -b mh-fallback,mh-port
-A -u {vip}:53 -s wlc
-a -u {vip}:53 -r {rs1}:5000 -m -w 65535 -x 100 -y 50
-A -t {vip}:21 -s rr -p 360
-A -t {vip}:22 -s lc -p 50 -M {mask}
-A -t {vip}:0 -s rr -p 300
-a -t {vip}:0 -r {rs1}:0 -m -w 1
-A --sctp-service {vip}:2905 -s fo
-a --sctp-service {vip}:2905 -r {rs2}:2905 -m -w 0
"""
COLUMNS = [("-Ln", ["list"]), ("-Ln --stats --exact", ["stats"]), ("-Ln --thresholds", ["list", "--thresholds"]),
           ("-Ln --persistent-conn", ["list", "--persistent-conn"]), ("-Lnc", ["connections"])]


def rich(bed):
    """The lines of RICH for the family, in the words of `lbctl restore`."""
    addresses = {"vip": bed.ip.host(bed.ip.vip), **{name: bed.ip.host(bed.ip.reals[name]) for name in ("rs1", "rs2")}}
    return RICH.format(mask="255.255.255.0" if bed.ip is IPV4 else "64", **addresses)


@test(families=BOTH)
def listings_are_those_of_lbctl(bed):
    with bed.lbd() as lbd:
        tools = Tools(bed)
        lbd.ctl("restore", input=rich(bed))
        bed.curls(3)
        # Until the last connection has closed, figures move between two listings.
        for line, words in COLUMNS:
            same = lambda: tools.listed(line) == lbd.ctl(*words)
            assert wait_for(same), (line, tools.listed(line), lbd.ctl(*words))
        assert tools.listed(f"-Ln").count("persistent") == 3
        # One service alone has no title line.
        listen = bed.ip.at(bed.ip.vip, 80)
        one = tools.ipvsadm(f"-Ln -t {listen}").splitlines()
        assert one[0].startswith("Prot ") and one[2].startswith(f"TCP  {listen} ") and len(one) == 5, one
        # The rates move by themselves: what is the same is what stands where.
        shape = lambda text: re.sub(r"(?<= )\d+(?=\s)", "N", re.sub(" +", " ", text))
        assert shape(tools.listed("-Ln --rate")) == shape(lbd.ctl("rate"))
        assert tools.ipvsadm("-L --timeout") == "Timeout (tcp tcpfin udp): 900 120 300\n"
        assert tools.ipvsadm("-L --daemon") == ""
        # Names of services, which ipvsadm finds itself.
        assert f"TCP  {bed.ip.host(bed.ip.vip)}:https sh (sh-fallback,sh-port)" in tools.listed("-L")
        # All that both can say is saved by both; thresholds are not in ipvsadm's lines.
        saved = [re.sub(r" -x \d+ -y \d+", "", row) for row in lbd.ctl("save").splitlines()[1:]]
        # ipvsadm sorts the reals of a service, `save` keeps the order in which they take turns.
        assert sorted(tools.ipvsadm("-Sn").splitlines()) == sorted(saved), (tools.ipvsadm("-Sn"), saved)


@test()
def files_of_the_kernel_are_read(bed):
    service = ("tcp", f"{VIP}:80", [(f"{REALS['rs1']}:80", 1), (f"{REALS['rs2']}:80", 3)])
    with bed.lbd(services=[service]) as lbd:
        tools = Tools(bed)
        bed.curls(4)
        assert wait_for(lambda: lbd.ctl("connections").count(" TIME_WAIT ") == 4), lbd.ctl("connections")

        def read(name):
            done = tools.run("fold", "-w", 1000, f"/proc/net/{name}")
            assert (done.returncode, done.stderr) == (0, ""), done
            return done.stdout.splitlines()

        table = read("ip_vs")
        assert re.fullmatch(r"IP Virtual Server version 1\.2\.1 \(size=\d+\)", table[0]), table
        assert table[1:3] == ["Prot LocalAddress:Port Scheduler Flags",
                              "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn"], table
        assert table[3].rstrip() == "TCP  C0A80A64:0050 wrr", table
        assert sorted(row.split() for row in table[4:]) == [["->", "0A000007:0050", "Masq", "1", "0", "1"],
                                                            ["->", "0A000011:0050", "Masq", "3", "0", "3"]], table
        connections = read("ip_vs_conn")
        assert connections[0] == "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData", connections
        row = re.compile(r"TCP C0A80A06 [0-9A-F]{4} C0A80A64 0050 0A0000(07|11) 0050 TIME_WAIT   {5,7}\d{2,3}")
        assert len(connections) == 5 and all(row.fullmatch(line.rstrip()) for line in connections[1:]), connections
        totals = read("ip_vs_stats")
        assert totals[0] == "   Total Incoming Outgoing         Incoming         Outgoing", totals
        stats = lbd.service("stats")
        figures = [int(figure, 16) for figure in totals[2].split()]
        assert figures == [stats[key] for key in ("conns", "in_packets", "out_packets", "in_bytes", "out_bytes")], (totals, stats)


@test()
def each_refusal_has_the_kernels_words_and_exit_code(bed):
    one, other, real = f"{VIP}:80", f"{VIP}:81", f"{REALS['rs1']}:80"
    with bed.lbd(services=[("tcp", one, [(real, 1)])]) as lbd:
        tools, before = Tools(bed), lbd.ctl("save")
        for line, status, words in [
            (f"-A -t {one}", 255, "Service already exists"),
            (f"-A -t {other} -s nosuch", 255, "Scheduler or persistence engine not found"),
            (f"-E -t {one} -s nosuch", 255, "Scheduler or persistence engine not found"),
            (f"-E -t {other} -s rr", 255, "No such service"),
            (f"-D -t {other}", 255, "No such service"),
            (f"-Z -t {other}", 255, "No such service"),
            (f"-L -t {other}", 1, "No such service"),
            (f"-a -t {other} -r {real} -m", 255, "Service not defined"),
            (f"-e -t {other} -r {real} -m", 255, "Service not defined"),
            (f"-d -t {other} -r {real}", 255, "Service not defined"),
            (f"-a -t {one} -r {real} -m", 255, "Destination already exists"),
            (f"-e -t {one} -r 10.0.0.9:80 -m", 255, "No such destination"),
            (f"-d -t {one} -r 10.0.0.9:80", 255, "No such destination"),
            (f"-a -t {one} -r 10.0.0.9:80 -m -x 10 -y 20", 255, "Numerical result out of range"),
            (f"-a -t {one} -r 224.0.0.1:80 -m", 255, INVALID),
            ("--stop-daemon master", 255, "No daemon is running"),
            ("-A", 2, "You need to supply the 'service-address' option for the 'add-service' command"),
            ("--set 1 2", 2, "--set option requires 3 timeout values"),
        ]:
            assert refused(tools, line)[:2] == (status, words), (line, refused(tools, line))
        assert lbd.ctl("save") == before


@test()
def what_is_not_there_is_refused_by_name(bed):
    one, real = f"{VIP}:80", f"{REALS['rs2']}:80"
    with bed.lbd(services=[("tcp", one, [(f"{REALS['rs1']}:80", 1)])]) as lbd:
        tools, before = Tools(bed), lbd.ctl("save")
        for line, words, own in [
            # Where no way of forwarding is named, ipvsadm means direct routing.
            (f"-a -t {one} -r {real}", UNSUPPORTED, r"-m\b"),
            (f"-a -t {one} -r {real} -g", UNSUPPORTED, "direct routing"),
            (f"-a -t {one} -r {real} -i", UNSUPPORTED, "tunnel"),
            (f"-e -t {one} -r {REALS['rs1']}:80 -w 4", UNSUPPORTED, "direct routing"),
            ("-A -f 7 -s rr", UNSUPPORTED, "firewall mark"),
            ("--start-daemon master --mcast-interface lo", UNSUPPORTED, "sync"),
        ]:
            status, said, natlb = refused(tools, line)
            assert (status, said) == (255, words) and re.search(own, natlb, re.IGNORECASE), (line, status, said, natlb)
        assert lbd.ctl("save") == before
        # The log has each with the program's pid.
        assert lbd.says(r"direct routing"), lbd.log()


def replay(bed, name, clients=None):
    """Types a recording. `clients` makes connections; where there are some, a last packet may still be under way when a
    table is printed, so that it is printed again."""
    tools, faults = Tools(bed), []

    def fault_of(step):
        if step.host == "clients":
            return differs(step, clients(*step.command.split()), "", 0)
        if step.host == "client":
            done = bed.run("client", *step.command.split(), check=False)
        else:
            done = tools.shell(step.command)
        return differs(step, done.stdout, done.stderr, done.returncode)

    for step in steps(name):
        if step.left_out:
            continue
        fault = fault_of(step)
        if fault and clients and step.command.startswith("ipvsadm -l"):
            wait_for(lambda: not fault_of(step), 20)
            fault = fault_of(step)
        if fault:
            faults.append(fault)
    return "\n".join([f"{name}: {len(faults)} differ", *faults]) if faults else ""


def replayed(bed, config, name, clients=None):
    with bed.lbd(config):
        faults = replay(bed, name, clients)
    assert not faults, faults


@contextlib.contextmanager
def page(bed, host, port, text):
    """A web server whose page is this text and no more."""
    listener = tcp_listener(bed, host, port)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    client.recv(4096)
                    client.sendall(f"HTTP/1.0 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())

    listener.settimeout(None)
    background(serve)
    try:
        yield
    finally:
        listener.close()


def no_clients(*_):
    raise AssertionError("this recording has none")


@test()
def the_recorded_session_is_the_same_here(bed):
    replayed(bed, bed.config(workers=1), "01-seed-session.txt", no_clients)


@test()
def the_recorded_port_mapping_is_the_same_here(bed):
    with page(bed, "rs1", 8081, f"{REALS['rs1']} rs1\n"):
        replayed(bed, bed.config(workers=1), "35-port-mapping.txt", no_clients)


@test()
def the_recorded_listings_are_the_same_here(bed):
    if not has_ipv6():
        raise Skip("this kernel has no IPv6")
    config = bed.config(workers=1)
    # Real and VIP of the recording are on one network, which is the reals' here.
    config["route"] = [{"to": "2001:db8::/64", "via": "fd00:20::7"}]
    replayed(bed, config, "20-ipvsadm-listings.txt")


@test()
def the_recorded_mistakes_are_answered_alike(bed):
    replayed(bed, bed.config(workers=1), "21-ipvsadm-errors.txt")


@test()
def the_recorded_persistence_is_the_same_here(bed):
    servers = Greeters(bed, 7000, ("rs1", "rs2"))
    addresses = [f"192.168.10.{number}/24" for number in (*range(11, 20), 21, 31, 32, 41, 42)]

    def closed(port, source):
        """The name of the server that a connection reaches, once both sides have closed it, the client first."""
        client, name = servers.greeted((VIP, port), source=source)
        client.shutdown(socket.SHUT_WR)
        server = servers.other_end(client)
        assert server.recv(1) == b""
        server.close()
        assert client.recv(1) == b""
        client.close()
        return name

    def clients(port, *sources):
        return " ".join(f"{source}={closed(int(port), source)}" for source in sources) + "\n"

    try:
        for address in addresses:
            bed.run("client", "ip", "address", "add", address, "dev", "eth0", "preferred_lft", 0, "valid_lft", "forever")
        config = bed.config(workers=1)
        # As in the kernel unless `expire_quiescent_template` is set.
        config["forward"] = {"keep_quiescent_templates": True}
        replayed(bed, config, "36-persistence.txt", clients)
    finally:
        for address in addresses:
            bed.run("client", "ip", "address", "delete", address, "dev", "eth0", check=False)


@test()
def a_real_is_emptied_and_removed(bed):
    servers, listen, service = Greeters(bed, 7000, ("rs1", "rs2")), f"{VIP}:7400", (VIP, 7400)
    with bed.lbd(bed.config(workers=1)) as lbd:
        tools = Tools(bed)
        tools.ipvsadm(f"-A -t {listen} -s wrr")
        for name in ("rs1", "rs2"):
            tools.ipvsadm(f"-a -t {listen} -r {REALS[name]}:7000 -m")
        client, name = servers.greeted(service)
        assert name == "rs2"
        tools.ipvsadm(f"-e -t {listen} -r {REALS['rs2']}:7000 -m -w 0")
        row = lambda weight: f"  -> {REALS['rs2']}:7000               Masq    {weight}      1          0"
        assert row(0) in tools.listed(), tools.listed()
        assert {servers.name(service) for _ in range(4)} == {"rs1"}
        client.sendall(b"still there")
        assert servers.other_end(client).recv(100) == b"still there"
        # Removed: what the client says is held back until the real is there again.
        tools.ipvsadm(f"-d -t {listen} -r {REALS['rs2']}:7000")
        assert REALS["rs2"] not in tools.listed()
        client.sendall(b"later")
        tools.ipvsadm(f"-a -t {listen} -r {REALS['rs2']}:7000 -m")
        assert servers.other_end(client).recv(100) == b"later"
        assert wait_for(lambda: row(1) in tools.listed()), tools.listed()


# Of services, and of reals of each.
MANY, EACH = 4096, 4


@test(timeout=900)
def a_large_table_is_saved_and_restored(bed):
    config = bed.config()
    with bed.lbd(config) as lbd:
        tools, lines = Tools(bed), []
        for number in range(MANY):
            listen = f"-t {VIP}:{1024 + number}"
            lines.append(f"-A {listen} -s {('wrr', 'wlc', 'rr', 'sh')[number % 4]}")
            lines += [f"-a {listen} -r 10.0.0.{100 + real}:{1024 + number} -m -w {1 + real}" for real in range(EACH)]
        table = "".join(f"{line}\n" for line in lines)
        lbd.ctl("restore", input=table)
        saved, to_save = took(lambda: tools.ipvsadm("-Sn", timeout=10 * PATIENCE))
        assert saved == table, "ipvsadm saves something else than was restored"
        tools.ipvsadm("-C")
        # A command for each line, each in force before the next.
        _, to_restore = took(lambda: tools.ipvsadm("-R", input=saved, timeout=10 * PATIENCE))
        assert "".join(f"{line}\n" for line in lbd.ctl("save").splitlines()[1:]) == table, "`save` has something else"
        assert tools.ipvsadm("-Sn", timeout=10 * PATIENCE) == table
        print(f"        {MANY} services with {EACH} reals each: -Sn {to_save:.1f} s, -R {to_restore:.1f} s")


def spoke_with_the_kernel(calls):
    """The system calls by which a program asked the kernel for its IPVS, in either of the two ways, or for its files."""
    netlink = [call for call in calls if "AF_NETLINK" in call and "nlmsg_type=nlctrl" in call and re.search(r"\bsend(to|msg)\(", call)]
    options = [call for call in calls if re.search(r"\b[gs]etsockopt\(\d+, SOL_IP,", call)]
    return netlink + options + [call for call in calls if "/proc/net/ip_vs" in call and "ENOENT" not in call]


@test()
def without_lbd_it_says_so_and_the_kernel_hears_nothing(bed):
    assert not socket_of(bed).exists()
    trace = bed.dir / "trace.log"
    strace = ["strace", "-f", "-s", 256, "-o", trace]
    there = {**environment(bed, 0), "LD_PRELOAD": binary("libnatlb_lvs.so")}
    lines = ("-Ln", f"-A -t {VIP}:80", f"-D -t {VIP}:80", "-C", "-Lnc", "--set 1 2 3")
    for line in lines:
        words = ["ipvsadm", *line.split()]
        # As it is meant to be run: it is not run at all.
        done = bed.run("lb", *strace, *under(*words), check=False, env=environment(bed, 0))
        assert (done.returncode, done.stdout) == (3, ""), (line, done)
        assert f"cannot reach lbd at {socket_of(bed)}" in done.stderr, (line, done)
        assert not spoke_with_the_kernel(trace.read_text(errors="replace").splitlines())
        # With the library alone, as if lbd had gone in between.
        done = bed.run("lb", *strace, "-E", f"LD_PRELOAD={there['LD_PRELOAD']}", *words, check=False, env=environment(bed, 0))
        assert done.returncode > 0 and done.stdout == "" and str(socket_of(bed)) in done.stderr, (line, done)
        calls = trace.read_text(errors="replace").splitlines()
        assert any(call.endswith("= 0") and "execve" in call and "ipvsadm" in call for call in calls), calls[:5]
        assert any(str(socket_of(bed)) in call and "connect(" in call for call in calls), (line, calls)
        assert not spoke_with_the_kernel(calls), (line, spoke_with_the_kernel(calls))
    # The trace does show it where there is no library.
    bed.run("lb", *strace, "ipvsadm", "-Ln", check=False, env=environment(bed))
    assert len(spoke_with_the_kernel(trace.read_text(errors="replace").splitlines())) >= 2, trace.read_text(errors="replace")
    trace.unlink()


@test()
def it_waits_until_lbd_is_there(bed):
    late = bed.spawn("lb", *under("ipvsadm", "-A", "-t", f"{VIP}:80"), env=environment(bed))
    try:
        with bed.lbd() as lbd:
            assert late.wait(PATIENCE) == 0 and lbd.service()["port"] == 80
    finally:
        late.kill()
        late.wait()


@test()
def other_programs_under_it_are_as_without(bed):
    with bed.lbd():
        for line in ("ip -6 route", "ip -json link", "ip address", "ss -lnt", f"curl -sS http://{REALS['rs1']}/"):
            plain, there = bed.run("rs1", *line.split()), Tools(bed, "rs1").run(*line.split())
            assert (there.returncode, there.stdout, there.stderr) == (0, plain.stdout, plain.stderr), (line, there)


@test()
def a_user_without_the_right_is_turned_away(bed):
    with bed.lbd() as lbd:
        bed.dir.chmod(0o755)
        try:
            tools = Tools(bed, wait=0)
            as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            # natlb-lvs itself is root's here: what is turned away is ipvsadm.
            done = tools.run(*as_nobody, "ipvsadm", "-A", "-t", f"{VIP}:80")
        finally:
            bed.dir.chmod(0o700)
        assert done.returncode > 0 and re.search("(?i)permi", done.stderr), done
        assert lbd.json("list")["services"] == []


def peer(bed):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(PATIENCE)
    client.connect(str(socket_of(bed)))
    return client


def request(kind, flags, body, sequence=1):
    return struct.pack("=IHHII", 16 + len(body), kind, flags, sequence, 0) + body


FAMILY, DUMP = 0x3F0, 0x301
# The command that removes all services, whatever else its message has.
FLUSH = 17
GET_SERVICES = request(FAMILY, DUMP, b"\x04\x01\0\0")


def text_of(name):
    value = name.encode() + b"\0"
    attribute = struct.pack("=HH", 4 + len(value), 1) + value
    return request(FAMILY, 1, b"\x40\x01\0\0" + attribute + b"\0" * (-len(attribute) % 4))


@test()
def nonsense_on_the_socket_disturbs_nobody(bed):
    noise = os.urandom
    whole = request(FAMILY, 5, b"\x0f\x01\0\0")
    with bed.lbd(services=[("tcp", f"{VIP}:80", bed.ip.pool())]) as lbd, contextlib.ExitStack() as kept:
        tools, before = Tools(bed), memory(lbd.process.pid)
        for sent in (b"", b"\0" * 16, b"\xff" * 65536, noise(100_000), whole[:7], whole[:17], GET_SERVICES[:-1],
                     struct.pack("=IHHII", 0xFFFFFFFF, FAMILY, 5, 1, 0), struct.pack("=IHHII", 65_536, FAMILY, 5, 1, 0) + noise(9),
                     *(request(FAMILY, 5, bytes([command, 1, 0, 0]) + noise(200)) for command in range(20) if command != FLUSH),
                     *(noise(64) for _ in range(50))):
            client = peer(bed)
            with contextlib.suppress(OSError):
                client.settimeout(0.2)
                client.sendall(sent)
                client.recv(65536)
            # Some stay, as many as there may be; some go at once.
            if len(kept._exit_callbacks) < 8:
                kept.callback(client.close)
            else:
                client.close()
        assert tools.listed() == lbd.ctl("list")
        bed.expect(["rs2", "rs1"] * 2)
        assert lbd.process.poll() is None and memory(lbd.process.pid) < before + 16 * 1024, (before, memory(lbd.process.pid))


@test()
def a_reader_that_stops_holds_nobody_up(bed):
    config = bed.config(workers=1)
    config["connections"]["capacity"] = 65536
    service = f"-u {VIP}:5000"
    with udp_echo(bed, "rs1", 5000, lambda _: b""), bed.lbd(config) as lbd:
        tools = Tools(bed)
        tools.ipvsadm(f"-A {service} -s rr")
        tools.ipvsadm(f"-a {service} -r {REALS['rs1']}:5000 -m")
        count = lambda: sum(worker["connections"] for worker in lbd.json("status")["workers"])
        # On a busy machine many a datagram finds no room.
        for _ in range(20):
            many_connections(bed, 40_000)
            if wait_for(lambda: count() > 30_000, 1):
                break
        assert count() > 30_000, count()
        before = memory(lbd.process.pid)
        with contextlib.ExitStack() as kept:
            stalled = [kept.enter_context(contextlib.closing(peer(bed))) for _ in range(4)]
            for client, ask in zip(stalled, (text_of("ip_vs_conn"), text_of("ip_vs_conn"), GET_SERVICES * 2000, text_of("ip_vs_conn"))):
                client.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    client.send(ask)
            for _ in range(20):
                assert lbd.lbctl("list").returncode == 0
                tools.ipvsadm("-Ln")
            grown = memory(lbd.process.pid) - before
            assert grown < 32 * 1024, f"{grown} KiB more"
        # Who reads has them all.
        lines = tools.ipvsadm("-Lnc").splitlines()
        assert abs(len(lines) - 2 - count()) <= 1000, (len(lines), count())


def many_connections(bed, number):
    """One datagram to the service from each of so many ports."""
    with bed.inside("client"):
        for port in range(20_000, 20_000 + number):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.bind(("", port))
                client.sendto(b"", (VIP, 5000))
