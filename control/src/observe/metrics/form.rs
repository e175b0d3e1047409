//! The forms that a scrape is written in.

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Prometheus,
}

/// How OpenMetrics is called in HTTP, without its parameters.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// How Prometheus' text format is, likewise.
const PLAIN: &str = "text/plain";

impl Form {
    /// The form that an HTTP client takes that says so (the value of `Accept`): of those that it names, the one that it
    /// likes best (`q`), and OpenMetrics where it likes both as much. OpenMetrics only where it is named: a client that
    /// takes anything may know nothing newer than 0.0.4.
    pub fn accepted(accept: &str) -> Self {
        let liked = |name: &str| accept.split(',').filter_map(|part| quality(part, name)).fold(0.0, f64::max);
        let open_metrics = liked(OPEN_METRICS);
        if open_metrics > 0.0 && open_metrics >= liked(PLAIN) { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// What HTTP says of the text: Prometheus fails a scrape whose type it does not know.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }

    /// What stands behind all metrics.
    pub(super) fn tail(self) -> String {
        let mut tail = String::new();
        if self == Self::OpenMetrics {
            // A `String` takes everything.
            let _ = text::encode_eof(&mut tail);
        }
        tail
    }

    /// Appends all that is registered.
    pub(super) fn write(self, registry: &Registry, out: &mut String) {
        // A `String` takes everything, and no collector of ours fails by itself.
        let _ = match self {
            Self::OpenMetrics => text::encode_registry(out, registry),
            Self::Prometheus => prometheus_text::encode(out, registry),
        };
    }
}

/// How much a part of `Accept` likes what is called so, from 0 (not at all) to 1; `None`: it is about something else.
fn quality(part: &str, name: &str) -> Option<f64> {
    let mut words = part.split(';').map(str::trim);
    if !words.next()?.eq_ignore_ascii_case(name) {
        return None;
    }
    let of_word = |word: &str| {
        let (name, value) = word.split_once('=')?;
        if name.eq_ignore_ascii_case("q") { value.parse::<f64>().ok() } else { None }
    };
    Some(words.find_map(of_word).filter(|quality| !quality.is_nan()).unwrap_or(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_name_it_and_like_nothing_better() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.2";
        let both = "application/openmetrics-text;version=1.0.0;q=0.5, text/plain;version=0.0.4;q=0.5";
        for accept in
            [prometheus_3, both, "text/html, Application/OpenMetrics-Text", "application/openmetrics-text"]
        {
            assert_eq!(Form::accepted(accept), Form::OpenMetrics, "{accept}");
        }
        let text_first =
            "text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.4";
        let none = [
            text_first,
            "application/openmetrics-text;Q=0",
            "",
            "*/*",
            "text/plain;version=0.0.4",
            "application/openmetrics-text;q=0",
            "application/openmetrics",
        ];
        for accept in none {
            assert_eq!(Form::accepted(accept), Form::Prometheus, "{accept}");
        }
        assert_eq!(Form::Prometheus.content_type(), "text/plain; version=0.0.4; charset=utf-8");
    }
}
