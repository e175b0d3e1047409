//! Writes man pages and shell completions into a folder, laid out as below `/usr/share`:
//!
//! ```text
//! package-pages DIR DATE      DATE, as 2026-01-31, stands at the foot of every page
//! ```
//!
//! Options and commands come from the programs' own command lines, everything else from `docs/manual.md`: so neither is
//! written twice.
//!
//! ```text
//! main      which page has what, and where it goes
//! programs  the command lines of the programs
//! page      a page: its head, a command line, sections of the manual
//! markdown  the manual's Markdown as roff
//! ```
#![forbid(unsafe_code)]

mod markdown;
mod page;
mod programs;

#[cfg(test)]
mod tests;

use clap_complete::{Shell, generate};
use page::{Foot, Page};
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// The manual, from which sections are taken.
const MANUAL: &str = include_str!("../../../../docs/manual.md");

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, date] = &words[..] else {
        eprintln!("usage: package-pages DIR DATE");
        return ExitCode::from(2);
    };
    match write(Path::new(folder), date) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("package-pages: {folder}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes everything below `folder`.
///
/// # Errors
/// What the file system says.
fn write(folder: &Path, date: &str) -> io::Result<()> {
    let foot = Foot { date };
    let mut pages = vec![
        Page::of_program(&programs::lbd(), &foot)
            .prose_of("lbd", MANUAL)
            .environment(&[
                ("NOTIFY_SOCKET, WATCHDOG_USEC", "set by systemd: where lbd says that it is ready and that its workers turn"),
                ("RUNTIME_DIRECTORY", "the folder of DPDK's runtime files; without it /var/run, of others than root \
                    $XDG_RUNTIME_DIR or /tmp"),
                ("RUST_BACKTRACE", "1: a panic is logged with what led to it"),
            ])
            .files(&[
                ("/etc/natlb/lbd.toml", "the configuration that the unit names: lbd.toml(5)"),
                ("/run/natlb/lbd.sock", "the control socket"),
                ("/run/natlb/ipvs.sock", "where LVS's own tools are served"),
                ("/var/lib/natlb/state", "services, reals and timeouts, where the configuration names it; beside it \
                    state.history and state.lock"),
                ("/dev/shm/natlb-*, /dev/hugepages/natlb-*", "connections that are kept for the next lbd"),
                ("/usr/lib/natlb/host-setup", "readies a host for NICs: huge pages, vfio-pci"),
                ("/usr/share/natlb/metrics", "alert rules for Prometheus, a dashboard for Grafana"),
            ])
            .see_also("lbd.toml(5), lbctl(8), natlb-lvs(8)"),
        Page::of_program(&programs::lbctl(), &foot)
            .prose_of("Commands", MANUAL)
            .section("Changes that can be taken back", MANUAL)
            .section("Settings of a service", MANUAL)
            .section("Ports of services and reals", MANUAL)
            .section("Exit codes", MANUAL)
            .section("Refusals", MANUAL)
            .section("JSON", MANUAL)
            .environment(&[
                ("LBCTL_SOCKET", "the socket of lbd, where --socket names none"),
                ("NO_COLOR, TERM", "messages of the command line have no colours where the first one is set or the other is dumb"),
            ])
            .files(&[("/run/natlb/lbd.sock", "the socket of lbd, where nothing names another")])
            .see_also("lbd(8), lbd.toml(5), natlb-lvs(8), ipvsadm(8)"),
        Page::of_program(&programs::natlb_lvs(), &foot)
            .section("natlb-lvs", MANUAL)
            .environment(&[
                ("NATLB_IPVS_SOCKET", "the socket, where --socket names none"),
                ("NATLB_IPVS_WAIT", "seconds to wait for it, where --wait names none"),
                ("NATLB_IPVS_LIBRARY", "the library, where it is not found"),
                ("LD_PRELOAD", "libraries in it are loaded besides"),
            ])
            .files(&[
                ("/run/natlb/ipvs.sock", "lbd's socket for tools of LVS"),
                ("/usr/lib/natlb/libnatlb_lvs.so", "what is preloaded into them"),
                ("/usr/share/doc/natlb/examples", "drop-ins for the units of keepalived and ldirectord"),
            ])
            .see_also("lbd(8), lbctl(8), ipvsadm(8), keepalived(8), ldirectord(8)"),
        Page::of_file("lbd.toml", "configuration of lbd, natlb's load balancer", &foot)
            .section("The configuration file", MANUAL)
            .files(&[("/etc/natlb/lbd.toml.example", "an example for two NICs, with every key")])
            .see_also("lbd(8), lbctl(8)"),
    ];
    for command in programs::lbctl().get_subcommands().filter(|command| command.get_name() != "help") {
        pages.push(Page::of_command("lbctl", command, &foot).see_also("lbctl(8)"));
    }
    for page in pages {
        let place = folder.join(format!("man/man{}", page.chapter()));
        fs::create_dir_all(&place)?;
        fs::write(place.join(page.file_name()), page.text())?;
    }
    for mut command in [programs::lbd(), programs::lbctl(), programs::natlb_lvs()] {
        let name = command.get_name().to_owned();
        for (shell, place, file) in [
            (Shell::Bash, "bash-completion/completions", name.clone()),
            (Shell::Zsh, "zsh/vendor-completions", format!("_{name}")),
            (Shell::Fish, "fish/vendor_completions.d", format!("{name}.fish")),
        ] {
            let place = folder.join(place);
            fs::create_dir_all(&place)?;
            generate(shell, &mut command, &name, &mut fs::File::create(place.join(file))?);
        }
    }
    Ok(())
}
