//! Finding the cluster from its seeds: at the start, and again when every known broker is gone for long (KIP-899) or
//! a broker says so (KIP-1102).

use super::core::{Core, Refused, first_success};
use super::metadata::{Asked, ask};
use super::none_answered;
use super::pool::{REFUSED_BACKOFF, Use};
use crate::client::retry::Backoff;
use crate::env::lock;
use crate::error::{Error, ErrorKind, Result};
use crate::net::Connection;

impl Core {
    /// Asks the seeds for `asked`, takes in the first answer, and keeps the connection if it leads to a known broker.
    pub(super) async fn ask_seeds(&self, asked: &Asked) -> Result<()> {
        if let Some(refused) = &*lock(&self.refused)
            && self.env.now() < refused.until
        {
            return Err(refused.error.clone());
        }
        let outcome = self.ask_seeds_now(asked).await;
        let mut refused = lock(&self.refused);
        match &outcome {
            Err(error) if error.is_refusal() => {
                let mut backoff = refused.take().map_or_else(|| Backoff::new(REFUSED_BACKOFF), |r| r.backoff);
                let until = self.env.now() + self.env.random(|rng| backoff.next(rng));
                *refused = Some(Refused { error: error.clone(), until, backoff });
            }
            _ => *refused = None,
        }
        outcome
    }

    async fn ask_seeds_now(&self, asked: &Asked) -> Result<()> {
        let start = self.env.random(|rng| rng.usize(..self.seeds.len()));
        let (later, first) = self.seeds.split_at(start);
        let attempts = first.iter().chain(later).map(|(host, port)| async move {
            let connection = Connection::open(&self.env, host, *port, &self.connections).await?;
            let answer = match ask(&connection, asked, self.config.connect_timeout).await {
                Err(error) if error.kind() == ErrorKind::Connection => {
                    let better = Connection::wants_sasl(&self.env, host, *port, &self.connections).await;
                    return Err(better.unwrap_or(error));
                }
                answer => answer?,
            };
            if answer.brokers.is_empty() {
                let message = format!("{host}:{port} knows no brokers yet: it is starting up");
                return Err(Error::new(ErrorKind::Connection, message));
            }
            Ok((connection, host, *port, answer))
        });
        let found = first_success(&self.env, attempts).await;
        let (connection, host, port, answer) = found.map_err(|e| none_answered("no seed broker answered", e))?;
        self.metadata.check_cluster(&answer, connection.peer())?;
        let adopted = answer.brokers.iter().find(|b| *b.host == **host && b.port == port).map(|b| b.id);
        self.metadata.take_in(answer, true);
        let topology = self.metadata.topology();
        self.pool.keep_only(&topology);
        if let Some(broker) = adopted.and_then(|id| topology.broker(id)) {
            self.pool.adopt(broker, Use::Control, connection);
        }
        Ok(())
    }

    pub(super) async fn bootstrap(&self) -> Result<()> {
        self.ask_seeds(&Asked::default()).await
    }
}
