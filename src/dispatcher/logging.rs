//! A subscriber for programs that have none of their own.

use tracing::Level;
use tracing_subscriber::EnvFilter;

/// Writes this library's events of `level` and above to stderr; warnings of other crates too. Does nothing if the
/// program has a subscriber already. `RUST_LOG`, where it is set, wins.
///
/// The targets are `dispatcher` for what concerns users, and `dispatcher::net`, `dispatcher::client`,
/// `dispatcher::group` and `dispatcher::worker` for what goes on inside.
pub fn init_logging(level: Level) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(format!("warn,dispatcher={}", level.as_str().to_lowercase())));
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
