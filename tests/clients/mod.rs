//! Clients that no one here wrote, each behind one type with the same two abilities (write messages, read messages) and its
//! own round trips; the brokers that they are tried on; and `member.rs`, their consumers as members of mixed groups. What a client saw is JSON, so that an expectation is one
//! literal and the same for every broker.
#![allow(unreachable_pub, dead_code, clippy::disallowed_methods, clippy::unwrap_used)]

pub mod franz;
pub mod go;
pub mod go_json;
pub mod java;
pub mod librdkafka;
pub mod member;
pub mod ours;
pub mod sarama;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;
use dispatcher_testcontainers::{Kafka, SharedKafka};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::common::{KAFKA_4, within};

/// A message as every client writes it down: text or null, headers in their order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub key: Option<String>,
    pub value: Option<String>,
    pub headers: Vec<(String, Option<String>)>,
}

/// Where a round trip goes.
#[derive(Debug)]
pub struct Target {
    pub name: &'static str,
    pub bootstrap: String,
}

/// The round trip on the embedded broker and on real Kafka: `expected` is what the client sees on both.
pub async fn on_both(expected: Value, round_trip: impl AsyncFn(&Target) -> Value) {
    let kafka: Option<SharedKafka> = Kafka::builder().version(KAFKA_4).shared_or_skip();
    let embedded = EmbeddedCluster::builder().brokers(3).start().await.unwrap();
    let target = |name, bootstrap: &str| Target { name, bootstrap: bootstrap.to_owned() };
    let kafka = kafka.as_ref().map(|kafka| target("Kafka", kafka.bootstrap()));
    for target in [target("the embedded cluster", &embedded.bootstrap())].into_iter().chain(kafka) {
        let seen = within(Duration::from_secs(120), target.name, round_trip(&target)).await;
        assert_eq!(seen, expected, "on {}", target.name);
    }
}

/// Runs a client's command with `input` and gives the JSON that it printed. Blocks; other tasks go on.
fn json_of(mut command: Command, input: &str) -> Value {
    let run = || {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = tokio::task::block_in_place(run);
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {out}{errors}");
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{command:?}: {e}: {out}{errors}"))
}
