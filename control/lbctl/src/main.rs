//! `lbctl`, the client of `lbd`: hands the process's surroundings to the library of this crate.
#![forbid(unsafe_code)]

use lbctl::{Surroundings, Terminals, run_on};
use std::process::ExitCode;

fn main() -> ExitCode {
    let code = run_on(
        std::env::args_os(),
        Surroundings {
            socket: std::env::var_os("LBCTL_SOCKET"),
            version: env!("NATLB_VERSION"),
            // The build script says "DPDK 22.11.11"; the client adds the name itself.
            dpdk: option_env!("NATLB_DPDK_VERSION")
                .map_or("unknown", |stamp| stamp.trim_start_matches("DPDK ")),
            stdin: &mut std::io::stdin().lock(),
            stdout: &mut std::io::stdout().lock(),
            stderr: &mut std::io::stderr().lock(),
        },
        Terminals::of_process(),
    );
    ExitCode::from(code)
}
