//! Durations and ranges of them as one writes them on a command line.

use std::time::Duration;

/// `15s`, `1.5s`, `5ms`, `200us`, `2m`, `1h`, `0`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    scaled(number, unit).ok_or_else(|| format!("{text:?} is not a duration: write it like 500ms, 1.5s or 2m"))
}

/// `A-B` with one unit or two, such as `0-5ms`; or one duration alone.
pub(super) fn range(text: &str) -> Result<(Duration, Duration), String> {
    let wrong = || format!("{text:?} is not a range of durations: write it like 0-5ms");
    let Some((low, high)) = text.split_once('-') else {
        return duration(text).map(|d| (d, d));
    };
    let ((low, low_unit), (high, unit)) = (split(low), split(high));
    let low = scaled(low, if low_unit.is_empty() { unit } else { low_unit }).ok_or_else(wrong)?;
    let high = scaled(high, unit).ok_or_else(wrong)?;
    if low <= high { Ok((low, high)) } else { Err(wrong()) }
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_at(text.find(|c: char| c.is_ascii_alphabetic() || c == 'µ').unwrap_or(text.len()))
}

fn scaled(number: &str, unit: &str) -> Option<Duration> {
    let number: f64 = number.trim().parse().ok().filter(|n: &f64| *n >= 0.0)?;
    let seconds = match unit {
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "" if number == 0.0 => 1.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit_unless_they_are_zero() {
        for (text, ms) in [("15s", 15_000), ("5ms", 5), ("1.5s", 1_500), ("2m", 120_000), ("0", 0), ("0ms", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        assert_eq!(duration("200us"), Ok(Duration::from_micros(200)));
        for text in ["", "5", "-1s", "s", "5 parsecs", "1e400s", "nan"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn ranges_share_a_unit() {
        let ms = Duration::from_millis;
        assert_eq!(range("0-5ms"), Ok((ms(0), ms(5))));
        assert_eq!(range("0-0.5ms"), Ok((ms(0), Duration::from_micros(500))));
        assert_eq!(range("1ms-1s"), Ok((ms(1), ms(1000))));
        assert_eq!(range("3ms"), Ok((ms(3), ms(3))));
        assert!(range("5-1ms").is_err() && range("-").is_err() && range("0-5").is_err());
    }
}
