//! The environment abstraction layer: started once, it owns the lcores and the memory.
//!
//! ```text
//! mod        starting it, and what it keeps up
//! arguments  what rte_eal_init gets
//! device     how a device is named: PCI addresses and virtual device strings
//! pci        why there is no port for a PCI device, and which program uses it
//! hugepages  which memory it runs on
//! messages   what DPDK says, handed to the log
//! ```

mod arguments;
pub(crate) mod device;
pub(crate) mod hugepages;
pub mod messages;
pub(crate) mod pci;

use crate::error::{Errno, Error};
use hugepages::{Hugepages, MemoryMode};
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// How much the EAL and the drivers write to stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures, and what may become one.
    #[default]
    Warning,
    /// What is worth knowing.
    Notice,
    /// What is done.
    Info,
    /// Everything, libraries and drivers included.
    Debug,
}

/// What the EAL is started with.
#[derive(Clone, Debug)]
pub struct EalOptions {
    /// As the program is named in messages.
    pub program_name: String,
    /// The core that the starting thread is pinned to.
    pub main_core: usize,
    /// The cores of the workers: worker 0 is the first. One may be `main_core`.
    pub worker_cores: Vec<usize>,
    /// Whether huge pages are used.
    pub hugepages: Hugepages,
    /// Memory that DPDK takes, in MiB.
    pub memory_mb: u32,
    /// Tells this program's runtime files from those of others on the machine.
    pub file_prefix: String,
    /// Whether huge pages stay taken at the end, in files, for the next run of this prefix: so its start is shorter.
    pub keeps_pages: bool,
    /// PCI addresses and virtual device strings; see [`device::Device`].
    pub devices: Vec<String>,
    /// Arguments that are handed over unchanged, after the others.
    pub extra_arguments: Vec<String>,
    /// What is logged.
    pub log_level: LogLevel,
}

impl Default for EalOptions {
    fn default() -> Self {
        Self {
            program_name: "natlb".into(),
            main_core: 0,
            worker_cores: Vec::new(),
            hugepages: Hugepages::Auto,
            memory_mb: 256,
            file_prefix: format!("natlb-{}", std::process::id()),
            keeps_pages: false,
            devices: Vec::new(),
            extra_arguments: Vec::new(),
            log_level: LogLevel::Warning,
        }
    }
}

/// DPDK's mempool operations that are for a single producer or a single consumer. A worker gives buffers of others'
/// back, and where it has no queue takes those of another.
const FOR_ONE_THREAD: [&str; 3] = ["ring_sp_sc", "ring_sp_mc", "ring_mp_sc"];

/// The running EAL. Ports, pools and queues keep it up; the last of them to go cleans it up.
#[derive(Debug)]
pub struct Eal {
    pub(crate) runtime: Arc<Runtime>,
    memory: MemoryMode,
    worker_cores: Vec<usize>,
    file_prefix: String,
}

/// What `rte_eal_cleanup` belongs to.
#[derive(Debug, Default)]
pub(crate) struct Runtime {
    /// DPDK's numbers of the ports that were opened.
    claimed: Mutex<Vec<u16>>,
    /// Of the files to remove at the end; `None` if the extra arguments named another.
    file_prefix: Option<String>,
    /// Those with huge pages stay.
    leaves_pages: AtomicBool,
}

impl Runtime {
    /// Takes a port for the caller alone. A closed one does not come back.
    pub(crate) fn claim(&self, port: u16) -> Result<(), &'static str> {
        let mut claimed = self.claimed.lock().expect("nothing panics while it is held");
        if claimed.contains(&port) {
            return Err("the device is named twice");
        }
        claimed.push(port);
        Ok(())
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // SAFETY: a `Runtime` exists only after `rte_eal_init` succeeded, once. All that stands on
        // the EAL holds an `Arc` of it, so nothing of it is in use any more.
        let result = unsafe { dpdk_sys::rte_eal_cleanup() };
        if let Err(errno) = Errno::check(result) {
            log::warn!("DPDK's EAL does not clean up: {errno}");
        }
        if let Some(prefix) = &self.file_prefix {
            if !self.leaves_pages.load(Ordering::Relaxed) {
                hugepages::remove_files(prefix);
            }
            let _ = std::fs::remove_dir_all(runtime_directory().join(prefix));
        }
    }
}

