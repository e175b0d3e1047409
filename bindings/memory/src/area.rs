//! Memory that outlives the process: a file on tmpfs or hugetlbfs, mapped whole.
//!
//! Whoever makes the file has it to itself and takes its parts out as slices, no byte in two of them. Whoever opens it
//! later gets words that are read and written atomically, since others may do so too.

use crate::huge::{HUGE_PAGE, PAGE, available_mib, mebibytes};
use crate::{Backing, Error, HugeSlice};
use bytemuck::Pod;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::ops::{Deref, Range};
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

/// A file, mapped whole, to be shared with other processes. It is unmapped when the last part of it is dropped.
///
/// The file must not be made shorter while it is mapped: a process that touches what is no longer there is killed.
pub struct Area {
    file: File,
    start: NonNull<u8>,
    length: usize,
    backing: Backing,
    /// Made by this process. Parts of others' are given out as words alone.
    is_own: bool,
    given: Mutex<Given>,
}

/// What has been given out, in bytes.
#[derive(Default)]
struct Given {
    slices: Vec<Range<usize>>,
    words: Vec<Range<usize>>,
}

// SAFETY: the mapping is no thread's own, and nothing refers to it but the parts that are given out, which hold the
// area.
unsafe impl Send for Area {}
// SAFETY: as above; what is given out is either one part's alone or atomic.
unsafe impl Sync for Area {}

impl Area {
    /// Makes an empty file this large, or larger by less than a page of its file system, and maps it. All of it is
    /// zero. With `allocate` its memory is taken now, in huge pages where the file system gives them to those that ask
    /// (the option `huge=advise` of tmpfs); else page by page as it is first written, where
    /// [`HugeSlice::populate`] is to come before, as a page that is missing then kills the process.
    ///
    /// # Errors
    /// If the file is not empty, or is on another file system than tmpfs and hugetlbfs, or there is not so much memory.
    /// The file is as large by then as it was to become.
    pub fn create(file: &File, bytes: usize, allocate: bool) -> Result<Arc<Self>, Error> {
        let why = |why| Error::File { mib: mebibytes(bytes), why };
        let invalid = |what| why(io::Error::new(io::ErrorKind::InvalidInput, what));
        let (page, backing) = file_system(file).map_err(why)?;
        if file.metadata().map_err(why)?.len() != 0 {
            return Err(invalid("the file is not empty"));
        }
        let length = bytes.max(1).checked_next_multiple_of(page).filter(|length| *length < 1 << 47);
        let length = length.ok_or_else(|| invalid("no file is so large"))?;
        if allocate && backing != Backing::KeptHugetlb {
            enough_memory(length)?;
        }
        file.set_len(length as u64).map_err(why)?;
        let mut area = Self::map(file, length, page, backing, true).map_err(why)?;
        if allocate {
            area.advise();
            area.take(0..length).map_err(why)?;
            if backing == Backing::KeptPlain && area.has_huge_pages() {
                area.backing = Backing::KeptTransparent;
            }
        }
        Ok(Arc::new(area))
    }

    /// Maps all of a file that another process, or another part of this one, has made.
    ///
    /// # Errors
    /// If the file is empty, or is on another file system than tmpfs and hugetlbfs, or can't be mapped.
    pub fn open(file: &File) -> Result<Arc<Self>, Error> {
        let why = |why| Error::File { mib: 0, why };
        let (page, backing) = file_system(file).map_err(why)?;
        let length = usize::try_from(file.metadata().map_err(why)?.len()).unwrap_or(usize::MAX);
        if length == 0 || length >= 1 << 47 {
            return Err(why(io::Error::new(io::ErrorKind::InvalidData, "the file is empty, or has no end")));
        }
        let area = Self::map(file, length, page, backing, false);
        area.map(Arc::new).map_err(|why| Error::File { mib: mebibytes(length), why })
    }

