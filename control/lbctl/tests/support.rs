//! `support`: what is in the archive, and what becomes of what cannot be had.

#[path = "../../tests/control_lab/mod.rs"]
mod control_lab;

use control_lab::{Lab, config_in};
use flate2::read::GzDecoder;
use lbctl::{Surroundings, run};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;

/// What `lbctl` with these words gives: exit code, stdout, stderr.
fn lbctl(socket: &Path, words: &[&str]) -> (u8, String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let surroundings = Surroundings {
        socket: Some(socket.into()),
        version: "0.1.0 (1234abcde)",
        dpdk: "22.11.11",
        stdin: &mut std::io::empty(),
        stdout: &mut stdout,
        stderr: &mut stderr,
    };
    // The machine may be busy with other things.
    let arguments = ["lbctl", "--timeout", "300"].iter().chain(words).map(Into::into);
    let code = run(arguments, surroundings);
    let [stdout, stderr] = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (code, stdout, stderr)
}

/// The entries of an archive by their names, without the folder that they are all in.
fn entries(archive: &Path) -> BTreeMap<String, String> {
    assert_eq!(fs::metadata(archive).unwrap().permissions().mode() & 0o777, 0o600);
    let mut tar = tar::Archive::new(GzDecoder::new(File::open(archive).unwrap()));
    let mut entries = BTreeMap::new();
    for entry in tar.entries().unwrap() {
        let mut entry = entry.unwrap();
        let (path, mut text) = (entry.path().unwrap().display().to_string(), String::new());
        entry.read_to_string(&mut text).unwrap();
        let (folder, name) = path.split_once('/').unwrap();
        assert!(folder.starts_with("natlb-support-"), "{path}");
        assert!(entries.insert(name.to_owned(), text).is_none(), "{path} twice");
    }
    entries
}

#[test]
fn everything_that_lbd_says_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("lbd.toml");
    fs::write(&config, "args = [\"--vdev=x,password=hunter2\"]\n").unwrap();
    let lab = Lab::start(config_in(folder.path()), 1, 0).unwrap();
    lab.ok(r#""command":"add-service","service":"tcp://192.168.10.100:80""#);
    let file = folder.path().join("an archive.tar.gz");
    fs::write(&file, "an older one").unwrap();
    let words = ["support", "--write", file.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let (code, stdout, stderr) = lbctl(&lab.config.control.socket, &words);
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    assert!(stdout.starts_with(&format!("{}: ", file.display())) && stdout.lines().count() == 1, "{stdout}");
    let entries = entries(&file);
    let status: Value = serde_json::from_str(&entries["lbd/status.json"]).unwrap();
    assert_eq!(status["config_version"], 2);
    assert!(entries["lbd/status"].starts_with("natlb ") && entries["lbd/rate"].contains("192.168.10.100:80"));
    assert!(entries["lbd/list"].contains("TCP  192.168.10.100:80 wrr"), "{}", entries["lbd/list"]);
    assert!(entries["lbd/save"].contains("-A -t 192.168.10.100:80 -s wrr"), "{}", entries["lbd/save"]);
    assert!(entries["lbd/metrics.prom"].contains("# TYPE "), "{}", entries["lbd/metrics.prom"]);
    assert!(entries["lbd/timeouts"].starts_with("Timeout (tcp tcpfin udp): "));
    assert_eq!(entries["lbd/lbd.toml"], "args = [\"--vdev=x,password=(left out)\"]\n");
    assert!(
        entries["host/kernel"].starts_with("Linux version ") && entries["host/meminfo"].contains("HugePages")
    );
    assert!(entries["host/cpuinfo"].contains(" processors; the first one:\nprocessor"));
    let manifest = &entries["MANIFEST"];
    assert!(manifest.starts_with("natlb support archive of 20"), "{manifest}");
    assert!(manifest.contains("lbctl 0.1.0 (1234abcde) (DPDK 22.11.11)"), "{manifest}");
    // The socket is this test's, which is no lbd.
    let process = format!("  lbd/process: process {} is ", std::process::id());
    assert!(manifest.contains(&process), "{manifest}");
    for name in entries.keys().filter(|name| *name != "MANIFEST") {
        assert!(manifest.contains(&format!("\n  {name}: ")), "{name} in {manifest}");
    }
    assert!(!entries.keys().any(|name| name.contains("connections")), "{manifest}");
}

#[test]
fn without_lbd_the_rest_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, file) = (folder.path().join("none.sock"), folder.path().join("archive.tar.gz"));
    let words = ["--output", "json", "support", "--write", file.to_str().unwrap()];
    let (code, stdout, stderr) = lbctl(&socket, &words);
    assert_eq!(code, 3);
    let why = format!("cannot reach lbd at {}: the socket is missing; is lbd running?", socket.display());
    assert_eq!(stderr, format!("lbctl: {why}\n"));
    let said: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(said["file"], file.to_str().unwrap());
    assert_eq!(said["bytes"], fs::metadata(&file).unwrap().len());
    let missing: BTreeMap<&str, &str> = said["missing"]
        .as_array()
        .unwrap()
        .iter()
        .map(|missing| (missing["name"].as_str().unwrap(), missing["why"].as_str().unwrap()))
        .collect();
    for name in ["lbd/status.json", "lbd/list", "lbd/metrics.prom", "lbd/history"] {
        assert_eq!(missing[name], why);
    }
    assert!(missing["dpdk/ports.json"].contains("not known"), "{missing:?}");
    let entries = entries(&file);
    assert!(entries.contains_key("host/kernel") && entries.contains_key("MANIFEST"));
    assert!(!entries.contains_key("lbd/status.json"));
}

#[test]
fn what_cannot_be_written_is_a_failure_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let file = folder.path().join("no/such/folder/archive.tar.gz");
    let (code, stdout, stderr) = lbctl(&socket, &["support", "--write", file.to_str().unwrap()]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with(&format!("lbctl: {}: ", file.display())), "{stderr}");
    let (code, _, stderr) = lbctl(&socket, &["support", "--write", folder.path().to_str().unwrap()]);
    assert_eq!(code, 1, "a folder is no file: {stderr}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn an_archive_takes_the_place_of_files_only() {
    let folder = tempfile::tempdir().unwrap();
    let [socket, pipe, link, file] =
        ["none.sock", "pipe", "link", "archive.tar.gz"].map(|name| folder.path().join(name));
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    symlink(&pipe, &link).unwrap();
    for path in [&pipe, &link] {
        let (code, stdout, stderr) = lbctl(&socket, &["support", "--write", path.to_str().unwrap()]);
        assert_eq!((code, stdout.as_str()), (1, ""));
        assert!(stderr.starts_with(&format!("lbctl: {}: not a regular file", path.display())), "{stderr}");
        assert!(fs::metadata(path).unwrap().file_type().is_fifo());
    }
    // What a link leads to is written, and the link stays.
    fs::write(&file, "before").unwrap();
    fs::remove_file(&link).unwrap();
    symlink(&file, &link).unwrap();
    assert_eq!(lbctl(&socket, &["support", "--write", link.to_str().unwrap()]).0, 3);
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(entries(&file).contains_key("MANIFEST"));
}
