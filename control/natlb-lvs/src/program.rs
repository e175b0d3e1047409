//! The command: where it is, what it is, and whether it would load the library.

use crate::image::{Image, MAGIC};
use crate::library::Library;
use crate::refusal::Refusal;
use rustix::fs::Access;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Interpreters of interpreters that the kernel follows.
const DEEPEST: usize = 4;

/// Programs that clear the environment, or run their command in another one.
const FORGETFUL: [&str; 4] = ["sudo", "doas", "pkexec", "systemd-run"];

const SETUID: u32 = 0o4000;
/// The bit for the group counts with its permission to execute: without, it means another thing.
const SETGID: u32 = 0o2010;

#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
}

impl Program {
    /// As a shell finds it: in `$PATH`, unless it is named with its folder.
    pub(crate) fn find(command: &OsStr) -> Result<Self, Refusal> {
        let not_found = || Refusal::NotFound(command.to_string_lossy().into_owned());
        if command.as_bytes().contains(&b'/') {
            let path = PathBuf::from(command);
            return if path.exists() { Ok(Self { path }) } else { Err(not_found()) };
        }
        let folders = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        let path = std::env::split_paths(&folders)
            .map(|folder| folder.join(command))
            .find(|path| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok());
        path.map(|path| Self { path }).ok_or_else(not_found)
    }

    /// # Errors
    ///
    /// Why it would run without the library, or not at all.
    pub(crate) fn check(&self, library: &Library) -> Result<(), Refusal> {
        self.check_at(library, 0)
    }

    fn check_at(&self, library: &Library, depth: usize) -> Result<(), Refusal> {
        let not_executed = |error| Refusal::NotExecuted { program: self.path.clone(), error };
        rustix::fs::access(&self.path, Access::EXEC_OK).map_err(|error| not_executed(error.into()))?;
        let bytes = fs::read(&self.path).map_err(not_executed)?;
        if let Some(line) = bytes.strip_prefix(b"#!") {
            let line = line.split(|&byte| byte == b'\n').next().unwrap_or(line);
            return self.check_script(line, library, depth);
        }
        if !bytes.starts_with(MAGIC) {
            return Err(not_executed(io::Error::from_raw_os_error(rustix::io::Errno::NOEXEC.raw_os_error())));
        }
        let image = Image::read(&bytes).map_err(|why| self.refused(why))?;
        self.check_image(&image, library)?;
        self.check_privileges()
    }

    fn check_script(&self, line: &[u8], library: &Library, depth: usize) -> Result<(), Refusal> {
        let mut words = line.split(|byte| b" \t".contains(byte)).filter(|word| !word.is_empty());
        let Some(interpreter) = words.next() else {
            return Err(self.refused("its first line names no interpreter"));
        };
        if depth == DEEPEST {
            return Err(self.refused("too many interpreters of interpreters"));
        }
        let interpreter = Self::find(OsStr::from_bytes(interpreter))?;
        interpreter.check_at(library, depth + 1)?;
        // env(1) looks for the interpreter itself.
        let is_option = |word: &&[u8]| word.starts_with(b"-") || word.contains(&b'=');
        match words.find(|word| !is_option(word)) {
            Some(real) if interpreter.path.file_name() == Some(OsStr::new("env")) => {
                Self::find(OsStr::from_bytes(real))?.check_at(library, depth + 1)
            }
            _ => Ok(()),
        }
    }

    fn check_image(&self, image: &Image, library: &Library) -> Result<(), Refusal> {
        let Some(linker) = &image.interpreter else {
            return Err(self.refused("it is a static program, into which no library can be loaded"));
        };
        if image.machine != library.image.machine {
            let path = library.path.display();
            return Err(self.refused(format!("it is built for another processor or word size than {path}")));
        }
        if let Some(own) = own_linker().filter(|own| own.file_name() != linker.file_name()) {
            let (own, linker) = (own.display(), linker.display());
            return Err(
                self.refused(format!("it uses another C library ({linker}) than natlb's library ({own})"))
            );
        }
        let name = self.path.file_name().unwrap_or_default();
        if FORGETFUL.iter().any(|forgetful| name == *forgetful) {
            let name = name.to_string_lossy();
            let why = format!("it hands on no environment; write \"{name} natlb-lvs COMMAND\" instead");
            return Err(self.refused(&why));
        }
        Ok(())
    }

    /// A program that gives its user other rights loads no library from the environment.
    fn check_privileges(&self) -> Result<(), Refusal> {
        let found = fs::metadata(&self.path)
            .map_err(|error| Refusal::NotExecuted { program: self.path.clone(), error })?;
        let user = rustix::process::geteuid().as_raw();
        let group = rustix::process::getegid().as_raw();
        let changes_user = found.mode() & SETUID != 0 && found.uid() != user;
        let changes_group = found.mode() & SETGID == SETGID && found.gid() != group;
        if changes_user || changes_group {
            return Err(self.refused(
                "it is setuid or setgid, so it loads no library from the environment; run it as its owner",
            ));
        }
        if user != 0 && has_capabilities(&self.path) {
            return Err(self.refused(
                "it has file capabilities, so it loads no library from the environment; run it as root",
            ));
        }
        Ok(())
    }

    fn refused(&self, why: impl Into<String>) -> Refusal {
        Refusal::NotPreloadable { program: self.path.clone(), why: why.into() }
    }
}

fn has_capabilities(path: &Path) -> bool {
    // A `struct vfs_ns_cap_data` has 24 bytes.
    rustix::fs::getxattr(path, "security.capability", &mut [0; 64][..]).is_ok()
}

/// The dynamic linker of this program, which was built with the library; `None` if it is static.
fn own_linker() -> Option<PathBuf> {
    Image::read(&fs::read("/proc/self/exe").ok()?).ok()?.interpreter
}
