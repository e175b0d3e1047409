//! What goes in from one pcap file comes out in another, byte for byte.

use arrayvec::ArrayVec;
use dataplane::frame::{BURST, Frame};
use dpdk::{Eal, EalOptions, EthPort, Hugepages, Pool, PortConfig};
use std::fs;

/// Longer than a buffer: arrives in pieces.
const LONG: usize = 3000;

/// The EAL starts once a process, so this file has one test.
#[test]
fn bytes_are_unchanged_from_file_to_file() {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("in.pcap"), directory.path().join("out.pcap"));
    let mut frames: Vec<Vec<u8>> =
        (0..200_usize).map(|n| (0..60 + n * 7).map(|byte| (byte * 31 + n * 17) as u8).collect()).collect();
    frames.push((0..LONG).map(|byte| byte as u8).collect());
    fs::write(&input, pcap(&frames)).unwrap();

    let device = format!("net_pcap0,rx_pcap={},tx_pcap={}", input.display(), output.display());
    let eal = Eal::start(&EalOptions {
        hugepages: Hugepages::Never,
        memory_mb: 64,
        // The second fails, and the EAL goes on without it.
        devices: vec![device.clone(), "net_af_packet7,iface=nowhere".into()],
        extra_arguments: vec!["--no-shconf".into()],
        ..EalOptions::default()
    })
    .unwrap();
    let missing = EthPort::open(&eal, "net_af_packet7,iface=nowhere").unwrap_err().to_string();
    assert!(missing.contains("ip link show nowhere"), "{missing}");

    let pool = Pool::new(&eal, "pcap0", 1023, 0, 2048, None).unwrap();
    let mut port = EthPort::open(&eal, &device).unwrap();
    let config = |mtu, pools: Vec<Pool>| PortConfig {
        tx_queues: pools.len() as u16,
        pools,
        descriptors: None,
        mtu,
        interface_mtu: None,
        promiscuous: true,
        rss: None,
    };
    let too_many = port.configure(config(None, vec![pool.clone(), pool.clone()])).unwrap_err().to_string();
    assert!(too_many.contains("2 receive queues are needed, it has 1"), "{too_many}");
    let too_large = port.configure(config(Some(9000), vec![pool.clone()])).unwrap_err().to_string();
    assert!(too_large.contains("an MTU of 9000 is not possible, 46 to 2030 are; lower mtu"), "{too_large}");
    port.configure(config(None, vec![pool.clone()])).unwrap();
    assert_eq!(port.mtu(), 1500);
    for _ in 0..2 {
        let on_interface = PortConfig { interface_mtu: Some(9000), ..config(None, vec![pool.clone()]) };
        port.configure(on_interface).unwrap();
    }
    assert_eq!(port.mtu(), 2030);
    port.start().unwrap();
    let mtu = port.notes().iter().filter(|note| note.contains("MTU is 9000, but a buffer"));
    assert_eq!(mtu.count(), 1, "said once: {:?}", port.notes());

    let mut queue = port.queue(0).unwrap();
    let mut burst = ArrayVec::<_, BURST>::new();
    let (mut whole, mut pieces) = (0, 0);
    loop {
        queue.receive(&mut burst);
        if burst.is_empty() {
            break;
        }
        for frame in &mut burst {
            let flags = frame.flags() & u64::from(u32::MAX);
            assert_eq!((frame.marks() as u16, frame.marks() >> 32), (frame.pieces(), flags));
            if frame.is_whole() {
                whole += 1;
            } else {
                pieces += 1;
                assert_eq!(frame.total_length() as usize, LONG);
                assert!(frame.length() < LONG && frame.bytes().len() == frame.length());
                assert!(!frame.set_length(60), "a chain can't be shortened");
            }
        }
        while !burst.is_empty() {
            queue.transmit(&mut burst);
        }
    }
    assert_eq!((whole, pieces), (200, 1));
    assert_eq!(pool.in_use(), 0);
    // Closes the file.
    drop((queue, port));
    let written = unpack(&fs::read(&output).unwrap());
    assert_eq!(written.len(), frames.len());
    for (index, (written, frame)) in written.iter().zip(&frames).enumerate() {
        assert_eq!(written, frame, "frame {index}");
    }
}

/// A pcap file in this machine's byte order, link type Ethernet.
fn pcap(frames: &[Vec<u8>]) -> Vec<u8> {
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

fn unpack(file: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut rest = &file[24..];
    while !rest.is_empty() {
        let length = u32::from_ne_bytes(rest[8..12].try_into().unwrap()) as usize;
        frames.push(rest[16..16 + length].to_vec());
        rest = &rest[16 + length..];
    }
    frames
}
