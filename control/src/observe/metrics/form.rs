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

impl Form {
    /// The form that an HTTP client takes that says so (the value of `Accept`). OpenMetrics only where it is named: a
    /// client that takes anything may know nothing newer than 0.0.4. One that is refused (`q=0`) is not named.
    pub fn accepted(accept: &str) -> Self {
        let names = |part: &str| {
            let mut words = part.split(';').map(str::trim);
            let is_refused = |word: &str| {
                let quality = word.strip_prefix("q=").and_then(|quality| quality.parse::<f64>().ok());
                quality.is_some_and(|quality| quality <= 0.0)
            };
            words.next().is_some_and(|name| name.eq_ignore_ascii_case(OPEN_METRICS)) && !words.any(is_refused)
        };
        if accept.split(',').any(names) { Self::OpenMetrics } else { Self::Prometheus }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_name_it() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,*/*;q=0.2";
        for accept in
            [prometheus_3, "text/html, Application/OpenMetrics-Text", "application/openmetrics-text"]
        {
            assert_eq!(Form::accepted(accept), Form::OpenMetrics, "{accept}");
        }
        let none = [
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
