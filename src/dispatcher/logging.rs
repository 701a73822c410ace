//! A subscriber for programs that have none of their own.

use tracing::Level;
use tracing_subscriber::EnvFilter;

/// What goes on inside.
const INTERNAL: [&str; 5] = ["net", "client", "group", "worker", "trace"];

/// Writes what concerns users, of `level` and above, to stderr; of what goes on inside the library, and of other crates,
/// warnings and errors only. Does nothing if the program has a subscriber already. `RUST_LOG`, where it is set, wins.
///
/// The target is `dispatcher`; those of what goes on inside are in [`telemetry`](crate::telemetry).
///
/// ```
/// dispatcher::init_logging(tracing::Level::INFO);
/// ```
pub fn init_logging(level: Level) {
    install(&filter(level, false));
}

/// As [`init_logging`], and what goes on inside the library is written from `level` on as well: connections, metadata,
/// fetches, group membership, commits, and at `DEBUG` the spans of sends and handlers, which cost time on every message.
///
/// ```
/// dispatcher::init_logging_with_internals(tracing::Level::DEBUG);
/// ```
pub fn init_logging_with_internals(level: Level) {
    install(&filter(level, true));
}

fn install(filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}

fn filter(level: Level, internals: bool) -> String {
    let mut filter = format!("warn,dispatcher={}", level.as_str().to_lowercase());
    let quieter = level.min(Level::WARN).as_str().to_lowercase();
    if !internals {
        INTERNAL.iter().for_each(|target| filter.push_str(&format!(",dispatcher::{target}={quieter}")));
    }
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_inside_has_a_switch_of_its_own() {
        assert_eq!(filter(Level::DEBUG, true), "warn,dispatcher=debug");
        let quiet = filter(Level::DEBUG, false);
        assert!(quiet.starts_with("warn,dispatcher=debug,") && quiet.contains("dispatcher::client=warn"));
        assert!(filter(Level::ERROR, false).contains("dispatcher::client=error"));
        for filter in [quiet, filter(Level::INFO, true)] {
            assert!(EnvFilter::try_new(filter).is_ok());
        }
    }
}
