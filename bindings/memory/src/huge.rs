//! A slice in huge pages.

use crate::Area;
use bytemuck::Zeroable;
use std::ffi::c_void;
use std::fmt;
use std::fs;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// Size of a huge page, and the alignment of slices that are at least as large.
pub(crate) const HUGE_PAGE: usize = 2 << 20;
pub(crate) const PAGE: usize = 4096;

/// Whether huge pages that the system has set aside (`vm.nr_hugepages`) are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Huge {
    /// If enough are free; ordinary memory in transparent huge pages otherwise.
    #[default]
    Auto,
    /// Or nothing.
    Require,
    /// Ordinary memory, in transparent huge pages where the system has them.
    Never,
}

/// The memory that a slice got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// Huge pages that were set aside.
    Hugetlb,
    /// Ordinary memory that the kernel was asked to put in huge pages.
    Transparent,
    /// Ordinary pages of 4 KiB.
    Plain,
    /// As `Hugetlb`, in a file, which outlives the process.
    KeptHugetlb,
    /// As `Transparent`, likewise.
    KeptTransparent,
    /// As `Plain`, likewise.
    KeptPlain,
}

impl fmt::Display for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hugetlb => "huge pages",
            Self::Transparent => "transparent huge pages",
            Self::Plain => "pages of 4 KiB",
            Self::KeptHugetlb => "huge pages, kept in files",
            Self::KeptTransparent => "transparent huge pages, kept in files",
            Self::KeptPlain => "pages of 4 KiB, kept in files",
        })
    }
}

/// Why there is no memory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More than a process can address.
    #[error("{count} elements of {size} bytes are more than memory can hold")]
    TooLarge {
        /// Elements asked for.
        count: usize,
        /// Bytes of one.
        size: usize,
    },
    /// Huge pages were required and are not free.
    #[error(
        "no {mib} MiB of huge pages: {why}; remedy: sysctl vm.nr_hugepages, at least {pages} more free ones of 2 MiB"
    )]
    NoHugePages {
        /// What was asked for, in MiB.
        mib: usize,
        /// That number in pages of 2 MiB.
        pages: usize,
        /// The system's reason.
        why: io::Error,
    },
    /// The system has less memory.
    #[error("no {mib} MiB of memory: {why}")]
    NoMemory {
        /// What was asked for, in MiB.
        mib: usize,
        /// The system's reason.
        why: io::Error,
    },
    /// A file can't be the memory, or has not so much.
    #[error("no {mib} MiB of memory in a file: {why}")]
    File {
        /// What was asked for, in MiB.
        mib: usize,
        /// The reason, the system's or ours.
        why: io::Error,
    },
    /// Less memory is available than would be taken.
    #[error("{mib} MiB of memory are to be taken, {available_mib} MiB are available")]
    NotAvailable {
        /// What was asked for, in MiB.
        mib: usize,
        /// What the system says it could give, in MiB.
        available_mib: usize,
    },
}

/// A slice of elements, zeroed at first, in memory of its own: at least 64-byte aligned, and on a
/// boundary of 2 MiB if it is that large. Or [a part of an area](Area::slice).
pub struct HugeSlice<T> {
    first: NonNull<T>,
    length: usize,
    memory: Memory,
    backing: Backing,
    _owns: PhantomData<T>,
}

/// What keeps a slice's memory mapped.
enum Memory {
    /// It is unmapped with the slice; length 0: nothing is mapped.
    Own(Mapping),
    /// So many bytes of an area.
    Part(Arc<Area>, usize),
}

// SAFETY: a `HugeSlice` owns its elements as a `Vec` does.
unsafe impl<T: Send> Send for HugeSlice<T> {}
// SAFETY: as above; `&HugeSlice` gives `&T` only.
unsafe impl<T: Sync> Sync for HugeSlice<T> {}

impl<T: Zeroable> HugeSlice<T> {
    /// Maps `count` zeroed elements. Ordinary memory is taken page by page as it is first written;
    /// [`populate`](Self::populate) takes it at once.
    ///
    /// # Errors
    /// If the system has not so much, or huge pages are required and not free.
    pub fn zeroed(count: usize, huge: Huge) -> Result<Self, Error> {
        const {
            // Nothing drops the elements, and a page is aligned for them.
            assert!(!std::mem::needs_drop::<T>() && align_of::<T>() <= PAGE);
        }
        let too_large = || Error::TooLarge { count, size: size_of::<T>() };
        let bytes = count.checked_mul(size_of::<T>()).ok_or_else(too_large)?;
        if bytes == 0 {
            return Ok(Self {
                first: NonNull::dangling(),
                length: count,
                memory: Memory::Own(Mapping::EMPTY),
                backing: Backing::Plain,
                _owns: PhantomData,
            });
        }
        if bytes > isize::MAX as usize - 2 * HUGE_PAGE {
            return Err(too_large());
        }
        let (mapping, backing) = Mapping::new(bytes, huge)?;
        let first = mapping.start.cast();
        Ok(Self { first, length: count, memory: Memory::Own(mapping), backing, _owns: PhantomData })
    }
}