    fn map(file: &File, length: usize, page: usize, backing: Backing, is_own: bool) -> io::Result<Self> {
        let file = file.try_clone()?;
        let boundary = page.max(HUGE_PAGE);
        // A place on a boundary of a huge page: the kernel puts the file on one only where it thinks that this helps.
        let reserved = reserve(length.next_multiple_of(PAGE) + boundary)?;
        let before = reserved.start.as_ptr().align_offset(boundary);
        // SAFETY: `before` is less than `boundary`, so this lies in what is reserved.
        let start = unsafe { reserved.start.as_ptr().add(before) };
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        // SAFETY: the place is reserved, by this function alone, and so nothing is there that this replaces.
        let mapped = unsafe { libc::mmap(start.cast(), length, protection, flags, file.as_raw_fd(), 0) };
        if mapped == libc::MAP_FAILED {
            let why = io::Error::last_os_error();
            // What was reserved may be gone, and another thread's mapping be there by now: it is left alone.
            std::mem::forget(reserved);
            return Err(why);
        }
        reserved.give_back_around(before, length.next_multiple_of(page));
        let start = NonNull::new(mapped.cast()).expect("nothing is mapped at 0");
        Ok(Self { file, start, length, backing, is_own, given: Mutex::default() })
    }

    /// Bytes of the file.
    pub const fn bytes(&self) -> usize {
        self.length
    }

    /// The memory that it is in.
    pub const fn backing(&self) -> Backing {
        self.backing
    }

    /// Whether all of a part has memory: reading it takes none, and can't fail for want of it. False if it ends after
    /// the end of the file.
    pub fn has_memory(&self, part: Range<usize>) -> bool {
        if part.is_empty() || part.end > self.length {
            return part.end <= self.length;
        }
        // On hugetlbfs the mapping has reserved what is missing.
        if self.backing == Backing::KeptHugetlb {
            return true;
        }
        let Ok(start) = libc::off_t::try_from(part.start) else { return false };
        // SAFETY: moves the file's own position, which nobody uses.
        let hole = unsafe { libc::lseek(self.file.as_raw_fd(), start, libc::SEEK_HOLE) };
        usize::try_from(hole).is_ok_and(|hole| hole >= part.end)
    }

    /// A part of it, for its receiver alone from now on. `None` if the area was not made here, or the part is not in
    /// it, is not aligned, or has a byte that has been given out.
    pub fn slice<T: Pod>(self: &Arc<Self>, offset: usize, count: usize) -> Option<HugeSlice<T>> {
        let bytes = count.checked_mul(size_of::<T>())?;
        let part = self.part(offset, bytes, align_of::<T>()).filter(|_| self.is_own)?;
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.slices.iter().chain(&given.words).any(|other| overlap(other, &part)) {
            return None;
        }
        given.slices.push(part);
        // SAFETY: the elements are in the mapping, aligned, and nobody else's: neither in a part given out before, nor
        // in one given out after. Any bytes are a `T`, and the area stays mapped as long as the slice holds it.
        Some(unsafe { HugeSlice::in_area(self.start.add(offset).cast(), count, bytes, Arc::clone(self)) })
    }

    /// Words of it, which others may have too. `None` if they are not in it, are not aligned, or have been given out
    /// as a slice.
    pub fn words(self: &Arc<Self>, offset: usize, count: usize) -> Option<Words> {
        let part = self.part(offset, count.checked_mul(size_of::<u64>())?, align_of::<u64>())?;
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if given.slices.iter().any(|other| overlap(other, &part)) {
            return None;
        }
        given.words.push(part);
        // SAFETY: it lies in the mapping.
        let first = unsafe { self.start.add(offset) }.cast();
        Some(Words { area: Arc::clone(self), first, count })
    }

    fn part(&self, offset: usize, bytes: usize, alignment: usize) -> Option<Range<usize>> {
        let end = offset.checked_add(bytes)?;
        (end <= self.length && offset.is_multiple_of(alignment) && alignment <= PAGE).then_some(offset..end)
    }

    fn advise(&self) {
        // SAFETY: advice for a mapping of our own; it changes none of its bytes, and where it is not taken, nothing.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.length, libc::MADV_HUGEPAGE) };
    }

