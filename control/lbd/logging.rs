//! What `lbd` says on stderr: one line each, its level first. systemd and containers add the time.

use log::LevelFilter;
use std::io::{self, Write};

/// Starts logging at this level; `RUST_LOG` can say more finely what is logged.
pub(crate) fn start(level: LevelFilter) {
    env_logger::Builder::new()
        .filter_level(level)
        .parse_default_env()
        .format(|out, record| {
            let level = record.level().as_str().to_ascii_lowercase();
            writeln!(out, "{level}: {}", record.args())
        })
        .init();
}

/// Says that packets are forwarded from now on: a line of its own, that scripts wait for.
pub(crate) fn ready() {
    say("ready");
}

/// Says why `lbd` ends: the last line, or lines.
pub(crate) fn last(why: &str) {
    say(why);
}

/// Whoever read stderr may be gone: that neither ends `lbd` nor changes its exit code.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
