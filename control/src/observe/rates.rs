//! Rates as the kernel's estimator makes them: every 2 s, `average += (rate - average) / 4`.

use crate::api::protocol::Traffic;
use std::time::Duration;

/// How often the averages are renewed.
pub const INTERVAL: Duration = Duration::from_secs(2);

/// The rates of a service or real, a second.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    averages: [f64; 5],
    last: Traffic,
}

impl Rates {
    /// Nothing has passed yet, and counting begins at `total`.
    pub fn from(total: Traffic) -> Self {
        Self { averages: [0.0; 5], last: total }
    }

    /// `elapsed` after the last time the total is `total`.
    pub fn renew(&mut self, total: Traffic, elapsed: Duration) {
        let passed = fields(total).into_iter().zip(fields(self.last));
        for (average, (now, before)) in self.averages.iter_mut().zip(passed) {
            let rate = now.saturating_sub(before) as f64 / elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
            *average += (rate - *average) / 4.0;
        }
        self.last = total;
    }

    /// The averages, rounded to the nearest whole number.
    pub fn a_second(&self) -> Traffic {
        let [conns, in_packets, out_packets, in_bytes, out_bytes] =
            self.averages.map(|average| average.round() as u64);
        Traffic { conns, in_packets, out_packets, in_bytes, out_bytes }
    }
}

fn fields(traffic: Traffic) -> [u64; 5] {
    let Traffic { conns, in_packets, out_packets, in_bytes, out_bytes } = traffic;
    [conns, in_packets, out_packets, in_bytes, out_bytes]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_is_approached_by_quarters() {
        let mut rates = Rates::from(Traffic { conns: 7, ..Traffic::default() });
        let mut total = 7;
        for expected in [25, 44, 58, 68] {
            total += 200;
            rates.renew(Traffic { conns: total, ..Traffic::default() }, INTERVAL);
            assert_eq!(rates.a_second().conns, expected);
        }
        for _ in 0..40 {
            rates.renew(Traffic { conns: total, ..Traffic::default() }, INTERVAL);
        }
        assert_eq!(rates.a_second().conns, 0);
    }
}
