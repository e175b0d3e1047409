//! The versions that `--version` names, for the build scripts of the programs.

use std::path::Path;
use std::process::Command;

/// Sets `NATLB_DPDK_VERSION` and `NATLB_VERSION` for the crate that is built. `root` is the repository's folder.
pub(crate) fn versions(root: &str) {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={root}/stamp.rs");
    let dpdk = std::env::var("DEP_DPDK_VERSION").unwrap_or_else(|_| "of an unknown release".into());
    println!("cargo::rustc-env=NATLB_DPDK_VERSION=DPDK {dpdk}");
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let stamp = match commit(root) {
        Some(commit) => format!("{version} ({commit})"),
        None => version,
    };
    println!("cargo::rustc-env=NATLB_VERSION={stamp}");
}

/// The short hash of the commit that is built; `None` outside a git work tree, and without git.
fn commit(root: &str) -> Option<String> {
    // Not the repository of somebody who unpacked a release in his own.
    if !Path::new(root).join(".git").exists() {
        return None;
    }
    // Where these files are, in a linked work tree too. HEAD changes with a checkout, its log with every commit.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(root, &["rev-parse", "--git-path", file])
            && let path = Path::new(root).join(path)
            && path.exists()
        {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    git(root, &["rev-parse", "--short=9", "HEAD"])
}

fn git(root: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
