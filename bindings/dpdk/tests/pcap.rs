//! What goes in from one pcap file comes out in another, byte for byte.

mod support;

use arrayvec::ArrayVec;
use dataplane::frame::{BURST, Frame};
use dpdk::{EthPort, Pool, PortConfig};
use std::fs;
use support::{config, eal, pcap, unpack};

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
    // The second fails, and the EAL goes on without it.
    let eal = eal(64, vec![device.clone(), "net_af_packet7,iface=nowhere".into()]);
    let missing = EthPort::open(&eal, "net_af_packet7,iface=nowhere").unwrap_err().to_string();
    assert!(missing.contains("ip link show nowhere"), "{missing}");

    let pool = Pool::new(&eal, "pcap0", 1023, 0, 2048, None).unwrap();
    let mut port = EthPort::open(&eal, &device).unwrap();
    let config = |mtu, pools| PortConfig { mtu, promiscuous: true, ..config(pools) };
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