    /// Takes the memory of a part now, whole pages of it.
    pub(crate) fn take(&self, part: Range<usize>) -> io::Result<()> {
        let first = part.start / PAGE * PAGE;
        let bytes = part.end.min(self.length).saturating_sub(first);
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the range is in our mapping; what is populated keeps its bytes.
        let populated = unsafe {
            let start = self.start.as_ptr().add(first).cast::<c_void>();
            libc::madvise(start, bytes, libc::MADV_POPULATE_WRITE)
        };
        if populated == 0 {
            return Ok(());
        }
        let why = io::Error::last_os_error();
        match why.raw_os_error() {
            // What would have been a SIGBUS: no page is left.
            Some(libc::EFAULT) => return Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            Some(libc::EINVAL) => {}
            _ => return Err(why),
        }
        // Linux before 5.14: the pages are taken by the file, and come into the mapping when they are first touched.
        // SAFETY: a call about a file that we hold open.
        let taken = unsafe { libc::fallocate(self.file.as_raw_fd(), 0, first as i64, bytes as i64) };
        if taken == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    pub(crate) fn take_at(&self, first: *const u8, bytes: usize) -> Result<(), Error> {
        if self.backing != Backing::KeptHugetlb {
            enough_memory(bytes)?;
        }
        let offset = first.addr() - self.start.as_ptr().addr();
        self.take(offset..offset + bytes).map_err(|why| Error::File { mib: mebibytes(bytes), why })
    }

    /// Whether the kernel has put some of it in huge pages.
    fn has_huge_pages(&self) -> bool {
        let Ok(text) = std::fs::read_to_string("/proc/self/smaps") else { return false };
        let beginning = format!("{:x}-", self.start.as_ptr().addr());
        let mut lines = text.lines().skip_while(|line| !line.trim_start_matches('0').starts_with(&beginning));
        let huge = lines.find_map(|line| line.strip_prefix("ShmemPmdMapped:"));
        huge.is_some_and(|size| size.trim() != "0 kB")
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: the range is our mapping, whole pages of it, and nothing refers to it any more: parts hold the area.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

impl std::fmt::Debug for Area {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Area").field("bytes", &self.length).field("backing", &self.backing).finish()
    }
}

/// Words of an area, to be read and written by several at once.
#[derive(Clone)]
pub struct Words {
    area: Arc<Area>,
    first: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the words are atomic, and the area is to be shared.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Takes all of their memory now: a page that is missing when a word is first written is the end of the process.
    ///
    /// # Errors
    /// If there is not so much.
    pub fn populate(&self) -> Result<(), Error> {
        self.area.take_at(self.first.as_ptr().cast(), self.count * size_of::<u64>())
    }
}

impl Deref for Words {
    type Target = [AtomicU64];
    #[inline(always)]
    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: `count` aligned words lie there in the mapping, which the area keeps, and no slice has any of them.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.count) }
    }
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Words").field("count", &self.count).field("area", &self.area).finish()
    }
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

/// The kernel would promise more than it has, and later kill somebody.
fn enough_memory(bytes: usize) -> Result<(), Error> {
    match available_mib() {
        Some(available_mib) if available_mib < mebibytes(bytes) => {
            Err(Error::NotAvailable { mib: mebibytes(bytes), available_mib })
        }
        _ => Ok(()),
    }
}

/// Bytes of a page of the file system that a file is on, and the kind of its memory.
fn file_system(file: &File) -> io::Result<(usize, Backing)> {
    let mut about = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel fills in the structure that it is given, and zeros are one too.
    let about = unsafe {
        if libc::fstatfs(file.as_raw_fd(), about.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        about.assume_init()
    };
    match about.f_type {
        libc::TMPFS_MAGIC => Ok((PAGE, Backing::KeptPlain)),
        libc::HUGETLBFS_MAGIC => Ok((about.f_bsize as usize, Backing::KeptHugetlb)),
        _ => Err(io::Error::new(io::ErrorKind::Unsupported, "the file is neither on tmpfs nor on hugetlbfs")),
    }
}

/// Addresses that nothing else is put at.
struct Reserved {
    start: NonNull<u8>,
    length: usize,
}

fn reserve(length: usize) -> io::Result<Reserved> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: without an address the kernel chooses one where nothing is.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(Reserved { start: NonNull::new(start.cast()).expect("nothing is mapped at 0"), length })
}

impl Reserved {
    /// Gives back all but the `length` bytes from `offset` on, which are another mapping by now.
    fn give_back_around(self, offset: usize, length: usize) {
        let end = offset + length;
        for (first, bytes) in [(0, offset), (end, self.length.saturating_sub(end))] {
            if bytes > 0 {
                // SAFETY: whole pages, in what is reserved and outside of what was mapped in it.
                unsafe { libc::munmap(self.start.as_ptr().add(first).cast(), bytes) };
            }
        }
        std::mem::forget(self);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nothing refers to it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

#[cfg(test)]
mod tests;
