"""TRex advanced stateful profile for natlb: HTTP-like connections, for the rate of new connections.

The client side of TRex opens connections to the VIP; the server side has a TCP stack of its own that accepts
what arrives at the real's port at whatever address, and answers to the client that it sees. natlb brings the
answers back as the VIP's, which is what the client side waits for: no --learn-mode is needed.
"""

import argparse
from ipaddress import IPv4Address

from trex.astf.api import (ASTFAssociationRule, ASTFIPGen, ASTFIPGenDist, ASTFIPGenGlobal, ASTFProfile, ASTFProgram,
                           ASTFTCPClientTemplate, ASTFTCPServerTemplate, ASTFTemplate)

REQUEST = b"GET / HTTP/1.1\r\nHost: natlb.test\r\nConnection: close\r\n\r\n"


def parse(tunables):
    parser = argparse.ArgumentParser("natlb_astf.py", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--vip", default="198.18.0.100")
    parser.add_argument("--vip-port", type=int, default=80)
    parser.add_argument("--real-port", type=int, default=80, help="port of the reals; their addresses are natlb's choice")
    parser.add_argument("--size", type=int, default=1, help="bytes of the answer's body")
    parser.add_argument("--cps", type=float, default=1000, help="connections a second, times -m of start")
    parser.add_argument("--clients", type=int, default=4096, help="addresses, from --first-client on")
    parser.add_argument("--first-client", default="16.0.0.1")
    options = parser.parse_args(tunables)
    if options.clients < 1 or options.size < 0 or options.cps <= 0:
        parser.error("--clients: at least 1; --size: at least 0; --cps: more than 0")
    return options


def answer(size):
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n"
    return head.encode() + b"x" * size


class Profile:
    def get_profile(self, tunables=(), **_kwargs):
        options = parse(tunables)
        response = answer(options.size)
        client, server = ASTFProgram(), ASTFProgram()
        client.send(REQUEST)
        client.recv(len(response))
        server.recv(len(REQUEST))
        server.send(response)

        last = str(IPv4Address(options.first_client) + options.clients - 1)
        addresses = ASTFIPGen(
            # Every pair of ports has these addresses: natlb has one pair.
            glob=ASTFIPGenGlobal(ip_offset="1.0.0.0"),
            dist_client=ASTFIPGenDist(ip_range=[options.first_client, last], distribution="seq"),
            dist_server=ASTFIPGenDist(ip_range=[options.vip, options.vip], distribution="seq"),
        )
        template = ASTFTemplate(
            client_template=ASTFTCPClientTemplate(program=client, ip_gen=addresses, port=options.vip_port,
                                                  cps=options.cps),
            server_template=ASTFTCPServerTemplate(program=server, assoc=ASTFAssociationRule(port=options.real_port)),
        )
        return ASTFProfile(default_ip_gen=addresses, templates=template)


def register():
    return Profile()
