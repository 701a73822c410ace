//! One Kafka cluster: what is known of it, and connections to its brokers. Everything that talks to brokers goes
//! through here. A task of its own keeps the metadata fresh until the last handle is dropped.

mod bootstrap;
mod coordinator;
mod core;
mod metadata;
mod pool;
mod retrying;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use self::core::Core;
pub(crate) use self::pool::Use;
use crate::client::config::ClientConfig;
use crate::client::topology::{BrokerMeta, NewLeader, TopicMeta, Topology};
use crate::client::types::TopicName;
use crate::env::Env;
use crate::env::watch;
use crate::error::{Error, ErrorKind, Result};
use crate::net::Connection;
use crate::wire::buffers::Buffers;

/// A handle; clones share the cluster. With the last one go its task and connections.
#[derive(Clone)]
pub(crate) struct Cluster(Arc<Handle>);

struct Handle {
    core: Arc<Core>,
    metadata: JoinHandle<()>,
}

impl Cluster {
    /// Asks the seeds until one answers. If none does, the error lists each with its reason. Takes at most the
    /// connect timeout twice. Cancel-safe.
    pub(crate) async fn connect(config: ClientConfig, env: Env) -> Result<Cluster> {
        let core = Arc::new(Core::new(config, env)?);
        core.bootstrap().await?;
        Ok(Self::begin(core))
    }

    /// Asks the seeds when something is first asked of the cluster.
    pub(crate) fn lazy(config: ClientConfig, env: Env) -> Result<Cluster> {
        Ok(Self::begin(Arc::new(Core::new(config, env)?)))
    }

    fn begin(core: Arc<Core>) -> Cluster {
        let metadata = core.env.spawn(metadata::run(core.clone()));
        Cluster(Arc::new(Handle { core, metadata }))
    }

    pub(crate) fn env(&self) -> &Env {
        &self.0.core.env
    }

    pub(crate) fn config(&self) -> &ClientConfig {
        &self.0.core.config
    }

    /// Where the memory of what its connections read comes from.
    pub(crate) fn buffers(&self) -> &Buffers {
        &self.0.core.connections.buffers
    }

    /// What is known now.
    pub(crate) fn topology(&self) -> Arc<Topology> {
        self.0.core.metadata.topology()
    }

