//! Frames through a net_ring and a net_null, on an lcore; what is used is given back.

use dataplane::names::ids::EthPortId;

use arrayvec::ArrayVec;
use dataplane::frame::{BURST, Frame, FrameIo, HEAD};
use dpdk::{Eal, EalOptions, Error, EthPort, Hugepages, MemoryMode, Pool, PortConfig, Queues};
use std::sync::mpsc;

/// The EAL starts once a process, so this file has one test.
#[test]
fn frames_pass_and_come_back_to_their_pools() {
    let options = EalOptions {
        // The worker shares the only core that is there for certain.
        worker_cores: vec![0],
        hugepages: Hugepages::Never,
        memory_mb: 64,
        devices: vec!["net_ring0".into(), "net_null0".into()],
        extra_arguments: vec!["--no-shconf".into()],
        ..EalOptions::default()
    };
    let absent = EalOptions { worker_cores: vec![100_000], ..options.clone() };
    assert!(matches!(Eal::start(&absent), Err(Error::Option(..))));

    assert!(Eal::version().starts_with("DPDK 2"), "{}", Eal::version());
    let eal = Eal::start(&options).unwrap();
    assert!(matches!(Eal::start(&options), Err(Error::EalStartedBefore)));
    assert!(matches!(eal.memory(), MemoryMode::Ordinary(_)));
    assert!(dpdk::tsc_hz() > 1_000_000);
    assert!(dpdk::tsc() != dpdk::tsc());

    pools_refuse_what_can_not_work(&eal);
    a_frame_keeps_its_pool(&eal);

    let missing = EthPort::open(&eal, "net_null9").unwrap_err().to_string();
    assert!(missing.contains("device net_null9: no such port") && missing.contains("librte-net-null"));

    let ring_pool = Pool::new(&eal, "ring0", 2047, 0, 2048, None).unwrap();
    let null_pool = Pool::new(&eal, "null0", 511, 32, 2048, None).unwrap();
    let mut ring = start(&eal, "net_ring0", &ring_pool);
    let null = start(&eal, "net_null0", &null_pool);
    assert_eq!((ring.driver(), null.driver()), ("net_ring".into(), "net_null".into()));
    // net_ring has no MAC: a random one, locally administered and no multicast.
    assert_eq!(ring.mac()[0] & 3, 2);
    assert!(ring.notes().iter().any(|note| note.contains("no MAC")), "{:?}", ring.notes());
    assert!(ring.link().up);
    assert!(matches!(EthPort::open(&eal, "net_ring0"), Err(Error::Option(..))), "opened twice");
    assert!(ring.queue(1).is_none());

    let queues = Queues::new(vec![ring.queue(0).unwrap(), null.queue(0).unwrap()]);
    assert!(ring.queue(0).is_none(), "a queue is handed out once");
    let (report, reported) = mpsc::channel();
    let worker = eal.launch(0, Box::new(move || report.send(on_the_worker(queues)).unwrap())).unwrap();
    worker.join().unwrap();
    // The worker kept the queues until its end only.
    let sent = reported.recv().unwrap();
    assert!((1000..=1024).contains(&sent), "a net_ring holds 1024 less one, not {sent}");
    let stats = ring.stats().unwrap();
    assert_eq!((stats.tx_packets, stats.rx_packets), (sent + 1, sent + 1));
    assert_eq!((ring_pool.in_use(), ring_pool.available()), (0, 2047));
    assert_eq!((null_pool.in_use(), null_pool.available()), (0, 511));

    let panicking = eal.launch(0, Box::new(|| panic!("as planned"))).unwrap();
    assert_eq!(panicking.join(), Err("as planned".into()));
    assert!(matches!(eal.launch(1, Box::new(|| ())), Err(Error::Lcore(1, _))));
    eal.launch(0, Box::new(|| ())).unwrap().join().unwrap();

    assert!(
        ring.configure(PortConfig {
            pools: vec![],
            tx_queues: 0,
            descriptors: None,
            mtu: Some(1500),
            interface_mtu: None,
            promiscuous: false,
            all_multicast: false,
            rss: None,
        })
        .is_err()
    );
}

fn start(eal: &Eal, device: &str, pool: &Pool) -> EthPort {
    let mut port = EthPort::open(eal, device).unwrap();
    assert!(port.queue(0).is_none(), "no queue before the start");
    let config = PortConfig {
        pools: vec![pool.clone()],
        tx_queues: 1,
        descriptors: Some((512, 512)),
        mtu: Some(1500),
        interface_mtu: None,
        promiscuous: true,
        all_multicast: false,
        rss: None,
    };
    port.configure(config).unwrap();
    port.start().unwrap();
    assert_eq!(port.mtu(), 1500);
    port
}

