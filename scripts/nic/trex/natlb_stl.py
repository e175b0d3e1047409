"""TRex stateless profile for natlb: UDP or TCP connections of many clients to one VIP, and a latency stream.

Port 0 of TRex is the clients, port 1 the real server. The service has one real, so that the replies are known
without asking natlb. A connection has to be opened by a client before its replies pass: first --load open,
then --load run. README.md beside this file has the order of steps.
"""

import argparse
from ipaddress import IPv4Address

from trex.stl.api import (IP, TCP, UDP, Ether, STLFlowLatencyStats, STLPktBuilder, STLScVmRaw, STLStream, STLTXCont,
                          STLTXSingleBurst, STLVmFixChecksumHw, STLVmFixIpv4, STLVmTupleGen, STLVmWrFlowVar,
                          CTRexVmInsFixHwCs)

FRAME_CHECK = 4  # bytes that the NIC appends: a 64-byte frame is 60 bytes here
LEAST_PORT = 1024


def parse(tunables):
    parser = argparse.ArgumentParser("natlb_stl.py", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--protocol", choices=("udp", "tcp"), default="udp")
    parser.add_argument("--load", choices=("open", "run", "flood"), default="run",
                        help="open: each connection once, at --pps; run: packets of all connections in turn, without "
                             "end; flood: TCP SYNs without end")
    parser.add_argument("--size", type=int, default=64, help="bytes of a frame, frame check sequence included")
    parser.add_argument("--clients", type=int, default=1024, help="addresses, from --first-client on")
    parser.add_argument("--ports", type=int, default=64, help="source ports of each: clients x ports connections")
    parser.add_argument("--first-client", default="16.0.0.1")
    parser.add_argument("--vip", default="198.18.0.100")
    parser.add_argument("--vip-port", type=int, default=80)
    parser.add_argument("--real", default="48.0.0.1")
    parser.add_argument("--real-port", type=int, default=80)
    parser.add_argument("--pps", type=float, default=100_000, help="rate of --load open")
    parser.add_argument("--latency-pps", type=float, default=1000,
                        help="frames a second of the latency stream (UDP), which -m does not scale; 0: none")
    parser.add_argument("--latency-client", default="17.0.0.1", help="where it comes from: none of the clients")
    options = parser.parse_args(tunables)
    if not (64 <= options.size <= 1518):
        parser.error("--size: 64 to 1518")
    if options.clients < 1 or not 1 <= options.ports <= 65536 - LEAST_PORT:
        parser.error(f"--clients: at least 1; --ports: 1 to {65536 - LEAST_PORT}")
    if options.load == "flood" and options.protocol != "tcp":
        parser.error("--load flood is about TCP SYNs: --protocol tcp")
    return options


def transport(options, reply, client_port):
    """The header above IPv4: from the client, or as a reply from the real."""
    ports = dict(sport=client_port, dport=options.vip_port)
    if reply:
        ports = dict(sport=options.real_port, dport=client_port)
    if options.protocol == "udp":
        return UDP(chksum=0, **ports)
    # TCP is opened by SYN, SYN+ACK, and the first ACK of --load run.
    opening = "SA" if reply else "S"
    return TCP(flags="A" if options.load == "run" else opening, seq=1000, ack=2000, **ports)


def addresses(options, reply, client):
    return dict(src=options.real, dst=client) if reply else dict(src=client, dst=options.vip)


def padded(packet, size):
    # Nothing but blanks: the receivers of a kit look at no payload.
    return packet / (b"\x20" * max(0, size - FRAME_CHECK - len(packet)))


def connections(options, reply):
    """All connections in turn; every client's first port first."""
    last = str(IPv4Address(options.first_client) + options.clients - 1)
    address, port = ("IP.dst", "dport") if reply else ("IP.src", "sport")
    layer = options.protocol.upper()
    program = [
        # limit_flows is 100,000 unless it is given.
        STLVmTupleGen(name="client", ip_min=options.first_client, ip_max=last, port_min=LEAST_PORT,
                      port_max=LEAST_PORT + options.ports - 1, limit_flows=options.clients * options.ports),
        STLVmWrFlowVar(fv_name="client.ip", pkt_offset=address),
        STLVmWrFlowVar(fv_name="client.port", pkt_offset=f"{layer}.{port}"),
    ]
    if options.protocol == "tcp":
        program.append(STLVmFixChecksumHw(l3_offset="IP", l4_offset="TCP", l4_type=CTRexVmInsFixHwCs.L4_TYPE_TCP))
    else:
        program.append(STLVmFixIpv4(offset="IP"))
    packet = (Ether() / IP(**addresses(options, reply, options.first_client))
              / transport(options, reply, LEAST_PORT))
    if options.load == "open":
        mode = STLTXSingleBurst(total_pkts=options.clients * options.ports, pps=options.pps)
    else:
        mode = STLTXCont(percentage=100)  # of the line: start -m scales it
    return STLStream(packet=STLPktBuilder(pkt=padded(packet, options.size), vm=STLScVmRaw(program)), mode=mode)


def latency(options, reply, port_id):
    """One connection of its own, timed. The payload changes from packet to packet: UDP without a checksum. The
    stream is known by the IPv4 identification, which natlb keeps. --load open sends one frame, so that the first
    timed replies find their connection."""
    ports = dict(sport=LEAST_PORT, dport=options.vip_port)
    if reply:
        ports = dict(sport=options.real_port, dport=LEAST_PORT)
    packet = Ether() / IP(**addresses(options, reply, options.latency_client)) / UDP(chksum=0, **ports)
    frame = STLPktBuilder(pkt=padded(packet, options.size))
    if options.load == "open":
        return STLStream(packet=frame, mode=STLTXSingleBurst(total_pkts=1, pps=options.latency_pps))
    return STLStream(packet=frame, mode=STLTXCont(pps=options.latency_pps),
                     flow_stats=STLFlowLatencyStats(pg_id=7 + port_id))


class Profile:
    def get_streams(self, direction=0, port_id=0, tunables=(), **_kwargs):
        options = parse(tunables)
        reply = direction % 2 == 1
        streams = []
        if not (reply and options.load == "flood"):
            streams.append(connections(options, reply))
        if options.latency_pps > 0:
            streams.append(latency(options, reply, port_id))
        return streams


def register():
    return Profile()