impl<T> HugeSlice<T> {
    /// A part of an area, `bytes` in all.
    ///
    /// # Safety
    /// From `first` on, `count` valid elements are in the area's mapping, which nobody else has.
    pub(crate) unsafe fn in_area(first: NonNull<T>, count: usize, bytes: usize, area: Arc<Area>) -> Self {
        let backing = area.backing();
        Self { first, length: count, memory: Memory::Part(area, bytes), backing, _owns: PhantomData }
    }

    /// The memory that it got.
    pub fn backing(&self) -> Backing {
        self.backing
    }

    /// Bytes of memory that it takes when all of it is used.
    pub fn memory(&self) -> usize {
        match &self.memory {
            Memory::Own(mapping) => mapping.length,
            Memory::Part(_, bytes) => *bytes,
        }
    }

    /// Takes all the memory now, so that nothing waits for a page later, and nothing is missing then.
    ///
    /// # Errors
    /// If less is available. A slice whose memory can't be taken stays usable.
    pub fn populate(&mut self) -> Result<(), Error> {
        let mapping = match &mut self.memory {
            Memory::Own(mapping) => mapping,
            Memory::Part(area, bytes) => return area.take_at(self.first.as_ptr().cast(), *bytes),
        };
        let mib = mebibytes(mapping.length);
        // The kernel would promise more than it has, and later kill somebody.
        if self.backing != Backing::Hugetlb
            && let Some(available_mib) = available_mib()
            && available_mib < mib
        {
            return Err(Error::NotAvailable { mib, available_mib });
        }
        mapping.populate().map_err(|why| Error::NoMemory { mib, why })
    }
}

impl<T> HugeSlice<T> {
    /// Brings the first cache line of an element close; has no other effect, also outside the slice.
    #[inline(always)]
    pub fn prefetch(&self, index: usize) {
        crate::prefetch_in(self, index);
    }
}

impl<T> Deref for HugeSlice<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        // SAFETY: `length` elements were mapped, all zero, which is a valid `T` (`Zeroable`); they are
        // ours until `drop`. Without elements, or with empty ones, any aligned pointer will do.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.length) }
    }
}

impl<T> DerefMut for HugeSlice<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; `&mut self` makes us the only one.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.length) }
    }
}

impl<T> fmt::Debug for HugeSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HugeSlice").field("length", &self.length).field("backing", &self.backing).finish()
    }
}

/// Pages of our own; unmapped when dropped.
struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    const EMPTY: Self = Self { start: NonNull::dangling(), length: 0 };

    fn new(bytes: usize, huge: Huge) -> Result<(Self, Backing), Error> {
        let whole = bytes.next_multiple_of(HUGE_PAGE);
        if huge == Huge::Require || (huge == Huge::Auto && bytes >= HUGE_PAGE) {
            // The pages are reserved with the mapping: touching them can't fail later.
            match map(whole, libc::MAP_HUGETLB | libc::MAP_HUGE_2MB) {
                Ok(start) => return Ok((Self { start, length: whole }, Backing::Hugetlb)),
                Err(why) if huge == Huge::Require => {
                    return Err(Error::NoHugePages { mib: mebibytes(whole), pages: whole / HUGE_PAGE, why });
                }
                Err(_) => {}
            }
        }
        let no_memory = |why| Error::NoMemory { mib: mebibytes(bytes), why };
        if bytes < HUGE_PAGE {
            let length = bytes.next_multiple_of(PAGE);
            return Ok((Self { start: map(length, 0).map_err(no_memory)?, length }, Backing::Plain));
        }
        let mapping = Self::aligned(whole).map_err(no_memory)?;
        // SAFETY: the range is a mapping of our own; the advice changes none of its bytes.
        let advised =
            unsafe { libc::madvise(mapping.start.as_ptr().cast(), mapping.length, libc::MADV_HUGEPAGE) } == 0;
        let backing = if advised && transparent_possible() { Backing::Transparent } else { Backing::Plain };
        Ok((mapping, backing))
    }

    /// A mapping on a boundary of a huge page: more is mapped, and the edges are given back.
    fn aligned(length: usize) -> io::Result<Self> {
        let all = Self { start: map(length + HUGE_PAGE, 0)?, length: length + HUGE_PAGE };
        let before = all.start.as_ptr().align_offset(HUGE_PAGE);
        let after = HUGE_PAGE - before;
        // SAFETY: `before` is less than a huge page (an offset in bytes always exists), so the result
        // lies in the mapping.
        let start = unsafe { all.start.add(before) };
        // SAFETY: the edge lies `length` bytes behind `start`, in the mapping.
        drop(Self { start: unsafe { start.add(length) }, length: after });
        drop(Self { start: all.start, length: before });
        std::mem::forget(all);
        Ok(Self { start, length })
    }

    fn populate(&mut self) -> io::Result<()> {
        if self.length == 0 {
            return Ok(());
        }
        let start = self.start.as_ptr();
        // SAFETY: the range is a mapping of our own; what is populated keeps its bytes.
        if unsafe { libc::madvise(start.cast(), self.length, libc::MADV_POPULATE_WRITE) } == 0 {
            return Ok(());
        }
        let why = io::Error::last_os_error();
        if why.raw_os_error() != Some(libc::EINVAL) {
            return Err(why);
        }
        // Linux before 5.14: a write to each page.
        for offset in (0..self.length).step_by(PAGE) {
            // SAFETY: the byte lies in the mapping, is written as it was read, and `&mut self` keeps
            // others away.
            unsafe {
                let byte = start.add(offset);
                byte.write_volatile(byte.read_volatile());
            }
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: the range is mapped, page-aligned and ours, and nothing refers to it any more.
            unsafe { libc::munmap(self.start.as_ptr().cast::<c_void>(), self.length) };
        }
    }
}

