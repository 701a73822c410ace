//! Finding the cluster from its seeds: at the start, and again when every known broker is gone for long (KIP-899) or
//! a broker says so (KIP-1102).

use super::core::{Core, first_success};
use super::metadata::{Asked, ask};
use super::none_answered;
use super::pool::Use;
use crate::error::{Error, ErrorKind, Result};
use crate::net::Connection;

impl Core {
    /// Asks the seeds for `asked`, takes in the first answer, and keeps the connection if it leads to a known broker.
    pub(super) async fn ask_seeds(&self, asked: &Asked) -> Result<()> {
        let start = self.env.random(|rng| rng.usize(..self.seeds.len()));
        let (later, first) = self.seeds.split_at(start);
        let attempts = first.iter().chain(later).map(|(host, port)| async move {
            let connection = Connection::open(&self.env, host, *port, &self.connections).await?;
            let answer = ask(&connection, asked, self.config.connect_timeout).await?;
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
