//! On the same topic as services that use the Go dispatcher: `cargo run --example go_envelope`
//!
//! Starts a Kafka cluster inside this process.

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher::{Compression, Dispatcher, Envelope, Error, Message, PartitionerKind, Result};

/// As a Go service wrote it.
const FROM_GO: &str = concat!(
    r#"{"TaskID":"1f0d4eb2-af60-4a33-8dd2-4442ff45f65c","Topic":"orders","Key":"table-4","Value":"b25lIGVzcHJlc3Nv","#,
    r#""Partition":0,"Offset":0,"ConsumerGroupID":"","ConsumerErrorStr":"","ProducerSentTime":"2026-11-22T16:04:47.3Z","#,
    r#""ConsumerReceivedTime":"0001-01-01T00:00:00Z","ConsumerFinishTime":"0001-01-01T00:00:00Z","#,
    r#""ProducerReceivedTime":"0001-01-01T00:00:00Z","IsReplyMessage":false,"IsSendError":false}"#
);

#[tokio::main]
async fn main() -> Result<()> {
    let cluster = EmbeddedCluster::builder().topic("orders", 10).start().await?;
    let builder = Dispatcher::builder(cluster.brokers()).compression(Compression::Lz4);
    // What Go's consumers read, and the partitions to which Go sends the same keys.
    let builder = builder.envelope(Envelope::GoJson).partitioner(PartitionerKind::Sarama);
    let dispatcher = builder.connect().await?;

    dispatcher.send("orders", FROM_GO).key("table-4").envelope(Envelope::Raw).await?;
    let report = dispatcher.send("orders", "two teas").key("table-4").await?;
    let stored = cluster.records("orders", report.partition());
    let written = String::from_utf8_lossy(stored[1].value.as_deref().unwrap_or_default()).into_owned();
    println!("we write {written}");
    assert!(written.starts_with("{\"TaskID\":\""));

    // Consumers need no option: they know every form by itself, and old payloads without one.
    dispatcher.send("orders", "of Go 1.10").key("table-4").envelope(Envelope::Raw).await?;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = seen.clone();
    let note = move |(order, message): (String, Message)| {
        println!("{order:?}, id {:?}, sent at {:?}", message.id(), message.sent_ms());
        notes.lock().unwrap_or_else(|e| e.into_inner()).push(order);
        async { Ok::<(), Error>(()) }
    };
    dispatcher.subscribe("orders", note).group("kitchen").until_end().start().await?.join().await?;
    assert_eq!(*seen.lock().unwrap_or_else(|e| e.into_inner()), ["one espresso", "two teas", "of Go 1.10"]);
    dispatcher.close(Duration::from_secs(10)).await
}
