//! Where a new group begins: with the oldest message, the newest, or those of a time: `cargo run --example start_at`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Dispatcher, Error, Result, StartAt};

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 1).start().await?;
    let dispatcher = Dispatcher::builder(cluster.brokers()).connect().await?;
    for (order, ms) in [("of one", 1_000), ("of two", 2_000), ("of three", 3_000)] {
        dispatcher.send("orders", order).timestamp(ms).await?;
    }

    // A new group each time: one that has committed goes on where it was, whatever it is told.
    let read = async |group: &str, at: StartAt| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let notes = seen.clone();
        let note = move |order: String| {
            notes.lock().unwrap_or_else(|e| e.into_inner()).push(order);
            async { Ok::<(), Error>(()) }
        };
        dispatcher.subscribe("orders", note).group(group).start_at(at).until_end().start().await?.join().await?;
        let seen = seen.lock().unwrap_or_else(|e| e.into_inner()).clone();
        println!("{group} ({at:?}): {seen:?}");
        Ok::<_, Error>(seen)
    };
    assert_eq!(read("from the beginning", StartAt::Oldest).await?.len(), 3);
    assert_eq!(read("from two on", StartAt::TimestampMs(2_000)).await?, ["of two", "of three"]);
    assert_eq!(read("of the last hour", StartAt::Ago(Duration::from_secs(3600))).await?.len(), 0);
    assert_eq!(read("from now on", StartAt::Newest).await?.len(), 0);

    // What comes later is for all of them: each has its place.
    dispatcher.send("orders", "of today").await?;
    assert_eq!(read("from now on", StartAt::Newest).await?, ["of today"]);
    assert_eq!(read("from two on", StartAt::Oldest).await?, ["of today"]);
    dispatcher.close(Duration::from_secs(10)).await
}
