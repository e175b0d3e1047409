//! What is counted of a service or a real, in a message.

use super::attributes::{nest, put, put_u32};
use crate::api::protocol::Traffic;

// The numbers of the attributes, in either form.
const CONNS: usize = 1;
const IN_PACKETS: usize = 2;
const OUT_PACKETS: usize = 3;
const IN_BYTES: usize = 4;
const OUT_BYTES: usize = 5;
const CONNS_A_SECOND: usize = 6;
const IN_PACKETS_A_SECOND: usize = 7;
const OUT_PACKETS_A_SECOND: usize = 8;
const IN_BYTES_A_SECOND: usize = 9;
const OUT_BYTES_A_SECOND: usize = 10;

/// Appends both forms, as the kernel does. In the older one all but the totals of bytes have 32 bits: as in the kernel,
/// the lower ones.
pub(super) fn put_both(out: &mut Vec<u8>, (older, newer): (usize, usize), totals: Traffic, rates: Traffic) {
    let totals = [
        (CONNS, totals.conns),
        (IN_PACKETS, totals.in_packets),
        (OUT_PACKETS, totals.out_packets),
        (IN_BYTES, totals.in_bytes),
        (OUT_BYTES, totals.out_bytes),
    ];
    let rates = [
        (CONNS_A_SECOND, rates.conns),
        (IN_PACKETS_A_SECOND, rates.in_packets),
        (OUT_PACKETS_A_SECOND, rates.out_packets),
        (IN_BYTES_A_SECOND, rates.in_bytes),
        (OUT_BYTES_A_SECOND, rates.out_bytes),
    ];
    let all = || totals.into_iter().chain(rates);
    nest(out, older, |out| {
        for (number, value) in all() {
            match number {
                IN_BYTES | OUT_BYTES => put(out, number, value.to_ne_bytes()),
                _ => put_u32(out, number, value as u32),
            }
        }
    });
    nest(out, newer, |out| {
        for (number, value) in all() {
            put(out, number, value.to_ne_bytes());
        }
    });
}
