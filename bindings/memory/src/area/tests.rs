use super::*;
use std::ffi::CStr;
use std::fs;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;

/// A file that has no name any more.
fn unnamed() -> File {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = format!("/dev/shm/natlb-area-{}-{number}", std::process::id());
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file
}

/// A file system of our own, mounted nowhere, and a file on it; `None`, which is said, where that is not allowed.
fn file_on(kind: &CStr, options: &[(&CStr, &CStr)]) -> Option<File> {
    let call = |result: libc::c_long| (result >= 0).then_some(result as i32);
    // SAFETY: calls of the kernel's, with strings that live as long as they last and descriptors of our own.
    let file = unsafe {
        let context = call(libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 0));
        context.map(|fd| OwnedFd::from_raw_fd(fd)).and_then(|context| {
            const SET_STRING: i32 = 1;
            const CREATE: i32 = 6;
            let fd = context.as_raw_fd();
            for (name, value) in options {
                let (name, value) = (name.as_ptr(), value.as_ptr());
                call(libc::syscall(libc::SYS_fsconfig, fd, SET_STRING, name, value, 0))?;
            }
            let none = ptr::null::<u8>();
            call(libc::syscall(libc::SYS_fsconfig, fd, CREATE, none, none, 0))?;
            let mount = OwnedFd::from_raw_fd(call(libc::syscall(libc::SYS_fsmount, fd, 0, 0))?);
            let flags = libc::O_RDWR | libc::O_CREAT | libc::O_CLOEXEC;
            call(i64::from(libc::openat(mount.as_raw_fd(), c"file".as_ptr(), flags, 0o600)))
                .map(|fd| File::from_raw_fd(fd))
        })
    };
    if file.is_none() {
        eprintln!("skipped: no {kind:?} of our own can be made here");
    }
    file
}

#[test]
fn what_one_writes_another_reads_and_no_byte_is_in_two_slices() {
    let file = unnamed();
    let area = Area::create(&file, 3 * PAGE + 1, true).unwrap();
    assert_eq!((area.bytes(), area.backing()), (4 * PAGE, Backing::KeptPlain));
    let mut slice = area.slice::<u32>(PAGE, 1000).unwrap();
    assert!(slice.iter().all(|element| *element == 0));
    assert_eq!((slice.memory(), slice.backing()), (4000, Backing::KeptPlain));
    for taken in [PAGE, PAGE - 4, PAGE + 3996] {
        assert!(area.slice::<u32>(taken, 2).is_none());
    }
    assert!(area.slice::<u32>(PAGE + 4000, 1).is_some() && area.slice::<u32>(2, 1).is_none());
    assert!(
        area.slice::<u8>(4 * PAGE - 1, 2).is_none() && area.slice::<u64>(0, usize::MAX / 8 + 1).is_none()
    );
    assert!(area.words(PAGE, 1).is_none() && area.words(4, 1).is_none() && area.words(0, 4097).is_none());
    let words = area.words(0, 2).unwrap();
    assert!(area.words(8, 2).is_some() && area.slice::<u8>(7, 1).is_none());
    slice[3] = 7;
    words[1].store(9, Ordering::Relaxed);
    drop((slice, words, area));

    let area = Area::open(&file).unwrap();
    assert_eq!(area.bytes(), 4 * PAGE);
    assert!(area.slice::<u8>(0, 1).is_none(), "it is another's");
    let words = area.words(0, area.bytes() / 8).unwrap();
    assert_eq!((words[1].load(Ordering::Relaxed), words[PAGE / 8 + 1].load(Ordering::Relaxed)), (9, 7 << 32));
}

#[test]
fn parts_keep_the_area_and_the_last_one_gives_it_back() {
    let file = unnamed();
    let mapped = || fs::read_to_string("/proc/self/maps").unwrap().matches("natlb-area").count();
    for _ in 0..100 {
        let area = Area::create(&file, 5 << 20, false).unwrap();
        let slice = area.slice::<u8>(0, 5 << 20).unwrap();
        assert_eq!(slice.as_ptr().align_offset(HUGE_PAGE), 0);
        drop(area);
        assert!(slice[5 << 19] == 0 && mapped() > 0);
        drop(slice);
        file.set_len(0).unwrap();
    }
    // Those of other tests at most.
    assert!(mapped() < 50);
}

