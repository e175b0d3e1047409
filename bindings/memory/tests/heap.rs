//! What the heap gives back to the system. A program of its own: pages that other tests take would count.
#![allow(missing_docs, reason = "a test")]

use memory::{give_back, map_large_arrays};

/// Resident pages.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_is_freed_goes_back() {
    map_large_arrays();
    let before = resident();
    // Small and large ones in turn, of which some small ones live on, as between two changes.
    let mut living = Vec::new();
    for round in 0..200 {
        let large: Vec<Vec<u8>> = (1..=16).map(|size| vec![1; (size << 17) + round * 1000]).collect();
        living.push(vec![1u8; 3000]);
        drop(large);
    }
    let small: Vec<Vec<u8>> = (0..100_000).map(|_| vec![1; 500]).collect();
    living.push(vec![1u8; 3000]);
    drop(small);
    give_back();
    let grown = resident().saturating_sub(before) * 4;
    assert!(grown < 8 << 10, "{grown} KiB more are resident, with {} living", living.len());
}