/// Maps zeroed memory.
fn map(length: usize, flags: i32) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
    // SAFETY: without an address the kernel chooses one where nothing is.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(start.cast()).expect("nothing is mapped at 0"))
}

/// Whether the kernel gives transparent huge pages to those that ask.
fn transparent_possible() -> bool {
    fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|modes| !modes.contains("[never]"))
}

/// Memory in MiB that is available without pushing anything out; `None` if the kernel does not say.
pub(crate) fn available_mib() -> Option<usize> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<usize>().ok()? / 1024)
}

pub(crate) fn mebibytes(bytes: usize) -> usize {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_zero_and_keep_what_is_written() {
        let mut slice = HugeSlice::<u64>::zeroed(1 << 20, Huge::Never).unwrap();
        assert_eq!(slice.len(), 1 << 20);
        assert!(slice.iter().all(|&element| element == 0));
        for (index, element) in slice.iter_mut().enumerate() {
            *element = index as u64;
        }
        assert_eq!(slice[(1 << 20) - 1], (1 << 20) - 1);
        assert_ne!(slice.backing(), Backing::Hugetlb);
    }

    #[test]
    fn large_slices_lie_on_huge_page_boundaries() {
        for count in [HUGE_PAGE, HUGE_PAGE + 1, 5 * HUGE_PAGE - 1] {
            for huge in [Huge::Auto, Huge::Never] {
                let slice = HugeSlice::<u8>::zeroed(count, huge).unwrap();
                assert_eq!(slice.as_ptr().align_offset(HUGE_PAGE), 0);
                assert_eq!(slice.memory(), count.next_multiple_of(HUGE_PAGE));
                assert_eq!(slice[count - 1], 0);
            }
        }
    }

    #[test]
    fn small_and_empty_slices_are_plain() {
        let small = HugeSlice::<u32>::zeroed(3, Huge::Auto).unwrap();
        assert_eq!((small.backing(), &small[..], small.memory()), (Backing::Plain, &[0; 3][..], PAGE));
        assert_eq!(small.as_ptr().align_offset(64), 0);
        let mut empty = HugeSlice::<u32>::zeroed(0, Huge::Require).unwrap();
        assert!(empty.is_empty());
        empty.populate().unwrap();
        assert_eq!(HugeSlice::<()>::zeroed(7, Huge::Auto).unwrap().len(), 7);
    }

    #[test]
    fn mapping_and_dropping_gives_all_of_it_back() {
        // A thousand times 64 MiB: fails if a mapping or an edge of one stayed.
        let mappings = || fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        let before = mappings();
        for _ in 0..1000 {
            let mut slice = HugeSlice::<u8>::zeroed(64 << 20, Huge::Never).unwrap();
            slice[0] = 1;
        }
        assert!(mappings() < before + 100);
    }

    #[test]
    fn populated_memory_is_resident_and_unchanged() {
        let mut slice = HugeSlice::<u8>::zeroed(8 << 20, Huge::Auto).unwrap();
        slice[12345] = 7;
        slice.populate().unwrap();
        assert_eq!(slice[12345], 7);
        if slice.backing() != Backing::Hugetlb {
            let pages = slice.memory() / PAGE;
            let mut resident = vec![0u8; pages];
            // SAFETY: the range is the slice's mapping, and there is a byte for each of its pages.
            let result = unsafe {
                libc::mincore(slice.as_ptr() as *mut c_void, slice.memory(), resident.as_mut_ptr())
            };
            assert_eq!(result, 0);
            assert!(resident.iter().all(|page| page & 1 == 1));
        }
    }

    #[test]
    fn refusals_name_what_was_asked() {
        let error = HugeSlice::<u64>::zeroed(usize::MAX, Huge::Auto).unwrap_err().to_string();
        assert!(error.contains("18446744073709551615 elements of 8 bytes"), "{error}");
        let error = HugeSlice::<u8>::zeroed(1 << 46, Huge::Require).unwrap_err().to_string();
        assert!(error.contains("67108864 MiB") && error.contains("vm.nr_hugepages"), "{error}");
        // A terabyte may be promised by a generous kernel, but can't be taken.
        if let Ok(mut slice) = HugeSlice::<u8>::zeroed(1 << 40, Huge::Never) {
            let error = slice.populate().unwrap_err().to_string();
            assert!(error.contains("1048576 MiB"), "{error}");
        }
    }
}
