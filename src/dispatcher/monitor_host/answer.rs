//! What a monitor's answer means. The Go library takes the first run of digits in the body, whatever they are part of;
//! here a number is read where one is meant, and nothing is guessed.

use hyper::StatusCode;
use hyper::header::LOCATION;
use serde_json::Value;

use super::address::Address;
use super::get::Answer;
use crate::error::{Error, ErrorKind, Result};

/// Fields of an object that name its lag, the first of them that is there.
const NAMES: [&str; 8] = ["lag", "Lag", "total_lag", "totalLag", "lag_count", "lagCount", "LagCount", "count"];
/// Of a body, in an error's text.
const SHOWN: usize = 200;

impl Answer {
    /// Where to ask instead.
    pub(super) fn redirect(&self) -> Option<&str> {
        let moved = matches!(
            self.status,
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        self.headers.get(LOCATION).filter(|_| moved)?.to_str().ok()
    }

    pub(super) fn lag(&self, address: &Address) -> Result<i64> {
        let body = String::from_utf8_lossy(&self.body);
        let error = |kind, what: String| Err(Error::new(kind, format!("{what}, on requesting {address}")));
        let status = self.status.as_u16();
        match status {
            200 => lag(&body).or_else(|what| error(ErrorKind::Protocol, what)),
            400 => error(ErrorKind::InvalidArgument, format!("the monitor refuses the question: {}", shown(&body))),
            401 | 403 => error(ErrorKind::Auth, format!("the monitor does not let this client in (status {status})")),
            500.. => error(ErrorKind::Connection, format!("the monitor cannot answer (status {status})")),
            _ => error(ErrorKind::Protocol, format!("the monitor answered with status {status}: check monitor_host")),
        }
    }
}

fn lag(body: &str) -> std::result::Result<i64, String> {
    let body = body.trim();
    let found = match serde_json::from_str::<Value>(body) {
        Ok(json) => of_json(&json),
        Err(_) => of_text(body),
    };
    match found {
        Some(lag) if lag >= 0 => Ok(lag),
        Some(lag) => Err(format!("the monitor answered {lag}, which is no lag")),
        None if body.is_empty() => Err("the monitor's answer is empty".into()),
        None => Err(format!("the monitor's answer has no lag that can be read: {}", shown(body))),
    }
}

fn of_json(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => {
            // Those that count in floating point write 5.0.
            let whole = |n: f64| (n.fract() == 0.0 && n.abs() < (1_u64 << 53) as f64).then_some(n as i64);
            number.as_i64().or_else(|| number.as_f64().filter(|_| !number.is_u64()).and_then(whole))
        }
        Value::String(text) => text.trim().parse().ok(),
        Value::Object(fields) => of_json(NAMES.iter().find_map(|name| fields.get(*name))?),
        Value::Array(parts) => {
            let lags: Option<Vec<i64>> = parts.iter().map(of_json).map(|lag| lag.filter(|lag| *lag >= 0)).collect();
            lags.filter(|lags| !lags.is_empty())?.into_iter().try_fold(0i64, i64::checked_add)
        }
        Value::Null | Value::Bool(_) => None,
    }
}

/// The number in a text that has just one.
fn of_text(text: &str) -> Option<i64> {
    let start = text.find(|c: char| c.is_ascii_digit())?;
    let digits = text[start..].find(|c: char| !c.is_ascii_digit()).map_or(&text[start..], |end| &text[start..][..end]);
    let (before, after) = (&text[..start], &text[start + digits.len()..]);
    // Digits that belong to a name, or to more than a whole number.
    let joined = |c: char| c.is_alphanumeric() || matches!(c, '.' | ',' | '_');
    let part = before.ends_with(joined) || after.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if part || after.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number: i64 = digits.parse().ok()?;
    Some(if before.ends_with('-') { -number } else { number })
}

/// A body in one line of an error.
fn shown(body: &str) -> String {
    let line: String = body.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect();
    if body.trim().chars().nth(SHOWN).is_some() { line + "…" } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_read_where_one_is_meant() {
        for (body, expected) in [
            ("17", 17),
            (" 0\n", 0),
            ("lag 5", 5),
            ("lag: 5.", 5),
            ("17.0", 17),
            (r#"{"topic":"t2","lag":17}"#, 17),
            (r#"{"lag":"17"}"#, 17),
            (r#"{"GroupID":"g2:t","LagCount":3}"#, 3),
            (r#"[{"p":0,"lag":3},{"p":1,"lag":4}]"#, 7),
            ("9223372036854775807", i64::MAX),
        ] {
            assert_eq!(lag(body), Ok(expected), "{body}");
        }
    }

    #[test]
    fn what_is_no_lag_is_an_error_and_not_a_guess() {
        for body in [
            "",
            "no",
            "t2 lag 17",
            "t2",
            "lag: -5",
            "-1",
            "1.5",
            "1,000",
            "9223372036854775808",
            "99999999999999999999999999",
            r#"{"topic":"t2"}"#,
            r#"{"lag":null}"#,
            r#"[{"lag":3},{"p":1}]"#,
            r#"[{"lag":3},{"lag":-1}]"#,
            "[]",
            "<html>502 Bad Gateway</html>x1",
            "null",
        ] {
            assert!(lag(body).is_err(), "{body}: {:?}", lag(body));
        }
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert!(lag(&deep).is_err());
        assert!(lag(&"x".repeat(10_000)).unwrap_err().len() < 300);
    }
}
