//! Memory for tables that are larger than a cache, the prefetch that hides their latency, and the heap of the rest.
//!
//! ```text
//! huge      a slice in huge pages
//! area      memory in files, which outlives the process
//! bytes     sixteen bytes at once
//! compare   the four words of half a cache line at once
//! parting   parting the elements of an array in two, without branches
//! level     code compiled twice: for every processor, and for those with AVX2
//! fault     a note in a file when a fault ends the process
//! heap      how the C library's heap treats large arrays
//! counting  an allocator that counts, for tests that show that code does not allocate
//! ```

mod area;
mod bytes;
mod compare;
mod counting;
mod fault;
mod heap;
mod huge;
mod level;
mod parting;

pub use area::{Area, Words};
pub use bytes::Bytes16;
pub use compare::{aged, equal_under_mask, equal_upper_halves};
pub use counting::CountingAllocator;
pub use fault::note_faults;
pub use heap::{give_back, map_large_arrays};
pub use huge::{Backing, Error, Huge, HugeSlice};
pub use level::{V3, Work};
pub use parting::part;

/// Bytes of a cache line.
const CACHE_LINE: usize = 64;

/// Stores before this stay before those after it, as the compiler leaves them: a process that is killed has made either
/// none of the later ones or all of the earlier ones. Costs no instruction.
#[inline(always)]
pub fn in_order() {
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
}

/// The addresses that a value takes.
pub fn addresses_of<T: ?Sized>(value: &T) -> std::ops::Range<usize> {
    let start = std::ptr::from_ref(value).addr();
    start..start + size_of_val(value)
}

/// Asks the processor to bring the cache line of `target` close; has no other effect.
#[inline(always)]
pub fn prefetch<T>(target: &T) {
    prefetch_address(target);
}

/// Brings the first cache line of an element close; has no other effect, also outside the slice.
#[inline(always)]
pub fn prefetch_in<T>(slice: &[T], index: usize) {
    prefetch_address(slice.as_ptr().wrapping_add(index));
}

/// Brings all cache lines of some elements close; has no other effect.
pub fn prefetch_all<T>(slice: &[T]) {
    let first = slice.as_ptr().cast::<u8>();
    (0..size_of_val(slice)).step_by(CACHE_LINE).for_each(|at| prefetch_address(first.wrapping_add(at)));
}

#[inline(always)]
fn prefetch_address<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch never faults, wherever it points, and changes nothing that the program can see.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
