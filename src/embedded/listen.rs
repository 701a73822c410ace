//! How clients get to a broker: a TCP listener each, or streams in memory.

use std::io;
use std::sync::{Arc, Weak};

use async_trait::async_trait;

use super::connection;
use super::shared::Shared;
use crate::env::watch;
use crate::env::{Dial, Listener, Transport};

/// Bytes on their way in each direction of an in-memory stream before the writer waits.
const PIPE: usize = 256 << 10;

/// Accepts connections for a broker until it stops.
pub(super) fn start_accepting(cluster: &Arc<Shared>, broker: i32, listener: Listener) {
    let mut state = cluster.state();
    if let Some(here) = state.brokers.get_mut(&broker) {
        // From here on: it may be cut off before the task runs for the first time.
        let cut = here.cut.subscribe();
        here.accepting = Some(cluster.env.spawn(accept(cluster.clone(), broker, listener, cut)));
    }
}

async fn accept(cluster: Arc<Shared>, broker: i32, listener: Listener, mut cut: watch::Receiver<u64>) {
    loop {
        let accepted = tokio::select! {
            biased;
            _ = cut.changed() => {
                if cluster.state().is_running(broker) { continue } else { return }
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((transport, host)) => {
                start(&cluster, broker, host, transport);
            }
            Err(error) => {
                // Such as no file descriptors left.
                tracing::warn!(target: "dispatcher::embedded", broker, %error, "a connection was not accepted");
                cluster.env.sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Starts serving a connection, if the broker runs.
fn start(cluster: &Arc<Shared>, broker: i32, host: String, transport: Transport) -> bool {
    let (number, cut) = {
        let mut state = cluster.state();
        let Some(cut) = state.brokers.get(&broker).filter(|b| b.running).map(|b| b.cut.subscribe()) else {
            return false;
        };
        state.next_connection += 1;
        (state.next_connection, cut)
    };
    // Ends with the connection, or when the broker cuts it.
    let _detached = cluster.env.spawn(connection::serve(cluster.clone(), broker, number, host, transport, cut));
    true
}

/// Streams in memory to the brokers of a cluster that is still there.
pub(super) struct Memory(pub(super) Weak<Shared>);

#[async_trait]
impl Dial for Memory {
    async fn dial(&self, host: &str, port: u16) -> io::Result<Transport> {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let cluster = self.0.upgrade().ok_or_else(refused)?;
        let broker = cluster.state().brokers.iter().find(|(_, b)| b.host == host && b.port == port).map(|(&id, _)| id);
        let broker = broker.ok_or_else(refused)?;
        let (ours, theirs) = tokio::io::duplex(PIPE);
        if start(&cluster, broker, "/memory".into(), Transport::new(theirs)) {
            Ok(Transport::new(ours))
        } else {
            Err(refused())
        }
    }
}
