//! Authenticates a connection again before its session ends (KIP-368), as Kafka's own client does: on the same
//! connection, at a random time in the last 15 to 5 hundredths of the session. What is under way is answered first,
//! what comes meanwhile waits (`shared.rs`): nothing is lost or changes places.

use std::sync::Arc;
use std::time::Duration;

use super::Authenticator;
use super::exchange::{Credentials, Session};
use crate::error::{Error, ErrorKind};
use crate::net::line::Line;
use crate::wire::ErrorCode;

/// Brokers ignore those who authenticate twice within a second.
const LEAST: Duration = Duration::from_millis(1_050);

/// Runs until the connection ends. `limit` is for the user's callback, and for each request.
pub(in crate::net) async fn keep(line: Arc<Line>, authenticator: Authenticator, mut session: Session, limit: Duration) {
    let env = line.env().clone();
    while let Some(lifetime) = session.lifetime {
        let share = env.random(|rng| 0.85 + 0.10 * rng.f64());
        let due = lifetime.mul_f64(share).max(LEAST);
        tokio::select! { biased;
            () = line.shared.ended() => return,
            () = env.sleep_until(session.began + due) => {}
        }
        let Some(credentials) = credentials(&line, &authenticator, session.began + lifetime, limit).await else {
            return;
        };
        line.shared.hold();
        match authenticator.exchange(&line, credentials, limit).await {
            Ok(next) => session = next,
            Err(_) if line.shared.closed_with().is_some() => return,
            Err(error) => {
                tracing::warn!(target: "dispatcher::net", peer = line.peer(), %error, "authenticating again failed");
                return line.shared.close(late(error));
            }
        }
        line.shared.resume();
        let (peer, mechanism, lifetime) = (line.peer(), authenticator.mechanism(), session.lifetime);
        tracing::debug!(target: "dispatcher::net", %peer, mechanism, ?lifetime, "authenticated again");
    }
}

/// Before anything is held up. A failure may pass while the session lasts; `None` when the connection is over.
async fn credentials(
    line: &Line,
    authenticator: &Authenticator,
    ends: std::time::Instant,
    limit: Duration,
) -> Option<Credentials> {
    let env = line.env();
    loop {
        let error = match env.timeout(limit, authenticator.credentials(env.wall_ms())).await {
            Some(Ok(credentials)) => return Some(credentials),
            Some(Err(error)) => error,
            None => {
                let message = format!("what gets OAUTHBEARER tokens took longer than {limit:?}");
                Error::new(ErrorKind::Timeout, message)
            }
        };
        if line.shared.closed_with().is_some() {
            return None;
        }
        tracing::warn!(target: "dispatcher::net", peer = line.peer(), %error, "cannot authenticate again");
        let left = ends.saturating_duration_since(env.now());
        if left.is_zero() {
            line.shared.close(over(error));
            return None;
        }
        tokio::select! { biased;
            () = line.shared.ended() => return None,
            () = env.sleep((left / 2).clamp(Duration::from_millis(10), Duration::from_secs(1))) => {}
        }
    }
}

/// A broker that takes the session for over already says that this is no time for SASL. Credentials are not at fault: a
/// fresh connection decides.
fn late(error: Error) -> Error {
    if error.code() == Some(ErrorCode::ILLEGAL_SASL_STATE) { over(error) } else { error }
}

fn over(error: Error) -> Error {
    Error::new(ErrorKind::Connection, "the session ended before this connection could authenticate again")
        .with_source(error)
}
