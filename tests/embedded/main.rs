//! The embedded cluster as the tests of a service use it: each promise of its public API, mostly in virtual time.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod ahead;
mod brokers;
mod disk;
mod faults;
mod look;
mod replication;
#[cfg(feature = "rskafka")]
mod rskafka;
mod topics;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::{EmbeddedBuilder, EmbeddedCluster};
use dispatcher::{Builder, Dispatcher, Error, Message, Subscription};

/// A cluster in memory whose runs are all the same; the test has to stop tokio's clock.
async fn start(builder: EmbeddedBuilder) -> EmbeddedCluster {
    builder.seed(1).start().await.unwrap()
}

/// One broker and the topic `t` with one partition.
async fn single() -> (EmbeddedCluster, Dispatcher) {
    let cluster = start(EmbeddedCluster::builder().topic("t", 1)).await;
    let dispatcher = connect(&cluster).await;
    (cluster, dispatcher)
}

fn on(cluster: &EmbeddedCluster) -> Builder {
    Dispatcher::builder(cluster.brokers()).network(&cluster.network()).create_topics(false)
}

async fn connect(cluster: &EmbeddedCluster) -> Dispatcher {
    on(cluster).connect().await.unwrap()
}

/// A running subscription and what its handler has seen.
struct Reader {
    subscription: Subscription,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Reader {
    async fn start(dispatcher: &Dispatcher, topic: &str, group: &str) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = seen.clone();
        let handler = move |message: Message| {
            into.lock().unwrap().push(String::from_utf8_lossy(message.value().unwrap_or_default()).into_owned());
            async { Ok::<_, Error>(()) }
        };
        let subscription = dispatcher.subscribe(topic, handler).group_exact(group).start().await.unwrap();
        Self { subscription, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until it has seen `count` messages and gives them.
    async fn until(&self, count: usize) -> Vec<String> {
        eventually("messages", Duration::from_secs(600), || self.seen().len() >= count).await;
        self.seen()
    }

    async fn stop(self) -> Vec<String> {
        within("stop()", self.subscription.stop()).await.unwrap();
        self.seen()
    }
}

/// All that is there for a group, in order of arrival; committed at the end.
async fn read(dispatcher: &Dispatcher, topic: &str, group: &str) -> Vec<String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let into = seen.clone();
    let handler = move |message: Message| {
        into.lock().unwrap().push(String::from_utf8_lossy(message.value().unwrap_or_default()).into_owned());
        async { Ok::<_, Error>(()) }
    };
    let subscription = dispatcher.subscribe(topic, handler).group_exact(group).until_end().start().await.unwrap();
    within("join()", subscription.join()).await.unwrap();
    std::mem::take(&mut *seen.lock().unwrap())
}

/// What lies in a partition, as text.
fn values(cluster: &EmbeddedCluster, topic: &str, partition: i32) -> Vec<String> {
    let text = |r: dispatcher::embedded::StoredRecord| String::from_utf8(r.value.unwrap_or_default()).unwrap();
    cluster.records(topic, partition).into_iter().map(text).collect()
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

async fn send(dispatcher: &Dispatcher, range: std::ops::Range<usize>) {
    for n in range {
        within("send()", async { dispatcher.send("t", n.to_string()).partition(0).await }).await.unwrap();
    }
}

async fn eventually(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + limit;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not within {limit:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Nothing hangs: ten minutes, of virtual time in most tests.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(600), future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} hangs"),
    }
}
