"""The kits' configurations: lbd takes them, and they are alike where the kits share addresses."""

import re
import subprocess
import unittest

from .kit import KITS, NIC, Addresses, program


class Configurations(unittest.TestCase):
    def test_lbd_takes_each(self):
        for file in [NIC / "lbd.toml"] + [NIC / kit / "lbd.toml" for kit in KITS]:
            with self.subTest(file=file.name):
                done = subprocess.run([program("lbd"), "--config", file, "--check"], capture_output=True, text=True,
                                      timeout=120)
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_a_mistake_would_be_found(self):
        text = (NIC / "trex/lbd.toml").read_text().replace('gateway   = "198.18.0.2"', 'gateway   = "198.19.0.2"')
        done = subprocess.run([program("lbd"), "--config", "/dev/stdin", "--check"], input=text, capture_output=True,
                              text=True, timeout=120)
        self.assertEqual(done.returncode, 2, done.stderr)

    def test_the_kits_share_their_addresses(self):
        first = Addresses("trex")
        self.assertEqual(set(first.services), {"udp", "tcp"})
        for kit in KITS[1:]:
            other = Addresses(kit)
            self.assertEqual((first.own, first.next_hops, first.services), (other.own, other.next_hops, other.services))

    def test_who_answers_no_arp_is_a_static_neighbour(self):
        self.assertNotIn("neighbour", Addresses("trex").config, "TRex answers for its ports' addresses")
        for kit in ("pktgen", "testpmd"):
            addresses = Addresses(kit)
            neighbours = [entry["address"] for entry in addresses.config["neighbour"]]
            self.assertEqual(neighbours, addresses.next_hops)

    def test_trex_and_natlb_are_each_others_gateways(self):
        addresses = Addresses("trex")
        text = (NIC / "trex/trex_cfg.yaml").read_text()
        pairs = re.findall(r"- ip: (\S+).*\n\s+default_gw: (\S+)", text)
        self.assertEqual(pairs, list(zip(addresses.next_hops, addresses.own)))
