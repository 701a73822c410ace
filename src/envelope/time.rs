//! Go's `time.Time` as its JSON form carries it: RFC 3339, up to nine fraction digits, any zone. Strict where Go is.

use std::fmt;

/// Seconds from year 1 to 1970.
const UNIX_EPOCH: i64 = 62_135_596_800;

/// A moment with its zone. The default is Go's zero time, year 1, which stands for "not set".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct GoTime {
    /// Seconds since the start of year 1, UTC.
    seconds: i64,
    nanos: u32,
    /// Zone: seconds east of UTC.
    offset: i32,
}

impl GoTime {
    /// From ms since 1970, in UTC.
    pub(crate) fn from_unix_ms(ms: i64) -> Self {
        Self { seconds: UNIX_EPOCH + ms.div_euclid(1000), nanos: ms.rem_euclid(1000) as u32 * 1_000_000, offset: 0 }
    }

    /// In ms since 1970; none for the zero time.
    pub(crate) fn unix_ms(self) -> Option<i64> {
        let zero = self.seconds == 0 && self.nanos == 0;
        (!zero).then(|| (self.seconds - UNIX_EPOCH) * 1000 + i64::from(self.nanos / 1_000_000))
    }

    /// Parses what Go's `Time.UnmarshalJSON` takes; lower-case `t` and `z`, commas and leap seconds are refused.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (date, rest) = text.split_at_checked(19)?;
        let [y1, y2, y3, y4, b'-', o1, o2, b'-', d1, d2, b'T', h1, h2, b':', m1, m2, b':', s1, s2] = *date else {
            return None;
        };
        let year = two(y1, y2)? * 100 + two(y3, y4)?;
        let (month, day) = (two(o1, o2)?, two(d1, d2)?);
        let (hour, minute, second) = (two(h1, h2)?, two(m1, m2)?, two(s1, s2)?);
        if !(1..=12).contains(&month)
            || day < 1
            || day > days_in(year, month)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return None;
        }
        let (nanos, zone) = fraction(rest)?;
        let offset = match *zone {
            [b'Z'] => 0,
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                let (hours, minutes) = (two(h1, h2)?, two(m1, m2)?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                let east = (hours * 3600 + minutes * 60) as i32;
                if sign == b'-' { -east } else { east }
            }
            _ => return None,
        };
        let local = days_before(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        Some(Self { seconds: local - i64::from(offset), nanos, offset })
    }
}

/// As Go prints it: trailing zeros of the fraction dropped, `Z` for UTC.
impl fmt::Display for GoTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.seconds + i64::from(self.offset);
        let (year, month, day) = civil(local.div_euclid(86_400));
        let of_day = local.rem_euclid(86_400);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanos > 0 {
            let digits = format!("{:09}", self.nanos);
            write!(f, ".{}", digits.trim_end_matches('0'))?;
        }
        if self.offset == 0 {
            return f.write_str("Z");
        }
        let sign = if self.offset < 0 { '-' } else { '+' };
        let minutes = self.offset.unsigned_abs() / 60;
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

fn two(tens: u8, units: u8) -> Option<i64> {
    (tens.is_ascii_digit() && units.is_ascii_digit()).then(|| i64::from(tens - b'0') * 10 + i64::from(units - b'0'))
}

/// An optional `.digits`; Go reads nine of them and ignores the rest.
fn fraction(rest: &[u8]) -> Option<(u32, &[u8])> {
    let [b'.', digits @ ..] = rest else { return Some((0, rest)) };
    let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let nanos = (0..9).fold(0, |n, i| n * 10 + if i < count { u32::from(digits[i] - b'0') } else { 0 });
    Some((nanos, &digits[count..]))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 0001-01-01 to the given day of the proleptic Gregorian calendar.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let past = year - 1;
    let of_years = past * 365 + past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400);
    of_years + (1..month).map(|m| days_in(year, m)).sum::<i64>() + day - 1
}

/// The inverse of [`days_before`].
fn civil(days: i64) -> (i64, i64, i64) {
    let mut year = days.div_euclid(366) + 1;
    while days_before(year + 1, 1, 1) <= days {
        year += 1;
    }
    let mut left = days - days_before(year, 1, 1);
    let mut month = 1;
    while left >= days_in(year, month) {
        left -= days_in(year, month);
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_writes_reads_back_to_the_same_text() {
        for text in [
            "0001-01-01T00:00:00Z",
            "2026-11-22T16:04:47.262330491Z",
            "2026-11-23T00:04:48.069458806+08:00",
            "2024-02-29T23:59:59.5-03:30",
            "1969-12-31T23:59:59Z",
            "9999-12-31T23:59:59.999999999Z",
        ] {
            assert_eq!(GoTime::parse(text.as_bytes()).expect(text).to_string(), text);
        }
    }

    #[test]
    fn unix_time_and_zones_agree() {
        let utc = GoTime::parse(b"2026-01-01T00:00:00.123Z").unwrap();
        let east = GoTime::parse(b"2026-01-01T08:00:00.123+08:00").unwrap();
        assert_eq!(utc.unix_ms(), Some(1_767_225_600_123));
        assert_eq!(east.unix_ms(), utc.unix_ms());
        assert_eq!(GoTime::from_unix_ms(1_767_225_600_123), utc);
        assert_eq!(GoTime::default().unix_ms(), None);
        assert_eq!(GoTime::from_unix_ms(-1).to_string(), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01t00:00:00Z",
            "2026-01-01T00:00:00z",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00,5Z",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00Z ",
            "2026-01-01T0:00:00Z",
        ] {
            assert_eq!(GoTime::parse(text.as_bytes()), None, "{text}");
        }
    }
}
