//! Ports close one after another: a frame of one's pool may be held by a later one's transmit ring.

mod support;

use dpdk::{EthPort, Pool};
use support::{config, eal};

/// The EAL starts once a process, so this file has one test.
#[test]
fn a_pool_kept_until_the_last_port_is_closed_is_freed() {
    let eal = eal(64, vec!["net_null0".into(), "net_null1".into()]);
    let pool = |name: &str| Pool::new(&eal, name, 1023, 0, 2048, None);
    let open = |name: &str| {
        let mut port = EthPort::open(&eal, name).unwrap();
        port.configure(config(vec![pool(name).unwrap()])).unwrap();
        port.start().unwrap();
        port
    };
    let (first, second) = (open("net_null0"), open("net_null1"));
    let kept: Vec<Pool> = [&first, &second].iter().flat_map(|port| port.pools().to_vec()).collect();
    // Stands for what the second port's ring gives back when it is closed.
    let in_second = first.pools()[0].allocate().unwrap();
    drop(first);
    drop(in_second);
    drop(second);
    assert!(pool("net_null0").is_err(), "it is still there");
    drop(kept);
    // Gone, not left behind for a frame that is in use: its name is free.
    pool("net_null0").unwrap();
}
