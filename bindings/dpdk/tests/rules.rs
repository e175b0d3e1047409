//! What a driver is asked for by an RSS rule: this file's functions stand in the place of DPDK's, and the
//! structures are read as `rte_flow.h` lays them out.

mod support;

use dpdk::{EthPort, HashType, Pool, PortConfig, RssConfig};
use std::ffi::{c_char, c_int, c_void};
use std::net::Ipv4Addr;
use std::slice;
use std::sync::Mutex;
use support::{Action, config, eal};

#[repr(C)]
struct Item {
    kind: c_int,
    spec: *const u8,
    last: *const u8,
    mask: *const u8,
}

#[repr(C)]
struct Refusal {
    kind: c_int,
    cause: *const c_void,
    message: *const c_char,
}

#[derive(Clone, Debug, PartialEq)]
struct Asked {
    /// IPv4 headers to match, and the bits of them that count.
    header: Option<([u8; 20], [u8; 20])>,
    items: usize,
    key: Vec<u8>,
    queues: Vec<u16>,
}

/// What was asked for, and which rules there are by number.
static ASKED: Mutex<(Vec<Asked>, Vec<usize>)> = Mutex::new((Vec::new(), Vec::new()));

/// Refuses more than two queues.
///
/// # Safety
/// Called as DPDK's.
#[unsafe(no_mangle)]
unsafe extern "C" fn rte_flow_create(
    _port: u16,
    _attributes: *const c_void,
    items: *const Item,
    actions: *const Action,
    error: *mut Refusal,
) -> *mut c_void {
    // SAFETY: both lists end in type 0; an IPv4 header has 20 bytes; an RSS action comes first, with so many bytes of
    // key and so many queues; the error can be written.
    unsafe {
        let count = (0..).take_while(|at| (*items.add(*at)).kind != 0).count();
        let all = slice::from_raw_parts(items, count);
        assert!(all.iter().all(|item| item.last.is_null()));
        assert!(all.iter().enumerate().all(|(at, item)| at == 1 || item.spec.is_null()));
        let header = |from: *const u8| slice::from_raw_parts(from, 20).try_into().unwrap();
        let rss = &*(*actions).conf;
        assert_eq!(((*actions.add(1)).kind, rss.function, rss.level), (0, 0, 0));
        assert_ne!(rss.types, 0);
        let key =
            if rss.key.is_null() { &[] } else { slice::from_raw_parts(rss.key, rss.key_length as usize) };
        let queues = if rss.queues.is_null() {
            &[]
        } else {
            slice::from_raw_parts(rss.queues, rss.queue_count as usize)
        };
        let mut asked = ASKED.lock().unwrap();
        asked.0.push(Asked {
            header: (!all[1].spec.is_null()).then(|| (header(all[1].spec), header(all[1].mask))),
            items: count,
            key: key.to_vec(),
            queues: queues.to_vec(),
        });
        if queues.len() > 2 {
            (*error).message = c"too many".as_ptr();
            return std::ptr::null_mut();
        }
        let number = asked.0.len();
        asked.1.push(number);
        number as *mut c_void
    }
}

/// # Safety
/// Called as DPDK's.
#[unsafe(no_mangle)]
unsafe extern "C" fn rte_flow_destroy(_port: u16, rule: *mut c_void, _error: *mut Refusal) -> c_int {
    let rules = &mut ASKED.lock().unwrap().1;
    let at = rules.iter().position(|number| *number == rule as usize).expect("a rule that is there");
    rules.remove(at);
    0
}

/// The EAL starts once a process, so this file has one test.
#[test]
fn rules_are_asked_for_and_go() {
    let eal = eal(64, vec!["net_null0".into()]);
    let mut port = EthPort::open(&eal, "net_null0").unwrap();
    let pool = Pool::new(&eal, "rules", 511, 0, 2048, None).unwrap();
    let config = PortConfig { descriptors: Some((128, 128)), ..config(vec![pool]) };
    port.configure(config).unwrap();
    port.start().unwrap();
    let rss = RssConfig { key: (1..=40).collect(), types: [HashType::Ipv4].into_iter().collect() };
    let vip = Ipv4Addr::new(192, 168, 10, 100);

    let rule = port.add_rss_rule_to(vip, &rss, &[0, 0]).unwrap();
    let refused = port.add_rss_rule_to(vip, &rss, &[0, 0, 0, 0]).unwrap_err();
    assert!(refused.to_string().ends_with(": too many"), "{refused}");
    let mut header = ([0; 20], [0; 20]);
    header.0[16..].copy_from_slice(&vip.octets());
    header.1[16..].fill(0xff);
    let to_vip = |queues: &[u16]| Asked {
        header: Some(header),
        items: 2,
        key: rss.key.clone(),
        queues: queues.to_vec(),
    };
    assert_eq!(ASKED.lock().unwrap().0, [to_vip(&[0, 0]), to_vip(&[0; 4])]);

    // For all of a protocol.
    let narrowing = port.add_rss_rules(&rss).unwrap();
    let all = Asked { header: None, items: 3, key: rss.key.clone(), queues: vec![0] };
    assert_eq!(ASKED.lock().unwrap().0[2..], [all.clone(), all]);
    assert_eq!(ASKED.lock().unwrap().1, [1, 3, 4]);

    drop((rule, narrowing));
    assert!(ASKED.lock().unwrap().1.is_empty());
}