impl Eal {
    /// Starts the EAL and pins the calling thread to the main core. Threads that it starts from then on
    /// inherit that.
    ///
    /// # Errors
    /// In a process that started it before, where the EAL refuses, and with mempool operations that several workers
    /// would break. That a device is there is not
    /// known before [`EthPort::open`](crate::EthPort::open): the EAL goes on without some that fail.
    pub fn start(options: &EalOptions) -> Result<Self, Error> {
        static STARTED: AtomicBool = AtomicBool::new(false);

        options.check()?;
        let memory = options.choose_memory().map_err(Error::NoHugepages)?;
        let arguments = options.arguments(&memory);
        let pointers = leak_arguments(&arguments)?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(Error::EalStartedBefore);
        }
        if options.leaves_pages(&memory) {
            hugepages::remove_others(&options.file_prefix);
        }
        // SAFETY: `pointers` is an array of `arguments.len()` strings ending in 0 and a null pointer, all
        // leaked, so that the EAL may permute the array and keep pointers. The flag above makes this
        // the only call of the process.
        let result = unsafe { dpdk_sys::rte_eal_init(arguments.len() as c_int, pointers) };
        if result < 0 {
            let errno = Errno::last();
            return Err(Error::EalStart { arguments: arguments.join(" "), errno, remedy: remedy(errno) });
        }
        let eal = Self {
            runtime: Arc::new(Runtime {
                claimed: Mutex::default(),
                file_prefix: options.names_prefix().then(|| options.file_prefix.clone()),
                leaves_pages: AtomicBool::new(options.leaves_pages(&memory)),
            }),
            memory,
            worker_cores: options.worker_cores.clone(),
            file_prefix: options.file_prefix.clone(),
        };
        // SAFETY: the EAL is up; the result is a string that ends in 0 and stays as long.
        let operations = unsafe { CStr::from_ptr(dpdk_sys::rte_mbuf_best_mempool_ops()) }.to_string_lossy();
        if options.worker_cores.len() > 1 && FOR_ONE_THREAD.contains(&&*operations) {
            let option = format!("--mbuf-pool-ops-name={operations}");
            return Err(Error::Option(
                option,
                "several workers take from and give back to one pool: leave it out, or name others, as ring_mp_mc",
            ));
        }
        // For dpdk-dumpcap. Where it can't work (memory that is not shared) nobody misses it.
        // SAFETY: the EAL is up; has no other precondition.
        let captures = unsafe { dpdk_sys::rte_pdump_init() } == 0;
        log::debug!("packet capture by dpdk-dumpcap: {}", if captures { "possible" } else { "not possible" });
        Ok(eal)
    }

    /// Gives its huge pages back at the end after all, where they were to [stay](EalOptions::keeps_pages).
    pub fn give_pages_back(&self) {
        self.runtime.leaves_pages.store(false, Ordering::Relaxed);
    }

    /// The memory that it runs on.
    pub fn memory(&self) -> &MemoryMode {
        &self.memory
    }

    /// The cores of the workers, in the order of their numbers.
    pub fn worker_cores(&self) -> &[usize] {
        &self.worker_cores
    }

    /// What its runtime files are named by, as `dpdk-telemetry.py -f` wants it.
    pub fn file_prefix(&self) -> &str {
        &self.file_prefix
    }

    /// The DPDK release that runs, as "DPDK 22.11.11"; known before the start too.
    pub fn version() -> &'static str {
        // SAFETY: returns a constant string that ends in 0, and never goes.
        unsafe { CStr::from_ptr(dpdk_sys::rte_version()) }.to_str().unwrap_or("DPDK")
    }
}

/// Where the EAL keeps the runtime files of all programs.
fn runtime_directory() -> PathBuf {
    let of_user = || std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_else(|| "/tmp".into());
    let base = std::env::var_os("RUNTIME_DIRECTORY")
        .unwrap_or_else(|| if nix::unistd::getuid().is_root() { "/var/run".into() } else { of_user() });
    PathBuf::from(base).join("dpdk")
}

/// The arguments as C wants them: an array that ends in a null pointer. Never freed.
fn leak_arguments(arguments: &[String]) -> Result<*mut *mut c_char, Error> {
    let mut pointers = Vec::with_capacity(arguments.len() + 1);
    for argument in arguments {
        let string = CString::new(argument.as_str())
            .map_err(|_| Error::Option(argument.clone(), "has a zero byte in it"))?;
        pointers.push(string.into_raw());
    }
    pointers.push(std::ptr::null_mut());
    Ok(Box::leak(pointers.into_boxed_slice()).as_mut_ptr())
}

fn remedy(errno: Errno) -> &'static str {
    match errno.0 {
        1 | 13 => "run as root, or give it CAP_NET_RAW, CAP_NET_ADMIN and CAP_IPC_LOCK",
        19 => "a device is not known: is its driver installed (librte-net-*)? its own messages above name it",
        12 => "give it less memory_mb, or free memory; `ulimit -l` may be too low",
        22 => "do the cores exist, and are the arguments right? its own messages above say which is not",
        _ => "its own messages above say why; is another program running with the same file prefix?",
    }
}
