//! A family of metrics, and some of its samples as text.

use super::form::Form;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use std::borrow::Cow;
use std::fmt;

/// What a family's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// They only grow. Their name ends in `_total`, which the library adds.
    Counter,
    /// They go up and down.
    Gauge,
    /// There is none: its labels say everything. Its name ends in `_info`, which the library adds.
    Info,
}

/// What a family's numbers are measured in, which its name ends with; the library adds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// They are counts.
    Count,
    Bytes,
    Seconds,
}

/// What is said once of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Family {
    /// Without what the library adds.
    pub(super) name: Cow<'static, str>,
    pub(super) kind: Kind,
    pub(super) measure: Measure,
    pub(super) help: Cow<'static, str>,
}

/// Names and values, in the order in which they are written.
pub(super) type Labels = Vec<(&'static str, String)>;

/// A number of a family.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) labels: Labels,
    pub(super) value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Whole(u64),
    Fraction(f64),
}

/// Samples of a family, all or some of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece {
    pub(super) family: Family,
    pub(super) samples: Vec<Sample>,
}

impl Family {
    /// Whole numbers that are no bytes or seconds.
    pub(super) const fn of(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self { name: Cow::Borrowed(name), kind, measure: Measure::Count, help: Cow::Borrowed(help) }
    }

    /// Likewise, in bytes or seconds.
    pub(super) fn in_(self, measure: Measure) -> Self {
        Self { measure, ..self }
    }
}

impl Sample {
    pub(super) fn new(labels: Labels, value: impl Into<Value>) -> Self {
        Self { labels, value: value.into() }
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Fraction(value)
    }
}

impl Piece {
    pub(super) fn new(family: Family, samples: Vec<Sample>) -> Self {
        Self { family, samples }
    }

    /// Of a family with one sample that needs no label.
    pub(super) fn plain(family: Family, value: impl Into<Value>) -> Self {
        Self::new(family, vec![Sample::new(Vec::new(), value)])
    }

    /// Appends them as text. `continues`: the last that was written is of the family as well, so that nothing is said
    /// of it again.
    pub(super) fn write(self, form: Form, continues: bool, out: &mut String) {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let begin = out.len();
        form.write(&registry, out);
        if continues {
            let head = out[begin..].split_inclusive('\n').take_while(|line| line.starts_with('#'));
            let length = head.map(str::len).sum::<usize>();
            out.drain(begin..begin + length);
        }
    }
}

impl Collector for Piece {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Family { name, kind, measure, help } = &self.family;
        let unit = match measure {
            Measure::Count => None,
            Measure::Bytes => Some(Unit::Bytes),
            Measure::Seconds => Some(Unit::Seconds),
        };
        let of = match kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Info => MetricType::Info,
        };
        let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), of)?;
        for Sample { labels, value } in &self.samples {
            match (kind, *value) {
                (Kind::Info, _) => metric.encode_info(labels)?,
                (Kind::Counter, Value::Whole(value)) => {
                    ConstCounter::new(value).encode(metric.encode_family(labels)?)?;
                }
                (Kind::Counter, Value::Fraction(value)) => {
                    ConstCounter::new(value).encode(metric.encode_family(labels)?)?;
                }
                (Kind::Gauge, Value::Whole(value)) => {
                    ConstGauge::new(value).encode(metric.encode_family(labels)?)?;
                }
                (Kind::Gauge, Value::Fraction(value)) => {
                    ConstGauge::new(value).encode(metric.encode_family(labels)?)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(value: impl Into<Value>) -> Sample {
        Sample::new(vec![("port", "a\"b\\c\nd".into())], value)
    }

    #[test]
    fn a_family_in_several_pieces_is_described_once() {
        let family = Family::of(Kind::Counter, "natlb_x", "Bytes seen.").in_(Measure::Bytes);
        let mut text = String::new();
        for continues in [false, true] {
            Piece::new(family.clone(), vec![labelled(7_u64)]).write(Form::OpenMetrics, continues, &mut text);
        }
        let sample = "natlb_x_bytes_total{port=\"a\\\"b\\\\c\\nd\"} 7\n";
        let head =
            "# HELP natlb_x_bytes Bytes seen.\n# TYPE natlb_x_bytes counter\n# UNIT natlb_x_bytes bytes\n";
        assert_eq!(text, [head, sample, sample].concat());
        text.clear();
        for continues in [false, true] {
            Piece::new(family.clone(), vec![labelled(7_u64)]).write(Form::Prometheus, continues, &mut text);
        }
        let head = "# HELP natlb_x_bytes_total Bytes seen.\n# TYPE natlb_x_bytes_total counter\n";
        assert_eq!(text, [head, sample, sample].concat());
    }

    #[test]
    fn each_kind_has_its_form() {
        let mut text = String::new();
        Piece::plain(Family::of(Kind::Gauge, "natlb_up", "Is up."), 1_u64).write(
            Form::Prometheus,
            false,
            &mut text,
        );
        let start = Family::of(Kind::Gauge, "natlb_start_time", "When.").in_(Measure::Seconds);
        Piece::plain(start, 1.5).write(Form::Prometheus, false, &mut text);
        let info = Family::of(Kind::Info, "natlb_build", "What.");
        let sample = Sample::new(vec![("version", "1".into())], 1_u64);
        Piece::new(info, vec![sample]).write(Form::Prometheus, false, &mut text);
        let expected = "\
# HELP natlb_up Is up.
# TYPE natlb_up gauge
natlb_up 1
# HELP natlb_start_time_seconds When.
# TYPE natlb_start_time_seconds gauge
natlb_start_time_seconds 1.5
# HELP natlb_build_info What.
# TYPE natlb_build_info gauge
natlb_build_info{version=\"1\"} 1
";
        assert_eq!(text, expected);
    }
}
