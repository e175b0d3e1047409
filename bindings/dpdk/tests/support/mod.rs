//! What tests of the bindings share: an EAL without devices of the machine, ports as tests want them, and pcap files.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses its part")]

use dpdk::{Eal, EalOptions, Hugepages, Pool, PortConfig};
use std::ffi::c_int;

/// An EAL with these virtual devices, in ordinary memory.
pub fn eal(memory_mb: u32, devices: Vec<String>) -> Eal {
    Eal::start(&EalOptions {
        hugepages: Hugepages::Never,
        memory_mb,
        devices,
        extra_arguments: vec!["--no-shconf".into()],
        ..EalOptions::default()
    })
    .unwrap()
}

/// A pool of each receive queue, as many transmit queues, and nothing special.
pub fn config(pools: Vec<Pool>) -> PortConfig {
    PortConfig {
        tx_queues: pools.len() as u16,
        pools,
        descriptors: None,
        mtu: Some(1500),
        interface_mtu: None,
        promiscuous: false,
        all_multicast: false,
        rss: None,
    }
}

/// The beginning of `rte_flow_action`.
#[repr(C)]
pub struct Action {
    pub kind: c_int,
    pub conf: *const Rss,
}

/// The beginning of `rte_flow_action_rss`.
#[repr(C)]
pub struct Rss {
    pub function: c_int,
    pub level: u32,
    pub types: u64,
    pub key_length: u32,
    pub queue_count: u32,
    pub key: *const u8,
    pub queues: *const u16,
}

/// A pcap file in this machine's byte order, link type Ethernet.
pub fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xA1B2_C3D4_u32, 2 | 4 << 16, 0, 0, 65535, 1] {
        file.extend(word.to_ne_bytes());
    }
    for frame in frames {
        for word in [0, 0, frame.len() as u32, frame.len() as u32] {
            file.extend(word.to_ne_bytes());
        }
        file.extend(frame);
    }
    file
}

pub fn unpack(file: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut rest = &file[24..];
    while !rest.is_empty() {
        let length = u32::from_ne_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[16..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    frames
}
