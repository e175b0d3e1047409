//! What is handed to `rte_eal_init`.

use super::device::Device;
use super::hugepages::{self, MemoryMode};
use super::{EalOptions, LogLevel};
use crate::error::Error;
use std::path::Path;

impl EalOptions {
    /// Refuses what the EAL would answer with its whole usage, or with files in odd places.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.file_prefix.is_empty() || self.file_prefix.contains(['/', '%', '.']) {
            return Err(Error::Option(self.file_prefix.clone(), "is no file prefix: a word is needed"));
        }
        for core in self.worker_cores.iter().chain([&self.main_core]) {
            if !Path::new(&format!("/sys/devices/system/cpu/cpu{core}")).exists() {
                return Err(Error::Option(format!("core {core}"), "there is no such core; see lscpu"));
            }
        }
        Ok(())
    }

    /// The memory that fits the wish, the machine, and what the extra arguments say themselves.
    pub(super) fn choose_memory(&self) -> Result<MemoryMode, String> {
        if self.has(&["--no-huge"]) {
            return Ok(MemoryMode::Ordinary("--no-huge in the arguments".into()));
        }
        hugepages::choose(self.hugepages, self.memory_mb, !self.has(&["--in-memory", "--huge-dir"]))
    }

    /// Whether this run's huge pages stay in files for the next run of this prefix, which then finds them as they are
    /// instead of waiting until the kernel has zeroed others: 50 ms for 256 MiB.
    pub(super) fn leaves_pages(&self, memory: &MemoryMode) -> bool {
        let is_said = self.has(&["--huge-unlink", "--in-memory", "--legacy-mem"]);
        self.keeps_pages && *memory == MemoryMode::Huge && self.names_prefix() && !is_said
    }

    /// Whether `file_prefix` counts.
    pub(super) fn names_prefix(&self) -> bool {
        !self.has(&["--file-prefix"])
    }

    /// The command line, the program's name first.
    pub(super) fn arguments(&self, memory: &MemoryMode) -> Vec<String> {
        // The threads are numbered by us, so that a worker may share the main thread's core.
        let mut lcores = format!("0@{}", self.main_core);
        for (worker, core) in self.worker_cores.iter().enumerate() {
            lcores += &format!(",{}@{core}", worker + 1);
        }
        let mut arguments = vec![self.program_name.clone(), "--lcores".into(), lcores];
        arguments.push("--main-lcore=0".into());
        arguments.extend(["-m".into(), self.memory_mb.to_string()]);
        if matches!(memory, MemoryMode::Ordinary(_)) && !self.has(&["--no-huge"]) {
            arguments.push("--no-huge".into());
        }
        if self.names_prefix() {
            arguments.push(format!("--file-prefix={}", self.file_prefix));
        }
        if self.leaves_pages(memory) {
            arguments.push("--huge-unlink=never".into());
        }
        if !self.has(&["--log-level"]) {
            arguments.extend(self.log_level.arguments());
        }
        arguments.extend(self.device_arguments());
        arguments.extend(self.extra_arguments.iter().cloned());
        arguments
    }

    /// Only the devices that are named are probed: without a PCI device, none.
    fn device_arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        let mut names_pci = self.has(&["-a", "--allow", "-b", "--block", "--no-pci"]);
        for device in &self.devices {
            match Device::parse(device) {
                Device::Pci { allow, .. } => {
                    names_pci = true;
                    arguments.extend(["-a".into(), allow]);
                }
                Device::Virtual { vdev, .. } => arguments.push(format!("--vdev={vdev}")),
            }
        }
        if !names_pci {
            arguments.push("--no-pci".into());
        }
        arguments
    }

    /// Whether one of `options` is among the extra arguments, with or without `=value`, or with the
    /// value right behind a short one (`-a0000:3b:00.0`).
    fn has(&self, options: &[&str]) -> bool {
        self.extra_arguments.iter().any(|argument| {
            let name = argument.split('=').next().unwrap_or(argument);
            let is_short = |option: &str| option.len() == 2;
            options.iter().any(|option| name == *option || is_short(option) && argument.starts_with(option))
        })
    }
}

