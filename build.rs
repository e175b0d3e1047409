//! Link arguments for DPDK, which those of a dependency do not pass on to a binary, and the versions
//! that `--version` names.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for argument in std::env::var("DEP_DPDK_LINK_ARGS").unwrap_or_default().split_whitespace() {
        println!("cargo::rustc-link-arg={argument}");
    }
    let dpdk = std::env::var("DEP_DPDK_VERSION").unwrap_or_else(|_| "of an unknown release".into());
    println!("cargo::rustc-env=NATLB_DPDK_VERSION=DPDK {dpdk}");

    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let stamp = match commit() {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo::rustc-env=NATLB_VERSION={stamp}");
}

/// The short hash of the commit that is built; `None` outside a git work tree, and without git.
fn commit() -> Option<String> {
    // Not the repository of somebody who unpacked a release in his own.
    if !Path::new(".git").exists() {
        return None;
    }
    // Where these files are, in a linked work tree too. HEAD changes with a checkout, its log with
    // every commit.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file])
            && Path::new(&path).exists()
        {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=9", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