    /// Every later topology.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<Topology>> {
        self.0.core.metadata.changes()
    }

    /// The topic, asked for if it is not known; it stays part of metadata requests from then on. Waits a little for
    /// a topic no broker knows: right after its creation that is normal. Cancel-safe.
    pub(crate) async fn topic(&self, name: &str) -> Result<Arc<TopicMeta>> {
        self.wait_for_topic(name, self.config().unknown_topic_wait).await
    }

    /// [`topic`](Self::topic) with a limit of its own; zero asks once.
    pub(crate) async fn wait_for_topic(&self, name: &str, limit: Duration) -> Result<Arc<TopicMeta>> {
        self.0.core.topic(name, limit).await
    }

    /// The topic, if brokers know it now. Cancel-safe.
    pub(crate) async fn find_topic(&self, name: &str) -> Result<Option<Arc<TopicMeta>>> {
        match self.wait_for_topic(name, Duration::ZERO).await {
            Ok(topic) => Ok(Some(topic)),
            Err(e) if e.kind() == ErrorKind::UnknownTopic => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Metadata requests leave the topic out from now on, and what is known of it goes.
    pub(crate) fn forget_topic(&self, name: &str) {
        self.0.core.metadata.forget_topic(name);
    }

    /// As [`refresh`](Self::refresh); metadata requests ask for these topics as well from now on.
    pub(crate) fn want<'a>(&self, topics: impl Iterator<Item = &'a TopicName>) {
        self.0.core.metadata.want(topics);
    }

    /// Asks for new metadata soon: many calls become one request, and there is a pause between requests.
    pub(crate) fn refresh(&self) {
        self.0.core.metadata.refresh();
    }

    /// Metadata that was asked for after this call. Cancel-safe.
    pub(crate) async fn refresh_now(&self) -> Result<Arc<Topology>> {
        self.0.core.metadata.refresh_now().await
    }

    /// Takes in the leaders that a Produce or Fetch answer named (KIP-951), with what addresses came along.
    pub(crate) fn learn_leaders(&self, leaders: &[NewLeader], endpoints: &[BrokerMeta]) {
        self.0.core.metadata.learn_leaders(leaders, endpoints);
    }

    /// A connection to a broker for one kind of traffic; opened if there is none. Callers that come while it is
    /// being opened wait for that one attempt. Cancel-safe.
    pub(crate) async fn connection(&self, broker: i32, use_: Use) -> Result<Connection> {
        self.0.core.connection(broker, use_).await
    }

    /// The control connection of whichever broker is reachable. Cancel-safe.
    pub(crate) async fn any_connection(&self) -> Result<Connection> {
        self.0.core.any_connection().await
    }

    /// Gives up a connection: it ends when its last request is answered. Join connections are given up after the
    /// rebalance.
    pub(crate) fn release(&self, broker: i32, use_: &Use) {
        self.0.core.pool.release(broker, use_);
    }

    /// The group's coordinator, asked for if it is not known. Cancel-safe.
    pub(crate) async fn coordinator(&self, group: &str) -> Result<i32> {
        self.0.core.coordinator(group).await
    }

    /// `broker` is no longer (or not yet) the coordinator of `group`.
    pub(crate) fn forget_coordinator(&self, group: &str, broker: i32) {
        self.0.core.coordinators.forget(group, broker);
    }

    /// Asks for metadata soon if that may mend this error, which an answer has for a part of what it was asked for.
    pub(crate) fn refresh_after(&self, error: &Error) {
        if retrying::leaders_moved(error) {
            self.refresh();
        }
    }

    /// Tries until it succeeds, fails for good, or `limit` is over; see [`retrying`].
    pub(crate) async fn retrying<T, F>(&self, what: &str, limit: Duration, attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        retrying::retrying(&self.0.core, what, limit, attempt).await
    }
}

impl Cluster {
    /// [`retrying`](Self::retrying) over the control connection to a group's coordinator, which is looked for again
    /// when it has moved.
    pub(crate) async fn on_coordinator<T, F>(
        &self,
        what: &str,
        group: &str,
        limit: Duration,
        call: impl Fn(Connection) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let call = &call;
        let attempt = || async move {
            let broker = self.coordinator(group).await?;
            let outcome = match self.connection(broker, Use::Control).await {
                Ok(connection) => call(connection).await,
                Err(error) => Err(error),
            };
            if outcome.as_ref().is_err_and(coordinator::has_moved) {
                self.forget_coordinator(group, broker);
            }
            outcome
        };
        self.retrying(what, limit, attempt).await
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.metadata.abort();
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster({})", self.config().brokers.join(","))
    }
}

/// No broker answered: one error that says of each why.
fn none_answered(what: &str, reasons: Vec<Error>) -> Error {
    if let [only] = &reasons[..]
        && !only.is_retriable()
    {
        return only.clone();
    }
    let kind = match reasons.first() {
        // Those that answered let nobody in.
        _ if reasons.iter().any(Error::is_refusal) => {
            reasons.iter().find(|e| e.is_refusal()).map_or(ErrorKind::Connection, Error::kind)
        }
        // All agree on something better than "unreachable", such as a wrong protocol.
        Some(first) if reasons.iter().all(|e| e.kind() == first.kind()) => first.kind(),
        _ => ErrorKind::Connection,
    };
    let code = reasons.first().and_then(Error::code).filter(|c| reasons.iter().all(|e| e.code() == Some(*c)));
    let reasons: Vec<_> = reasons.iter().map(|e| format!("\n  {e}")).collect();
    let advice = match kind {
        ErrorKind::Connection | ErrorKind::Timeout => ": check the addresses and that the cluster is up",
        // The reasons say what to do.
        _ => ":",
    };
    Error::new(kind, format!("{what}{advice}{}", reasons.concat())).with_code(code)
}

fn name_of(text: &str) -> TopicName {
    TopicName::from(text)
}