impl LogLevel {
    fn arguments(self) -> Vec<String> {
        // A level alone caps all log types; debug also has to be let through by each type.
        let levels: &[&str] = match self {
            // Telemetry warns that a socket is missing which is meant to be.
            Self::Warning => &["warning", "lib.telemetry:error"],
            Self::Notice => &["notice"],
            Self::Info => &["info"],
            Self::Debug => &["debug", "*:debug"],
        };
        levels.iter().map(|level| format!("--log-level={level}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(options: &EalOptions, memory: &MemoryMode) -> String {
        options.arguments(memory).join(" ")
    }

    #[test]
    fn a_worker_may_share_the_main_core() {
        let options = EalOptions {
            main_core: 3,
            worker_cores: vec![3, 5],
            file_prefix: "p".into(),
            devices: vec!["net_null0".into()],
            ..EalOptions::default()
        };
        assert_eq!(
            line(&options, &MemoryMode::Huge),
            "natlb --lcores 0@3,1@3,2@5 --main-lcore=0 -m 256 --file-prefix=p --log-level=warning \
             --log-level=lib.telemetry:error --vdev=net_null0 --no-pci"
        );
    }

    #[test]
    fn pages_are_left_only_where_the_next_run_finds_them() {
        let leaves = |extra: &[&str], memory: &MemoryMode| {
            let extra_arguments = extra.iter().map(|&word| word.to_owned()).collect();
            let options = EalOptions { keeps_pages: true, extra_arguments, ..EalOptions::default() };
            let said = line(&options, memory).matches("--huge-unlink").count();
            assert!(
                said == usize::from(options.leaves_pages(memory))
                    + extra.join(" ").matches("--huge-unlink").count()
            );
            options.leaves_pages(memory)
        };
        assert!(leaves(&[], &MemoryMode::Huge));
        assert!(!leaves(&[], &MemoryMode::Ordinary("test".into())));
        for said in ["--huge-unlink=always", "--in-memory", "--legacy-mem", "--file-prefix=mine"] {
            assert!(!leaves(&[said], &MemoryMode::Huge), "{said}");
        }
        let options = EalOptions::default();
        assert!(!line(&options, &MemoryMode::Huge).contains("--huge-unlink"));
    }

    #[test]
    fn pci_devices_are_allowed_one_by_one() {
        let options = EalOptions {
            devices: vec!["3b:00.0".into(), "net_tap0".into()],
            file_prefix: "p".into(),
            ..EalOptions::default()
        };
        let line = line(&options, &MemoryMode::Ordinary("test".into()));
        assert!(line.contains(" --no-huge ") && line.ends_with(" -a 0000:3b:00.0 --vdev=net_tap0"), "{line}");
    }

    #[test]
    fn what_the_extra_arguments_say_is_not_said_twice() {
        let extra = ["--no-huge", "--file-prefix=mine", "--log-level=*:debug", "-a", "0000:3b:00.0"];
        let options = EalOptions {
            extra_arguments: extra.map(String::from).to_vec(),
            hugepages: crate::Hugepages::Require,
            ..EalOptions::default()
        };
        let memory = options.choose_memory().unwrap();
        assert_eq!(
            line(&options, &memory),
            "natlb --lcores 0@0 --main-lcore=0 -m 256 --no-huge --file-prefix=mine --log-level=*:debug \
             -a 0000:3b:00.0"
        );
    }

    #[test]
    fn a_pci_device_joined_to_its_option_is_seen() {
        let arguments = |extra: &str| {
            let extra_arguments = vec![extra.to_owned()];
            line(&EalOptions { extra_arguments, ..EalOptions::default() }, &MemoryMode::Huge)
        };
        for extra in ["-a0000:3b:00.0", "-b0000:3b:00.0", "--allow=0000:3b:00.0"] {
            assert!(!arguments(extra).contains("--no-pci"), "{extra}");
        }
        assert!(arguments("--any").contains("--no-pci"));
    }
}
