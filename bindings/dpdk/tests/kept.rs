//! What a driver gets by pointer is there as long as its port: this file's functions stand in the place of DPDK's,
//! and read it again when the port starts and at its end, as drivers do (igb, ixgbe and i40e take the hash key when
//! they start).

mod support;

use dpdk::{EthPort, HashType, HashTypes, Pool, PortConfig, RssConfig};
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{c_int, c_void};
use std::net::Ipv4Addr;
use std::slice;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::{Action, config, eal};

/// Never gives memory back, but overwrites it: what is read too late is wrong for certain, and no more than wrong.
struct Overwriting;

// SAFETY: memory is the system's, and valid for ever.
unsafe impl GlobalAlloc for Overwriting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: so many bytes were allocated, and nobody uses them any more.
        unsafe { start.write_bytes(0xdd, layout.size()) }
    }
}

#[global_allocator]
static ALLOCATOR: Overwriting = Overwriting;

/// What was handed over: an address, and the bytes there at that time.
static HANDED: Mutex<Vec<(usize, Vec<u8>)>> = Mutex::new(Vec::new());
/// Starts and ends at which it was all read again.
static READ_AGAIN: AtomicUsize = AtomicUsize::new(0);

/// Reads `length` bytes from `start`.
///
/// # Safety
/// They must have been allocated.
unsafe fn bytes(start: *const u8, length: usize) -> Vec<u8> {
    // SAFETY: as the caller promises.
    unsafe { slice::from_raw_parts(start, length) }.to_vec()
}

/// Takes note of `length` bytes at `start`.
///
/// # Safety
/// They must be there.
unsafe fn hand_over(start: *const u8, length: usize) {
    if !start.is_null() && length > 0 {
        // SAFETY: as the caller promises.
        let now = unsafe { bytes(start, length) };
        HANDED.lock().unwrap().push((start as usize, now));
    }
}

fn read_again() {
    for (start, then) in HANDED.lock().unwrap().iter() {
        // SAFETY: they were there once, and the allocator never gives memory back.
        let now = unsafe { bytes(*start as *const u8, then.len()) };
        assert_eq!(now, *then, "what was handed over is there no more");
    }
    READ_AGAIN.fetch_add(1, Ordering::Relaxed);
}

/// The beginning of `rte_eth_rss_conf`.
#[repr(C)]
struct RssConf {
    key: *const u8,
    key_length: u8,
    types: u64,
}

/// # Safety
/// Called as DPDK's.
#[unsafe(no_mangle)]
unsafe extern "C" fn rte_eth_dev_configure(_port: u16, _rx: u16, _tx: u16, conf: *const c_void) -> c_int {
    // SAFETY: the offset is that of the part, by the shim; the key has so many bytes.
    unsafe {
        let rss = &*conf.byte_add(dpdk_sys::NATLB_CONF_RSS_KEY as usize).cast::<RssConf>();
        hand_over(rss.key, rss.key_length.into());
    }
    0
}

/// # Safety
/// Called as DPDK's.
#[unsafe(no_mangle)]
unsafe extern "C" fn rte_eth_dev_rss_hash_update(_port: u16, rss: *const RssConf) -> c_int {
    // SAFETY: the key has so many bytes.
    unsafe { hand_over((*rss).key, (*rss).key_length.into()) };
    0
}

/// # Safety
/// Called as DPDK's.
#[unsafe(no_mangle)]
unsafe extern "C" fn rte_flow_create(
    _port: u16,
    _attributes: *const c_void,
    _items: *const c_void,
    actions: *const Action,
    _error: *mut c_void,
) -> *mut c_void {
    // SAFETY: an RSS action comes first, with so many bytes of key and so many queues.
    unsafe {
        let rss = &*(*actions).conf;
        hand_over(rss.key, rss.key_length as usize);
        hand_over(rss.queues.cast(), 2 * rss.queue_count as usize);
    }
    8 as *mut c_void
}

#[unsafe(no_mangle)]
extern "C" fn rte_flow_destroy(_port: u16, _rule: *mut c_void, _error: *mut c_void) -> c_int {
    read_again();
    // The queues were the rule's.
    HANDED.lock().unwrap().retain(|(_, bytes)| bytes.len() == 40);
    0
}

#[unsafe(no_mangle)]
extern "C" fn rte_eth_rx_queue_setup(
    _port: u16,
    _queue: u16,
    _descriptors: u16,
    _socket: u32,
    _conf: *const c_void,
    _pool: *mut c_void,
) -> c_int {
    0
}

#[unsafe(no_mangle)]
extern "C" fn rte_eth_tx_queue_setup(
    _port: u16,
    _queue: u16,
    _descriptors: u16,
    _socket: u32,
    _conf: *const c_void,
) -> c_int {
    0
}

#[unsafe(no_mangle)]
extern "C" fn rte_eth_dev_set_mtu(_port: u16, _mtu: u16) -> c_int {
    0
}

#[unsafe(no_mangle)]
extern "C" fn rte_eth_dev_start(_port: u16) -> c_int {
    read_again();
    0
}

#[unsafe(no_mangle)]
extern "C" fn rte_eth_dev_stop(_port: u16) -> c_int {
    read_again();
    0
}

/// The EAL starts once a process, so this file has one test.
#[test]
fn what_a_driver_was_given_is_there_until_the_port_is_closed() {
    let eal = eal(64, vec!["net_null0".into()]);
    let mut port = EthPort::open(&eal, "net_null0").unwrap();
    let pool = Pool::new(&eal, "kept", 511, 0, 2048, None).unwrap();
    let types: HashTypes = [HashType::Ipv4].into_iter().collect();
    let rss = |first: u8| RssConfig { key: (first..first + 40).collect(), types };
    // The second time the driver may go back to what it was given the first time.
    for first in [1, 2] {
        let config =
            PortConfig { descriptors: Some((128, 128)), rss: Some(rss(first)), ..config(vec![pool.clone()]) };
        port.configure(config).unwrap();
    }
    port.start().unwrap();
    port.set_rss(&rss(3)).unwrap();
    let rule = port.add_rss_rule_to(Ipv4Addr::LOCALHOST, &rss(4), &[0, 0]).unwrap();
    let narrowing = port.add_rss_rules(&rss(5)).unwrap();
    // Of keys: two of the port, one set, three of rules; of queues: three lists.
    assert_eq!(HANDED.lock().unwrap().len(), 9);
    // As when a driver restarts the device.
    read_again();
    drop((rule, narrowing));
    drop(port);
    assert!(READ_AGAIN.load(Ordering::Relaxed) >= 6);
}
