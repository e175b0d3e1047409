//! A line of the log as a JSON object.

use log::kv::{self, VisitSource, VisitValue};
use log::{Level, Record};
use serde::Serialize;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::time::SystemTime;

/// What a line says besides its message: its name, and a number where it is one.
pub(super) type Field = (String, Value);

/// A line: time, level, target and message come first, in this order.
#[derive(Debug, Serialize)]
pub(super) struct Line<'a> {
    /// RFC 3339, UTC, with milliseconds.
    time: String,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    level: String,
    /// The room that says it (a module's path), or `dpdk`.
    target: &'a str,
    message: String,
    #[serde(flatten)]
    fields: Map<String, Value>,
}

/// The keys that every line has.
const OWN: [&str; 4] = ["time", "level", "target", "message"];

impl<'a> Line<'a> {
    /// Of this moment.
    pub(super) fn now(level: Level, target: &'a str, message: &str, fields: &[Field]) -> Self {
        let fields = fields.iter().map(|(key, value)| (free_key(key), value.clone())).collect();
        let level = level.as_str().to_ascii_lowercase();
        let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        Self { time, level, target, message: message.to_owned(), fields }
    }

    /// A record, with the values that were named in it.
    pub(super) fn of(record: &Record<'a>) -> Self {
        let mut fields = Fields(Vec::new());
        // It fails if a source does: what came before is there.
        let _ = record.key_values().visit(&mut fields);
        Self::now(record.level(), record.target(), &record.args().to_string(), &fields.0)
    }

    /// With the line's end.
    pub(super) fn text(&self) -> String {
        // Text and numbers always have a JSON form.
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }
}

/// No key stands twice in an object.
fn free_key(key: &str) -> String {
    if OWN.contains(&key) { format!("{key}_") } else { key.to_owned() }
}

struct Fields(Vec<Field>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let mut json = Json(Value::Null);
        value.visit(&mut json)?;
        // What is not known is left out.
        if json.0 != Value::Null {
            self.0.push((key.to_string(), json.0));
        }
        Ok(())
    }
}

/// A value as what it is.
struct Json(Value);

impl VisitValue<'_> for Json {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.0 = value.to_string().into();
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.0 = Value::Null;
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        self.0 = value.into();
        Ok(())
    }
}

/// A line that says what is wrong with the command line, which is read before logging starts.
pub(crate) fn of_usage(text: &str) -> String {
    Line::now(Level::Error, super::TARGET, text.trim_end(), &[]).text()
}

/// Whether arguments that cannot be read ask for JSON.
pub(crate) fn wants_json(arguments: &[OsString]) -> bool {
    let follows = |pair: &[OsString]| pair[0] == "--log-format" && pair[1] == "json";
    arguments.iter().any(|argument| argument == "--log-format=json") || arguments.windows(2).any(follows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::kv::ToValue;

    fn parsed(line: &Line<'_>) -> Value {
        let text = line.text();
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_line_is_an_object_whatever_it_says() {
        let line = Line::now(Level::Warn, "control::daemon", "two\nlines, \"quoted\"\u{1b}[31m", &[]);
        let text = line.text();
        assert!(text.starts_with("{\"time\":\"20"), "{text}");
        let object = parsed(&line);
        assert_eq!(object["message"], "two\nlines, \"quoted\"\u{1b}[31m");
        assert_eq!(
            (object["level"].as_str(), object["target"].as_str()),
            (Some("warn"), Some("control::daemon"))
        );
        let time = object["time"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "{time}");
    }

    #[test]
    fn values_are_fields_of_their_own_kind() {
        let values = [
            ("config_version", kv::Value::from(17_u64)),
            ("below", kv::Value::from(-3_i64)),
            ("share", kv::Value::from(0.25)),
            ("kept", kv::Value::from(true)),
            ("user", kv::Value::from("root")),
            ("time", kv::Value::from("now")),
            ("process", None::<u32>.to_value()),
            ("change", Some(4_u64).to_value()),
        ];
        let record = Record::builder()
            .args(format_args!("version 17"))
            .level(Level::Info)
            .target("lbd")
            .key_values(&values)
            .build();
        let object = parsed(&Line::of(&record));
        assert_eq!(object["config_version"], 17);
        assert_eq!(object["below"], -3);
        assert_eq!(object["share"], 0.25);
        assert_eq!((&object["kept"], &object["change"]), (&true.into(), &4.into()));
        assert!(object.get("process").is_none(), "what is not known: {object}");
        assert_eq!((object["user"].as_str(), object["time_"].as_str()), (Some("root"), Some("now")));
        assert!(object["time"].as_str().unwrap().starts_with("20"));
    }

    #[test]
    fn what_asks_for_json_is_seen_in_arguments_that_cannot_be_read() {
        let asks = |words: &[&str]| wants_json(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(asks(&["lbd", "--log-format", "json", "--nonsense"]));
        assert!(asks(&["lbd", "--log-format=json"]));
        assert!(!asks(&["lbd", "--log-format", "text", "json"]));
        let object: Value = serde_json::from_str(&of_usage("error: no such thing\n\nUsage: lbd\n")).unwrap();
        assert_eq!(object["message"], "error: no such thing\n\nUsage: lbd");
    }
}
