//! Options of `monitor`.

use std::time::Duration;

use clap::Args;

use super::units::duration;

#[derive(Debug, Clone, Args)]
pub(super) struct MonitorArgs {
    /// Where it listens. Port 0: any. Who can connect there can read it: it asks for no password.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8308")]
    pub(super) listen: String,
    /// How often the cluster is asked, 1s at least; no request to this service asks it.
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "5s")]
    pub(super) interval: Duration,
    /// How far back the page's curves go; they are kept in memory, in 360 points each.
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "1h")]
    pub(super) history: Duration,
    /// A partition with a lag whose committed offset has not moved for so long is marked as stuck.
    #[arg(long, value_name = "DURATION", value_parser = interval, default_value = "30s")]
    pub(super) stuck_after: Duration,
    /// Only this group, as Kafka names it; may come several times. [default: all consumer groups]
    #[arg(long = "group", value_name = "GROUP")]
    pub(super) groups: Vec<String>,
    /// A path that everything is served below, such as /lags behind a proxy.
    #[arg(long, value_name = "PATH", value_parser = base, default_value = "/")]
    pub(super) base: String,
}

fn interval(text: &str) -> Result<Duration, String> {
    let (shortest, longest) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
    let duration = duration(text)?;
    if (shortest..=longest).contains(&duration) { Ok(duration) } else { Err("use 1s to 24h".into()) }
}

/// Without a slash at its end, so that what follows begins with one.
fn base(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~');
    if (path.is_empty() || path.starts_with('/')) && path.chars().all(plain) {
        return Ok(path.to_owned());
    }
    Err("use a path of letters, digits, '/', '-', '_', '.' and '~', such as /lags".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_not_shorter_than_a_second() {
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        for wrong in ["0", "999ms", "2000h", "often"] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_base_is_a_path() {
        for (text, path) in [("/", ""), ("", ""), ("/lags/", "/lags"), ("/a/b", "/a/b")] {
            assert_eq!(base(text), Ok(path.into()));
        }
        assert!(base("lags").is_err() && base("/a b").is_err());
    }
}