/// Everything a worker does with frames; returns how many went into the ring until it was full.
fn on_the_worker(mut io: Queues) -> u64 {
    const RING: u8 = 0;
    const NULL: u8 = 1;
    let mut frames = ArrayVec::<_, BURST>::new();

    // One frame with contents, on two sides of its buffer's limit.
    let mut frame = io.allocate(EthPortId(RING)).unwrap();
    assert_eq!((frame.length(), frame.is_whole()), (0, true));
    assert!(!frame.set_length(2049));
    assert!(frame.set_length(2048));
    frame.bytes_mut().fill(0x5A);
    frame.head_mut()[HEAD - 1] = 1;
    assert_eq!(frame.bytes()[HEAD - 1], 1);
    assert!(frame.set_length(60));
    frames.push(frame);
    io.transmit(EthPortId(RING), &mut frames);
    assert!(frames.is_empty());
    io.receive(EthPortId(RING), &mut frames);
    assert_eq!(frames.len(), 1);
    assert_eq!((frames[0].length(), frames[0].total_length(), frames[0].bytes()[59]), (60, 60, 0x5A));
    assert_eq!(frames[0].head()[HEAD - 1], 1);
    frames.clear();

    // More than the ring holds: the rest remains, in order, and comes out in order.
    let mut next: u32 = 0;
    let sent = loop {
        while !frames.is_full() {
            let mut frame = io.allocate(EthPortId(RING)).unwrap();
            assert!(frame.set_length(64));
            frame.bytes_mut()[..4].copy_from_slice(&next.to_le_bytes());
            next += 1;
            frames.push(frame);
        }
        io.transmit(EthPortId(RING), &mut frames);
        if !frames.is_empty() {
            break next - frames.len() as u32;
        }
    };
    let number = |frame: &dpdk::Mbuf| u32::from_le_bytes(frame.bytes()[..4].try_into().unwrap());
    assert_eq!(number(&frames[0]), sent, "what was not taken moved to the front");
    assert_eq!(number(frames.last().unwrap()), next - 1);
    frames.truncate(3);
    let mut expected = 0;
    loop {
        let before = frames.len();
        io.receive(EthPortId(RING), &mut frames);
        if frames.len() == before {
            break;
        }
        // Received frames are appended to the three that were left the first time.
        for frame in frames.drain(before..) {
            assert_eq!(number(&frame), expected);
            expected += 1;
        }
        dpdk::Mbuf::free_all(&mut frames);
    }
    assert_eq!(expected, sent);

    // net_null: frames from its pool, as many as fit, and a pool that is used up.
    io.receive(EthPortId(NULL), &mut frames);
    assert_eq!(frames.len(), BURST);
    io.receive(EthPortId(NULL), &mut frames);
    assert_eq!(frames.len(), BURST, "no room, nothing received");
    let all: Vec<_> = std::iter::from_fn(|| io.allocate(EthPortId(NULL))).collect();
    assert!(all.len() >= 511 - BURST - 64, "{}", all.len());
    io.transmit(EthPortId(NULL), &mut frames);
    assert!(frames.is_empty());
    u64::from(sent)
}

fn pools_refuse_what_can_not_work(eal: &Eal) {
    let refused = |count, cache, size| {
        let error = Pool::new(eal, "refused", count, cache, size, None).unwrap_err();
        assert!(matches!(error, Error::PoolShape(..)), "{error}");
    };
    refused(0, 0, 2048);
    refused(100, 68, 2048);
    refused(8192, 513, 2048);
    refused(128, 0, HEAD as u16 - 1);
    refused(128, 0, u16::MAX);
    let error = Pool::new(eal, "large", 1 << 20, 0, 2048, None).unwrap_err();
    assert!(matches!(error, Error::Pool { .. }), "{error}");
    assert!(error.to_string().contains("1048576 buffers"), "{error}");
    let least = Pool::new(eal, "least", 1, 0, HEAD as u16, None).unwrap();
    assert!(least.allocate().is_some_and(|mut frame| frame.set_length(HEAD) && !frame.set_length(HEAD + 1)));
}

fn a_frame_keeps_its_pool(eal: &Eal) {
    let pool = Pool::new(eal, "outlived", 63, 0, 2048, None).unwrap();
    assert!(matches!(Pool::new(eal, "outlived", 63, 0, 2048, None), Err(Error::PoolShape(..))));
    drop(pool);
    // It is gone, so its name is free.
    let pool = Pool::new(eal, "outlived", 63, 0, 2048, None).unwrap();
    let mut frame = pool.allocate().unwrap();
    assert_eq!((pool.in_use(), pool.available()), (1, 62));
    drop(pool);
    assert!(frame.set_length(2048));
    frame.bytes_mut().fill(1);
    drop(frame);
    assert!(Pool::new(eal, "outlived", 63, 0, 2048, None).is_err(), "the frame kept the pool");
}
