//! Large numbers for people: three digits and a prefix of SI, as `1.23 M`. JSON and what `ipvsadm` prints have none of
//! this.

use std::time::Duration;

/// Up to here a number is shown as it is.
const EXACT: u64 = 99_999;

/// The prefixes, each a thousand of the one before.
const PREFIXES: [&str; 6] = ["k", "M", "G", "T", "P", "E"];

/// A number of things: `99999`, then `100 k`, `1.00 M`, `12.3 M`, rounded to three digits.
pub fn count(number: u64) -> String {
    match scaled(number, EXACT) {
        (digits, "") => digits,
        (digits, prefix) => format!("{digits} {prefix}"),
    }
}

/// Things a second over so long, as [`count`]; 0 if no time has passed.
pub fn a_second(number: u64, time: Duration) -> String {
    count(per_second(number, time))
}

/// A size: `999 bytes`, `1.00 kB`, `12.3 MB`; a thousand bytes are a kB.
pub fn bytes(number: u64) -> String {
    match scaled(number, 999) {
        (digits, "") => format!("{digits} {}", if number == 1 { "byte" } else { "bytes" }),
        (digits, prefix) => format!("{digits} {prefix}B"),
    }
}

fn per_second(number: u64, time: Duration) -> u64 {
    let seconds = time.as_secs_f64();
    // As much as fits: a float that is too large becomes the largest whole number.
    if seconds > 0.0 { (number as f64 / seconds).round() as u64 } else { 0 }
}

/// Three digits and their prefix; all digits and none for a number up to `exact`.
fn scaled(number: u64, exact: u64) -> (String, &'static str) {
    if number <= exact {
        return (number.to_string(), "");
    }
    let mut thousand = 1_u128;
    for prefix in PREFIXES {
        thousand *= 1000;
        for (decimals, ten) in [(2, 100), (1, 10), (0, 1)] {
            let digits = (u128::from(number) * ten + thousand / 2) / thousand;
            if digits < 1000 {
                let (whole, part) = (digits / ten, digits % ten);
                return match decimals {
                    0 => (whole.to_string(), prefix),
                    _ => (format!("{whole}.{part:0decimals$}"), prefix),
                };
            }
        }
    }
    // No u64 has so many digits.
    (number.to_string(), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_three_digits_at_every_boundary() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (99_999, "99999"),
            (100_000, "100 k"),
            (100_499, "100 k"),
            (100_500, "101 k"),
            (999_499, "999 k"),
            (999_500, "1.00 M"),
            (999_950, "1.00 M"),
            (1_004_999, "1.00 M"),
            (1_005_000, "1.01 M"),
            (9_994_999, "9.99 M"),
            (9_995_000, "10.0 M"),
            (12_345_678, "12.3 M"),
            (99_949_999, "99.9 M"),
            (99_950_000, "100 M"),
            (999_499_999, "999 M"),
            (999_500_000, "1.00 G"),
            (4_200_000_000, "4.20 G"),
            (999_500_000_000, "1.00 T"),
            (999_500_000_000_000, "1.00 P"),
            (999_500_000_000_000_000, "1.00 E"),
            (u64::MAX, "18.4 E"),
        ] {
            assert_eq!(count(number), text, "{number}");
        }
    }

    #[test]
    fn no_number_is_shown_a_two_hundredth_off() {
        for power in 0..64 {
            for number in [1_u64 << power, (1 << power) + 1, (1 << power) - 1, 3 << power.min(62)] {
                let text = count(number);
                let (digits, prefix) = text.split_once(' ').unwrap_or((&text, ""));
                let place = PREFIXES.iter().position(|other| *other == prefix).map_or(0, |place| place + 1);
                let shown = digits.parse::<f64>().unwrap() * 1000_f64.powi(place as i32);
                let off = (shown - number as f64).abs();
                assert!(off <= number as f64 / 200.0, "{number} is shown as {text}");
                assert!(text.len() <= "999.9 k".len(), "{text}");
            }
        }
    }

    #[test]
    fn sizes_say_what_they_are_of() {
        for (number, text) in [
            (0, "0 bytes"),
            (1, "1 byte"),
            (999, "999 bytes"),
            (1000, "1.00 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (4_194_304, "4.19 MB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn rates_are_of_a_second() {
        assert_eq!(a_second(24_600_000, Duration::from_secs(2)), "12.3 M");
        assert_eq!(a_second(3, Duration::from_secs(2)), "2");
        assert_eq!(a_second(5, Duration::ZERO), "0");
        assert_eq!(a_second(u64::MAX, Duration::from_nanos(1)), count(u64::MAX));
    }
}
