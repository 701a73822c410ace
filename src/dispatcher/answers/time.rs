//! The time that a sender gives a message and its receipts, from the first step of sending to the last receipt. What it is
//! spent with does not matter: when it is over, whoever waits is told.

use std::time::{Duration, Instant};

use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};

/// How long a message and its receipts may take together.
#[derive(Debug)]
pub(in crate::dispatcher) struct Time {
    env: Env,
    length: Duration,
    end: Instant,
}

impl Time {
    pub(super) fn begin(env: &Env, length: Duration) -> Self {
        let now = env.now();
        let end = now.checked_add(length).unwrap_or(now + Duration::from_secs(u32::MAX.into()));
        Self { env: env.clone(), length, end }
    }

    pub(super) fn length(&self) -> Duration {
        self.length
    }

    /// Ends with it. Cancel-safe.
    pub(super) async fn is_over(&self) {
        self.env.sleep_until(self.end).await;
    }

    /// A step on the way of a message to its place, which it has not got when this fails.
    pub(in crate::dispatcher) async fn step<T>(
        &self,
        topic: &str,
        doing: &str,
        step: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let left = self.end.saturating_duration_since(self.env.now());
        match self.env.timeout(left, step).await {
            Some(Err(e)) if matches!(e.kind(), ErrorKind::Timeout | ErrorKind::Connection) => {
                Err(e.wrap(ErrorKind::NotWritten, format!("the message to {topic} was not sent, failing at {doing}")))
            }
            Some(done) => done,
            None => {
                let length = self.length;
                let text = format!(
                    "the message to {topic} was not sent, for its {length:?} were over at {doing}: \
                     check that the brokers are reachable, or wait longer"
                );
                Err(Error::new(ErrorKind::NotWritten, text))
            }
        }
    }
}
