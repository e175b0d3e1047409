//! DPDK's own hash table (`rte_hash`), for benches to compare with.

use crate::eal::{Eal, Runtime};
use crate::error::Errno;
use std::ffi::{CString, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// A key of 16 bytes.
pub type HashKey16 = [u64; 2];

/// An `rte_hash` of 16-byte keys, with DPDK's choice of hash function (CRC32 on x86), for one thread.
/// It gives each key a position, which values of any kind can be kept by.
#[derive(Debug)]
pub struct Hash {
    table: NonNull<dpdk_sys::rte_hash>,
    /// It is made without DPDK's locks.
    _one_thread: PhantomData<*mut ()>,
    _runtime: Arc<Runtime>,
}

impl Hash {
    /// The most keys that can be looked up at once.
    pub const BULK: usize = 64;

    /// An empty table for `entries` keys, in the EAL's memory.
    ///
    /// # Errors
    /// DPDK's, as `ENOMEM` (12) and `EEXIST` (17, the name is taken).
    pub fn new(eal: &Eal, name: &str, entries: u32) -> Result<Self, Errno> {
        let name = CString::new(name).map_err(|_| Errno(22))?;
        // SAFETY: `name` is a string that ends in 0, which is copied; the EAL is up.
        let table =
            unsafe { dpdk_sys::natlb_hash_create(name.as_ptr(), entries, size_of::<HashKey16>() as u32) };
        let table = NonNull::new(table).ok_or_else(Errno::last)?;
        Ok(Self { table, _one_thread: PhantomData, _runtime: Arc::clone(&eal.runtime) })
    }

    /// Adds a key. Returns its position: below `entries` + 1, and the same as long as the key is there.
    ///
    /// # Errors
    /// DPDK's, as `ENOSPC` (28).
    pub fn add(&mut self, key: &HashKey16) -> Result<u32, Errno> {
        // SAFETY: the table is ours alone, and `key` has as many bytes as its keys.
        let position = unsafe { dpdk_sys::rte_hash_add_key(self.table.as_ptr(), ptr::from_ref(key).cast()) };
        Errno::check(position)?;
        Ok(position.unsigned_abs())
    }

    /// Looks up to [`BULK`](Self::BULK) keys up at once: their positions, negative for a key that is not there.
    #[inline(always)]
    pub fn lookup_bulk<const N: usize>(&self, keys: &[HashKey16; N]) -> [i32; N] {
        const { assert!(N > 0 && N <= Self::BULK) };
        let mut pointers = keys.each_ref().map(|key| ptr::from_ref(key).cast::<c_void>());
        let mut positions = [0; N];
        // SAFETY: `pointers` are N keys of the table's length, `positions` has room for N, and N is
        // within DPDK's limit.
        unsafe {
            dpdk_sys::rte_hash_lookup_bulk(
                self.table.as_ptr(),
                pointers.as_mut_ptr(),
                N as u32,
                positions.as_mut_ptr(),
            );
        }
        positions
    }
}

impl Drop for Hash {
    fn drop(&mut self) {
        // SAFETY: made by `new`, freed once, and the EAL is still up.
        unsafe { dpdk_sys::rte_hash_free(self.table.as_ptr()) };
    }
}
