//! A simulated NIC: RSS as Microsoft specifies it, written independently of the code under test.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::net::{Ipv4Addr, SocketAddrV4};

/// The Toeplitz hash, bit by bit ("RSS hashing functions", Microsoft): for each bit of the input from
/// the left, if it is set, the leftmost 32 bits of the key are added; then the key moves left.
pub(crate) fn toeplitz(key: &[u8], input: &[u8]) -> u32 {
    let mut hash = 0;
    let mut leftmost = u32::from_be_bytes(key[..4].try_into().unwrap());
    for (byte, next) in input.iter().zip(&key[4..]) {
        for bit in (0..8).rev() {
            if byte >> bit & 1 == 1 {
                hash ^= leftmost;
            }
            leftmost = leftmost << 1 | u32::from(next >> bit & 1);
        }
    }
    hash
}

/// Source address, destination address, source port, destination port.
pub(crate) fn ipv4_input(source: SocketAddrV4, destination: SocketAddrV4) -> [u8; 12] {
    let mut input = [0; 12];
    input[..4].copy_from_slice(&source.ip().octets());
    input[4..8].copy_from_slice(&destination.ip().octets());
    input[8..10].copy_from_slice(&source.port().to_be_bytes());
    input[10..].copy_from_slice(&destination.port().to_be_bytes());
    input
}

/// What a NIC hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    All,
    /// `RTE_ETH_RSS_IPV4` alone.
    Addresses,
    /// `L3_SRC_ONLY | L4_SRC_ONLY`: the source's fields, one behind the other.
    SourceAlone,
    DestinationAlone,
}

/// A NIC that has been given a key and a table. Its hash is linear, so it is kept as what each byte adds.
pub(crate) struct Nic {
    input: Input,
    parts: Vec<[u32; 256]>,
    table: Vec<u16>,
}

impl Nic {
    pub(crate) fn new(key: &[u8], table: impl Iterator<Item = u16>, input: Input) -> Self {
        let part = |byte: usize| {
            let mut sums = [0; 256];
            for value in 1..256_usize {
                let lowest = value & value.wrapping_neg();
                let mut bytes = [0; 12];
                bytes[byte] = lowest as u8;
                sums[value] = sums[value - lowest] ^ toeplitz(key, &bytes);
            }
            sums
        };
        Self { input, parts: (0..12).map(part).collect(), table: table.collect() }
    }

    pub(crate) fn hash(&self, source: SocketAddrV4, destination: SocketAddrV4) -> u32 {
        let all = ipv4_input(source, destination);
        let add = |hash: u32, (byte, value): (usize, &u8)| hash ^ self.parts[byte][usize::from(*value)];
        match self.input {
            Input::All => all.iter().enumerate().fold(0, add),
            Input::Addresses => all[..8].iter().enumerate().fold(0, add),
            Input::SourceAlone => all[..4].iter().chain(&all[8..10]).enumerate().fold(0, add),
            Input::DestinationAlone => all[4..8].iter().chain(&all[10..]).enumerate().fold(0, add),
        }
    }

    pub(crate) fn queue(&self, source: SocketAddrV4, destination: SocketAddrV4) -> usize {
        usize::from(self.table[self.hash(source, destination) as usize % self.table.len()])
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn endpoint(&mut self) -> SocketAddrV4 {
        let bits = self.next();
        SocketAddrV4::new(Ipv4Addr::from_bits(bits as u32), (bits >> 32) as u16)
    }
}
