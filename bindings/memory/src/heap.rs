//! How the C library's heap treats large arrays that come and go: glibc's `malloc`, which Rust's allocator stands on.

/// From here on, in bytes, an array has a mapping of its own: glibc's first value (mallopt(3)).
#[cfg(target_env = "gnu")]
const OWN_MAPPING: std::ffi::c_int = 128 << 10;

/// Lets every large array have a mapping of its own, which goes back to the system when the array is freed.
///
/// glibc begins so, but with each such array that is freed it takes larger ones into the heap. There what is small and
/// lives on settles in the gaps between them, so that the next large one finds no gap and the heap grows: by 2 MB with
/// each change of a large configuration, of which a tenth was in use. Once set, the limit stays.
pub fn map_large_arrays() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt sets a number under the heap's own lock; it may be called at any time.
    let set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MAPPING) };
    // It refuses only numbers above 32 MiB.
    #[cfg(target_env = "gnu")]
    debug_assert_eq!(set, 1);
}

/// Gives the heap's free pages back to the system. It walks the whole heap: milliseconds for 100 MB.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim works under the heap's own lock, on memory that is free; it may be called at any time.
    unsafe {
        libc::malloc_trim(0);
    }
}
