//! `natlb-lvs COMMAND…`: runs an unmodified LVS tool against `lbd`, or not at all.
//!
//! The dynamic linker only warns of a library that it cannot preload, and then runs the program without it: against the
//! kernel's IPVS. So everything that would lead there is looked for beforehand.
//!
//! ```text
//! main     options, checks, and then the command in place of this process
//! options  the command line, and what the environment says where it is silent
//! program  the command: where it is, what it is, and whether it would load the library
//! library  libnatlb_lvs.so: where it is, and whether it is that
//! socket   waiting until lbd listens
//! image    what is read of an ELF file
//! refusal  why a command is not run, and the exit code
//! ```
#![forbid(unsafe_code)]

mod image;
mod library;
mod options;
mod program;
mod refusal;
mod socket;

use library::Library;
use options::Options;
use program::Program;
use refusal::Refusal;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let options = Options::read();
    // Comes back only if it has failed.
    let refusal = run(&options);
    eprintln!("natlb-lvs: {refusal}");
    ExitCode::from(refusal.exit_code())
}

/// Runs the command in place of this process; returns why it does not.
fn run(options: &Options) -> Refusal {
    match prepare(options) {
        Ok(mut command) => {
            let error = command.exec();
            Refusal::NotExecuted { program: command.get_program().into(), error }
        }
        Err(refusal) => refusal,
    }
}

fn prepare(options: &Options) -> Result<Command, Refusal> {
    let program = Program::find(&options.command)?;
    let library = Library::find()?;
    program.check(&library)?;
    socket::wait(&options.socket, options.wait)?;
    let mut command = Command::new(&program.path);
    command
        .arg0(&options.command)
        .args(&options.arguments)
        .env("LD_PRELOAD", before_others(&library))
        .env("NATLB_IPVS_SOCKET", &options.socket)
        .env("NATLB_IPVS_WAIT", options.wait.as_secs().to_string());
    Ok(command)
}

/// The library, and behind it what is preloaded already.
fn before_others(library: &Library) -> OsString {
    let mut all = OsString::from(&library.path);
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        all.push(":");
        all.push(others);
    }
    all
}
