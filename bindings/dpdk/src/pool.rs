//! Pools of frames.

use crate::eal::{Eal, Runtime};
use crate::error::{Errno, Error};
use crate::mbuf::Mbuf;
use dataplane::frame::HEAD;
use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

/// A pool of equal buffers. Clones stand for the same pool.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Owned>);

#[derive(Debug)]
struct Owned {
    pool: NonNull<dpdk_sys::rte_mempool>,
    name: String,
    count: u32,
    data_size: u16,
    runtime: Arc<Runtime>,
}

// SAFETY: DPDK's functions on a pool may be called from any thread: its operations are those for several
// producers and consumers where there are several workers (`Eal::start`), and its caches belong to one lcore each.
unsafe impl Send for Owned {}
// SAFETY: as above.
unsafe impl Sync for Owned {}

impl Pool {
    /// Makes a pool of `count` buffers of `data_size` bytes each, the headroom in front not counted.
    /// Each lcore keeps up to `cache` of them at hand; 0 is allowed. `socket` is a NUMA node, `None`
    /// any. `name` is cut to what DPDK takes, its beginning kept.
    ///
    /// # Errors
    /// On shapes that can't work and names in use, and when DPDK's memory is used up.
    pub fn new(
        eal: &Eal,
        name: &str,
        count: u32,
        cache: u32,
        data_size: u16,
        socket: Option<u32>,
    ) -> Result<Self, Error> {
        let name = fit_name(name);
        let refuse = |why: String| Err(Error::PoolShape(name.clone(), why));
        let Some(room) = data_size.checked_add(dpdk_sys::NATLB_HEADROOM as u16) else {
            return refuse(format!("buffers of {data_size} bytes are too large"));
        };
        // What makes `Frame::head` sound.
        if usize::from(data_size) < HEAD {
            return refuse(format!("buffers of {data_size} bytes are too small, at least {HEAD}"));
        }
        if count == 0 {
            return refuse("it has no buffers".into());
        }
        // DPDK wants the cache, filled by half beyond its size, to fit the pool.
        if cache > dpdk_sys::NATLB_POOL_CACHE_MAX || u64::from(cache) * 3 / 2 > u64::from(count) {
            let most = dpdk_sys::NATLB_POOL_CACHE_MAX.min(count * 2 / 3);
            return refuse(format!("a cache of {cache} is too large, at most {most}"));
        }
        let Ok(c_name) = CString::new(name.as_str()) else {
            return refuse("its name has a zero byte in it".into());
        };
        let socket = socket.map_or(-1, |node| node as i32);
        // SAFETY: the EAL is up, and the name ends in 0; DPDK copies it.
        let pool =
            unsafe { dpdk_sys::rte_pktmbuf_pool_create(c_name.as_ptr(), count, cache, 0, room, socket) };
        match NonNull::new(pool) {
            Some(pool) => {
                let runtime = Arc::clone(&eal.runtime);
                Ok(Self(Arc::new(Owned { pool, name, count, data_size, runtime })))
            }
            // 17 is EEXIST.
            None if Errno::last().0 == 17 => refuse("a pool of this name exists".into()),
            None => Err(Error::Pool { name, count, data_size, errno: Errno::last() }),
        }
    }

    /// A frame of length 0; `None` when all are in use.
    #[inline]
    pub fn allocate(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives as long as `self`.
        let mbuf = unsafe { dpdk_sys::natlb_mbuf_alloc(self.as_ptr()) };
        // SAFETY: a fresh mbuf of a pool of ours, which nobody else holds.
        NonNull::new(mbuf).map(|mbuf| unsafe { Mbuf::from_raw(mbuf) })
    }

    /// Buffers that are in use: in a device's queue, or held by the program. Not exact while others
    /// allocate and free.
    pub fn in_use(&self) -> u32 {
        // SAFETY: the pool lives as long as `self`.
        unsafe { dpdk_sys::rte_mempool_in_use_count(self.as_ptr()) }
    }

    /// Buffers that are not in use, those in the lcores' caches included.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool lives as long as `self`.
        unsafe { dpdk_sys::rte_mempool_avail_count(self.as_ptr()) }
    }

    /// Its name, as DPDK knows it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Buffers in all.
    pub fn count(&self) -> u32 {
        self.0.count
    }

    /// Bytes of a frame that fit a buffer.
    pub fn data_size(&self) -> u16 {
        self.0.data_size
    }

    pub(crate) fn as_ptr(&self) -> *mut dpdk_sys::rte_mempool {
        self.0.pool.as_ptr()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the pool exists until it is freed below.
        let in_use = unsafe { dpdk_sys::rte_mempool_in_use_count(self.pool.as_ptr()) };
        if in_use == 0 {
            // SAFETY: no frame of it is left, no port uses it (ports hold a clone), and this was the
            // last clone.
            unsafe { dpdk_sys::rte_mempool_free(self.pool.as_ptr()) };
        } else {
            // Frames outlive it, so it must stay, and what it stands on too.
            log::warn!("pool {}: {in_use} buffers are still in use, its memory stays taken", self.name);
            std::mem::forget(Arc::clone(&self.runtime));
        }
    }
}

/// Cuts a name to DPDK's limit. A cut name ends in a digest of the whole, so that names that begin
/// alike stay different.
fn fit_name(name: &str) -> String {
    const LONGEST: usize = dpdk_sys::NATLB_POOL_NAME_SIZE as usize - 1;
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    // FNV-1a.
    let digest =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let mut end = LONGEST - 9;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{digest:08x}", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_stay() {
        assert_eq!(fit_name("vip0-worker0"), "vip0-worker0");
    }

    #[test]
    fn long_names_keep_their_beginning_and_stay_different() {
        let names = ["a-port-with-a-very-long-name-0", "a-port-with-a-very-long-name-1"].map(fit_name);
        assert_ne!(names[0], names[1]);
        for name in names {
            assert!(name.len() < dpdk_sys::NATLB_POOL_NAME_SIZE as usize);
            assert!(name.starts_with("a-port-with-a-ve"), "{name}");
        }
        assert!(fit_name(&"ä".repeat(40)).starts_with("ää"));
    }
}
