//! What is gathered, and the file that it is written to.

use super::secrets;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of an entry: of one that has more, its beginning is kept.
pub(super) const LARGEST: usize = 8 << 20;

/// Bytes of all entries.
const ALL: usize = 96 << 20;

/// What is in no archive, whatever is asked.
const LEFT_OUT: &str = "\
Left out on purpose: packets; connections, but for how many there are; neighbours of the host; values that look like
passwords, tokens or keys. In it are addresses of services, reals and interfaces, and what lbd has logged.
";

/// Entries, and what could not be had.
#[derive(Default)]
pub(super) struct Archive {
    entries: Vec<Entry>,
    missing: Vec<(String, String)>,
    size: usize,
}

struct Entry {
    name: String,
    /// What it is: a file, a command.
    source: String,
    bytes: Vec<u8>,
    /// What is to be known of it.
    notes: Vec<String>,
}

impl Archive {
    /// Adds an entry; of text, values that look like secrets are left out.
    pub(super) fn add(&mut self, name: &str, source: &str, bytes: Vec<u8>) {
        self.add_with(name, source, bytes, Vec::new());
    }

    /// Adds an entry with notes.
    pub(super) fn add_with(&mut self, name: &str, source: &str, mut bytes: Vec<u8>, mut notes: Vec<String>) {
        let found = bytes.len();
        if found > LARGEST {
            bytes.truncate(LARGEST);
            notes.push(format!("only its first {LARGEST} bytes"));
        }
        // One byte that is no text, or a character that was cut off, hides nothing.
        let (without, count) = secrets::without(&String::from_utf8_lossy(&bytes));
        if count > 0 {
            notes.push(format!("{count} values left out"));
            bytes = without.into_bytes();
        }
        if self.size + bytes.len() > ALL {
            return self.lack(name, &format!("the archive is full: {found} bytes more"));
        }
        self.size += bytes.len();
        let (name, source) = (name.to_owned(), source.to_owned());
        self.entries.push(Entry { name, source, bytes, notes });
    }

    /// Adds the text of a file, or says why it cannot be read.
    pub(super) fn add_file(&mut self, name: &str, path: &Path) {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| {
            // A device or a pipe might never end.
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("not a regular file"));
            }
            file.take(LARGEST as u64 + 1).read_to_end(&mut bytes)
        });
        match read {
            Ok(_) => self.add(name, &path.display().to_string(), bytes),
            Err(error) => self.lack(name, &format!("{}: {error}", path.display())),
        }
    }

    /// Remembers that something could not be had.
    pub(super) fn lack(&mut self, name: &str, why: &str) {
        self.missing.push((name.to_owned(), why.trim().replace('\n', "; ")));
    }

    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn missing(&self) -> usize {
        self.missing.len()
    }

    /// What is said of it as JSON.
    pub(super) fn summary(&self, path: &Path, size: u64) -> Value {
        let names: Vec<&str> = self.entries.iter().map(|entry| &*entry.name).collect();
        let missing = self.missing.iter().map(|(name, why)| json!({ "name": name, "why": why }));
        let missing: Vec<Value> = missing.collect();
        json!({ "file": path.display().to_string(), "bytes": size, "entries": names, "missing": missing })
    }

    fn manifest(&self, head: &str) -> String {
        let mut text = format!("{head}\n{LEFT_OUT}\nEntries\n");
        for Entry { name, source, bytes, notes } in &self.entries {
            let notes = notes.iter().map(|note| format!("; {note}")).collect::<String>();
            let _ = writeln!(text, "  {name}: {} bytes, {source}{notes}", bytes.len());
        }
        if !self.missing.is_empty() {
            text.push_str("\nMissing\n");
            for (name, why) in &self.missing {
                let _ = writeln!(text, "  {name}: {why}");
            }
        }
        text
    }

    /// Writes all of it, the list of it first, in a folder of this name.
    pub(super) fn write(&self, to: impl Write, folder: &str, head: &str, time: SystemTime) -> io::Result<()> {
        let mut tar = tar::Builder::new(GzEncoder::new(to, Compression::default()));
        let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let manifest = self.manifest(head);
        let entries = self.entries.iter().map(|entry| (&*entry.name, &*entry.bytes));
        let mut seen = BTreeSet::new();
        for (name, bytes) in [("MANIFEST", manifest.as_bytes())].into_iter().chain(entries) {
            debug_assert!(seen.insert(name), "{name} twice");
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(seconds);
            tar.append_data(&mut header, format!("{folder}/{name}"), bytes)?;
        }
        tar.into_inner()?.finish()?.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(archive: &Archive) -> Vec<(String, String)> {
        let mut packed = Vec::new();
        archive.write(&mut packed, "folder", "of a test\n", SystemTime::now()).unwrap();
        let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(&*packed));
        let entry = |entry: io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().mode().unwrap(), 0o600);
            let (name, mut text) = (entry.path().unwrap().display().to_string(), String::new());
            entry.read_to_string(&mut text).unwrap();
            (name, text)
        };
        tar.entries().unwrap().map(entry).collect()
    }

    #[test]
    fn what_is_there_and_what_is_not_is_in_the_manifest() {
        let mut archive = Archive::default();
        archive.add("host/a", "a file", b"text\npassword = \"hidden\"\n".to_vec());
        archive.add("host/b", "a command", vec![b'x'; LARGEST + 1]);
        archive.add("host/e", "a log", b"\xe9t\xe9 password=hidden\n".to_vec());
        archive.add_file("host/c", Path::new("/no/such/file"));
        archive.add_file("host/d", Path::new("/dev/zero"));
        archive.lack("lbd/list", "two\nlines");
        let entries = unpacked(&archive);
        let names: Vec<&str> = entries.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["folder/MANIFEST", "folder/host/a", "folder/host/b", "folder/host/e"]);
        assert_eq!(entries[1].1, "text\npassword = \"(left out)\"\n");
        assert_eq!(entries[2].1.len(), LARGEST);
        assert_eq!(entries[3].1, "\u{fffd}t\u{fffd} password=(left out)\n");
        let manifest = &entries[0].1;
        for line in [
            "  host/a: 29 bytes, a file; 1 values left out",
            "  host/b: 8388608 bytes, a command; only its first 8388608 bytes",
            "  host/c: /no/such/file: No such file or directory (os error 2)",
            "  host/d: /dev/zero: not a regular file",
            "  lbd/list: two; lines",
        ] {
            assert!(manifest.lines().any(|other| other == line), "{line} in {manifest}");
        }
    }

    #[test]
    fn it_has_an_upper_bound() {
        let mut archive = Archive::default();
        for number in 0..20 {
            archive.add(&format!("{number}"), "", vec![0; LARGEST]);
        }
        assert_eq!((archive.entries(), archive.missing()), (12, 8));
    }
}
