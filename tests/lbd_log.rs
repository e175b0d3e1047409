//! `lbd --log-format json`: whatever happens, each line of stderr is an object.

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use tempfile::TempDir;

/// A configuration on devices that need nothing of the machine.
fn config(folder: &Path, eal: &str) -> String {
    format!(
        "[eal]\nmain_lcore = 0\nworkers = [0]\nhugepages = \"never\"\nmemory_mb = 64\n{eal}\n\
         [buffers]\ncount = 2048\ncache = 0\n\
         [control]\nsocket = {socket:?}\nipvs_socket = \"\"\n\
         [[port]]\nname = \"vip0\"\nside = \"vip\"\naddresses = [\"192.168.10.1/24\"]\n\
         device = \"net_null0,no-rx=1\"\n\
         [[port]]\nname = \"dip0\"\nside = \"dip\"\naddresses = [\"10.0.0.8/24\"]\n\
         device = \"net_null1,no-rx=1\"\n\
         [connections]\ncapacity = 4096\nkeep = \"off\"\n",
        socket = folder.join("lbd.sock"),
    )
}

/// `lbd` with JSON, and what it says on stderr.
fn spawn(folder: &TempDir, text: &str, more: &[&str]) -> Child {
    let file = folder.path().join("lbd.toml");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_lbd"));
    command.args(["--log-format", "json", "--config"]).arg(file).args(more);
    command.env_remove("RUST_LOG").stdout(File::create(folder.path().join("stdout")).unwrap());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

fn object(line: &str) -> Value {
    let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    for key in ["time", "level", "target", "message"] {
        assert!(object[key].is_string(), "{key} of {line}");
    }
    object
}

/// All that it says, and how it ends.
fn ended(mut child: Child) -> (Vec<Value>, ExitStatus) {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    (text.lines().map(object).collect(), child.wait().unwrap())
}

fn messages(objects: &[Value]) -> Vec<&str> {
    objects.iter().map(|object| object["message"].as_str().unwrap()).collect()
}

#[test]
fn a_run_from_its_start_to_its_end_is_objects() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = spawn(&folder, &config(folder.path(), ""), &["--log-level", "debug"]);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut objects = Vec::new();
    for line in lines.by_ref() {
        objects.push(object(&line));
        if objects.last().unwrap()["message"] == "ready" {
            break;
        }
    }
    // What DPDK says at this level is there, and as what it is.
    let of_dpdk: Vec<_> = objects.iter().filter(|object| object["target"] == "dpdk").collect();
    assert!(
        of_dpdk.iter().any(|object| object["message"].as_str().unwrap().starts_with("EAL: ")),
        "{objects:?}"
    );
    assert!(
        objects.iter().any(|object| object["target"].as_str().unwrap().starts_with("lbd")),
        "{objects:?}"
    );
    assert_eq!(objects.last().unwrap()["level"], "info");
    let pid = child.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    objects.extend(lines.map(|line| object(&line)));
    assert!(child.wait().unwrap().success());
    assert_eq!(messages(&objects).last(), Some(&"stopped"));
    assert_eq!(std::fs::read(folder.path().join("stdout")).unwrap(), b"");
}

#[test]
fn what_libraries_write_by_themselves_is_objects_too() {
    let folder = tempfile::tempdir().unwrap();
    let child = spawn(&folder, &config(folder.path(), "args = [\"--no-such-argument\"]"), &[]);
    let (objects, status) = ended(child);
    assert_eq!(status.code(), Some(1));
    // The C library names the argument.
    let named = objects.iter().find(|object| object["target"] == "stderr");
    let named = named.unwrap_or_else(|| panic!("{objects:?}"));
    assert!(named["message"].as_str().unwrap().contains("no-such-argument"), "{named}");
    let last = messages(&objects).pop().unwrap();
    assert!(last.starts_with("lbd: ") && last.contains("EAL"), "{last}");
}

#[test]
fn each_mistake_of_the_configuration_has_its_line_as_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let text = config(folder.path(), "nonsense = 1").replace("cache = 0", "cache = \"much\"");
    let (objects, status) = ended(spawn(&folder, &text, &["--check"]));
    assert_eq!(status.code(), Some(2));
    let line_of = |word: &str| 1 + text.lines().position(|line| line.starts_with(word)).unwrap();
    for word in ["nonsense", "cache"] {
        let found = objects.iter().find(|object| object["line"] == line_of(word)).expect(word);
        assert!(found["file"].as_str().unwrap().ends_with("/lbd.toml"), "{found}");
        assert!(found["message"].as_str().unwrap().contains(word), "{found}");
    }
    assert!(objects.iter().all(|object| object["level"] == "error"), "{objects:?}");
}

#[test]
fn a_mistake_in_the_command_line_is_an_object() {
    let folder = tempfile::tempdir().unwrap();
    let (objects, status) = ended(spawn(&folder, "", &["--no-such-option"]));
    assert_eq!((status.code(), objects.len()), (Some(2), 1));
    assert!(messages(&objects)[0].contains("--no-such-option"), "{objects:?}");
}

#[test]
fn text_stays_text() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_lbd")).args(["--config", "/no/such/file"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("/no/such/file: "));
}