#[test]
fn what_is_not_taken_yet_is_taken_by_populating_it() {
    let file = unnamed();
    let area = Area::create(&file, 64 << 20, false).unwrap();
    assert!(!area.has_memory(0..PAGE) && area.has_memory(0..0) && !area.has_memory(0..(64 << 20) + 1));
    let mut slice = area.slice::<u64>(8 << 20, 1 << 17).unwrap();
    slice.populate().unwrap();
    slice[5] = 5;
    assert!(area.has_memory(8 << 20..9 << 20) && !area.has_memory(8 << 20..(9 << 20) + 1));
    assert!(!area.has_memory((8 << 20) - 1..9 << 20));
    area.words(PAGE, 1).unwrap().populate().unwrap();
    assert!(area.has_memory(PAGE..2 * PAGE) && !area.has_memory(0..PAGE) && !area.has_memory(PAGE..3 * PAGE));
    area.words(0, 0).unwrap().populate().unwrap();
}

#[test]
fn a_full_file_system_is_an_error_and_no_signal() {
    let Some(file) = file_on(c"tmpfs", &[(c"size", c"4m")]) else { return };
    let error = Area::create(&file, 5 << 20, true).unwrap_err().to_string();
    assert!(error.contains("5 MiB") && error.contains("No space"), "{error}");
    file.set_len(0).unwrap();
    let area = Area::create(&file, 5 << 20, false).unwrap();
    let mut slice = area.slice::<u8>(0, 5 << 20).unwrap();
    assert!(slice.populate().is_err());
    assert!(area.slice::<u8>(0, 1).is_none());
}

#[test]
fn other_files_are_refused() {
    let file = unnamed();
    assert!(Area::open(&file).unwrap_err().to_string().contains("empty"));
    Area::create(&file, 1, true).unwrap();
    let error = Area::create(&file, 1, true).unwrap_err().to_string();
    assert!(error.contains("not empty"), "{error}");
    let error = Area::open(&File::open("/proc/self/status").unwrap()).unwrap_err().to_string();
    assert!(error.contains("tmpfs"), "{error}");
    assert!(Area::create(&unnamed(), usize::MAX, true).is_err());
}

#[test]
fn tmpfs_gives_huge_pages_to_those_that_ask() {
    let Some(file) = file_on(c"tmpfs", &[(c"huge", c"advise")]) else { return };
    let area = Area::create(&file, 8 << 20, true).unwrap();
    if area.backing() == Backing::KeptPlain {
        return eprintln!("skipped: no huge page is free");
    }
    assert_eq!(area.backing(), Backing::KeptTransparent);
    assert!(area.has_memory(0..8 << 20));
    assert_eq!(Area::open(&file).unwrap().bytes(), 8 << 20);
}

/// Pages beyond those that are set aside, for as long as this lives.
struct Overcommit(String);

impl Overcommit {
    const PATH: &str = "/proc/sys/vm/nr_overcommit_hugepages";

    fn begin(pages: usize) -> Option<Self> {
        let before = fs::read_to_string(Self::PATH).ok()?;
        let more = before.trim().parse::<usize>().ok()? + pages;
        fs::write(Self::PATH, more.to_string()).ok()?;
        Some(Self(before))
    }
}

impl Drop for Overcommit {
    fn drop(&mut self) {
        let _ = fs::write(Self::PATH, &self.0);
    }
}

#[test]
fn hugetlbfs_gives_huge_pages() {
    let Some(_pages) = Overcommit::begin(4) else {
        return eprintln!("skipped: no huge pages can be set aside here");
    };
    let Some(file) = file_on(c"hugetlbfs", &[]) else { return };
    let area = match Area::create(&file, HUGE_PAGE + 1, true) {
        Ok(area) => area,
        Err(error) => return eprintln!("skipped: {error}"),
    };
    assert_eq!((area.bytes(), area.backing()), (2 * HUGE_PAGE, Backing::KeptHugetlb));
    assert!(area.has_memory(0..2 * HUGE_PAGE));
    area.slice::<u8>(HUGE_PAGE, 1).unwrap()[0] = 3;
    drop(area);
    let words = Area::open(&file).unwrap().words(HUGE_PAGE, 1).unwrap();
    assert_eq!(words[0].load(Ordering::Relaxed), 3);
    file.set_len(0).unwrap();
    let error = Area::create(&file, 1 << 40, true).unwrap_err().to_string();
    assert!(error.contains("1048576 MiB"), "{error}");
}
