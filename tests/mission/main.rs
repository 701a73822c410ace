//! Every feature of the Go dispatcher on real Kafka: a test for each of its options, under the option's name, and the fleet
//! of senders with receipts. What needs more room has it elsewhere: `groups.rs`, `hold.rs`, `receipts/`, `go_interop.rs`.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod answers;
mod asking;
#[path = "../common/mod.rs"]
mod common;
mod fleet;
mod sending;
mod starting;
mod subscribing;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{KAFKA_4, unique};
use dispatcher::{Dispatcher, Message};
use dispatcher_testcontainers::{Kafka, SharedKafka};

const SOON: Duration = Duration::from_secs(30);

/// Three brokers, a dispatcher, and a topic of the test's own, made on first use.
struct Scene {
    kafka: SharedKafka,
    dispatcher: Dispatcher,
    topic: String,
}

impl Scene {
    /// None after saying so without Kafka.
    async fn or_skip(name: &str) -> Option<Self> {
        let kafka = Kafka::builder().brokers(3).version(KAFKA_4).shared_or_skip()?;
        let dispatcher = dispatcher(kafka.bootstrap()).await;
        Some(Self { kafka, dispatcher, topic: unique(name) })
    }

    async fn send(&self, texts: &[&str]) {
        for text in texts {
            self.dispatcher.send(&self.topic, *text).await.unwrap();
        }
    }
}

/// With topics of 3 partitions, which are made sooner than those of 10.
async fn dispatcher(bootstrap: &str) -> Dispatcher {
    Dispatcher::builder(bootstrap.split(',')).partitions(3).connect().await.unwrap()
}

/// What handlers were given, in the order of their starts.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn push(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    fn sorted(&self) -> Vec<String> {
        let mut all = self.all();
        all.sort();
        all
    }

    async fn until(&self, count: usize) {
        common::eventually("handler calls", SOON, async || self.all().len() >= count).await;
    }

    /// Notes each message, and fails for those with `bad` in them.
    fn handler(&self) -> impl Fn(Message) -> std::future::Ready<Result<(), std::io::Error>> + Send + Sync + 'static {
        let seen = self.clone();
        move |message| {
            let text = text(&message);
            let outcome = if text.contains("bad") { Err(std::io::Error::other("no beans")) } else { Ok(()) };
            seen.push(text);
            std::future::ready(outcome)
        }
    }
}

fn text(message: &Message) -> String {
    String::from_utf8(message.value().unwrap_or_default().to_vec()).unwrap()
}
