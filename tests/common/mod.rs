//! What the real-Kafka tests share: clusters, unique names, sizes, the handler log with its checkers, and second opinions
//! from Kafka's own tools. Each test binary takes what it needs.
#![allow(unreachable_pub, dead_code, clippy::disallowed_methods, clippy::unwrap_used)]

pub mod check;
pub mod librdkafka;
pub mod log;
pub mod ours;
pub mod process;
pub mod proxy;
pub mod segment;
pub mod spans;
pub mod tools;
pub mod traced;
pub mod watch;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The versions that the acceptance list names.
pub const KAFKA_4: &str = "4.2.0";
pub const KAFKA_3: &str = "3.9.1";

/// Says that the present test is skipped for lack of something, which is a failure with `DISPATCHER_REQUIRE_KAFKA=1`.
pub fn skip(how: &str) {
    use std::io::Write as _;
    assert!(!std::env::var("DISPATCHER_REQUIRE_KAFKA").is_ok_and(|v| v == "1"), "{how}");
    // The harness runs each test on a thread of its name, unless it runs them one by one.
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").map(|name| format!(" ({name})"));
    let _ = writeln!(std::io::stderr(), "skipped: {how}{}", test.unwrap_or_default());
}

/// A topic or group name that no other test has.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{name}-{}-{}-{}", std::process::id(), since.as_millis(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// `messages` × `DISPATCHER_SCALE` (1 unless set): the sizes in tests are what a debug build does in seconds.
pub fn scaled(messages: usize) -> usize {
    let scale = std::env::var("DISPATCHER_SCALE").ok().and_then(|v| v.parse().ok()).unwrap_or(1.0f64);
    ((messages as f64 * scale) as usize).max(1)
}

/// Waits until `holds`, and panics with `what` after `limit`.
pub async fn eventually(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The future's value within `limit`: no test hangs.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not within {limit:?}"),
    }
}

/// A payload of `size` bytes that says who sent it and as which of its messages.
pub fn payload(producer: u32, sequence: usize, size: usize) -> Vec<u8> {
    let mut text = format!("{producer:04}:{sequence:012}:").into_bytes();
    text.resize(size.max(text.len()), b'.');
    text
}

/// Producer and sequence of a [`payload`].
pub fn parse_payload(bytes: &[u8]) -> Option<(u32, usize)> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut parts = text.split(':');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}
