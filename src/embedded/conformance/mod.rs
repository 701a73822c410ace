//! One suite, two clusters: every scenario asks the embedded cluster and real Kafka the same questions over the wire
//! and writes down what they answer. Both must answer alike; where they are not meant to, `differences` says why, and an
//! entry that is no longer needed fails as well. Scenarios write names, codes, offsets and counts, nothing that chance
//! decides: ids get aliases, times are relative.
#![allow(clippy::disallowed_methods)]

mod client;
mod commits;
mod configs;
mod coordinators;
mod deletions;
mod differences;
mod fetch;
mod group_admin;
mod help;
mod isolation;
mod joining;
mod leaders;
mod member;
mod members;
mod naming;
mod offset_requests;
mod offsets;
mod produce;
mod producer;
mod sessions;
mod statics;
mod topics;
mod transactional_offsets;
mod transactions;

use std::fmt::Display;
use std::io::Write as _;
use std::sync::OnceLock;

use dispatcher_testcontainers::{Kafka, SharedKafka, Unavailable, or_skip};

use self::client::World;
use self::differences::DIFFERENCES;
use super::{EmbeddedCluster, KafkaVersion};

/// A release that both are compared at.
struct Release {
    embedded: KafkaVersion,
    kafka: &'static str,
    shared: OnceLock<Result<SharedKafka, Unavailable>>,
}

static V4_2: Release = Release { embedded: KafkaVersion::V4_2, kafka: "4.2.0", shared: OnceLock::new() };
static V3_9: Release = Release { embedded: KafkaVersion::V3_9, kafka: "3.9.1", shared: OnceLock::new() };

impl Release {
    /// A cluster of this release, or `None` after saying, in each test, why there is none.
    fn kafka(&self, name: &str) -> Option<&SharedKafka> {
        if std::env::var("KAFKA_BROKERS").is_ok_and(|brokers| !brokers.is_empty()) {
            // Past the harness, which hides what a test that passes prints.
            let how = format!("needs Kafka {} of its own, not KAFKA_BROKERS", self.kafka);
            let _ = writeln!(std::io::stderr(), "skipped: {how} ({name})");
            return None;
        }
        let start = || Kafka::builder().brokers(3).version(self.kafka).shared();
        or_skip(self.shared.get_or_init(start).as_ref().map_err(Clone::clone))
    }

    /// Runs a scenario on both and compares.
    async fn agrees(&self, name: &str, scenario: impl AsyncFn(&World, &mut Transcript)) {
        let kafka = self.kafka(name);
        let cluster = EmbeddedCluster::builder().brokers(3).kafka_version(self.embedded).start().await.unwrap();
        let tag = format!("-{:08x}", fastrand::u32(..));
        let ours = World::new("the embedded cluster", &cluster.bootstrap(), &tag, Some(cluster.clone())).await;
        let Some(kafka) = kafka else {
            // Nothing to compare with; but it must run to its end.
            return scenario(&ours, &mut Transcript::new(&tag)).await;
        };
        let theirs = World::new("Kafka", kafka.bootstrap(), &tag, None).await;
        let (mut a, mut b) = (Transcript::new(&tag), Transcript::new(&tag));
        tokio::join!(scenario(&ours, &mut a), scenario(&theirs, &mut b));
        let wrong = compare(self.kafka, name, &a, &b);
        assert!(wrong.is_empty(), "{name}, Kafka {}:\n{}", self.kafka, wrong.join("\n"));
    }
}

/// What one cluster answered, line by line.
struct Transcript {
    lines: Vec<(String, String)>,
    /// What is not the same on both sides, and what to write instead.
    aliases: Vec<(String, String)>,
}

impl Transcript {
    fn new(tag: &str) -> Self {
        Self { lines: Vec::new(), aliases: vec![(tag.to_owned(), String::new())] }
    }

    /// Lines from now on hold `alias` instead of `text`.
    fn alias(&mut self, text: &str, alias: &str) {
        if !text.is_empty() {
            self.aliases.insert(0, (text.to_owned(), alias.to_owned()));
        }
    }

    /// Writes down what was answered to what.
    fn say(&mut self, asked: impl Display, answered: impl Display) {
        let line = (self.plain(&asked.to_string()), self.plain(&answered.to_string()));
        self.lines.push(line);
    }

    /// The text with aliases.
    fn plain(&self, text: &str) -> String {
        self.aliases.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }
}

/// A scenario that cannot go on shows how far it came.
impl Drop for Transcript {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let last = self.lines.iter().rev().take(6).rev();
            last.for_each(|(asked, answered)| eprintln!("  {asked}: {answered}"));
        }
    }
}

/// What is not as it should be.
fn compare(kafka: &str, name: &str, ours: &Transcript, theirs: &Transcript) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut meant: Vec<_> = DIFFERENCES.iter().filter(|d| d.is_of(kafka, name)).collect();
    for ((asked, ours), (theirs_asked, theirs)) in ours.lines.iter().zip(&theirs.lines) {
        if asked != theirs_asked {
            wrong.push(format!("the embedded cluster is at {asked:?}, Kafka at {theirs_asked:?}"));
            return wrong;
        }
        if ours == theirs {
            continue;
        }
        if let Some(at) = meant.iter().position(|d| d.is(asked, ours, theirs)) {
            meant.remove(at);
        } else {
            wrong.push(format!("- {asked}\n    embedded: {ours}\n    kafka:    {theirs}"));
        }
    }
    if ours.lines.len() != theirs.lines.len() {
        wrong.push(format!("{} lines from the embedded cluster, {} from Kafka", ours.lines.len(), theirs.lines.len()));
    }
    for gone in meant {
        wrong.push(format!("{:?} does not differ as the table says: {gone:?}", gone.asked()));
    }
    wrong
}

/// A test per scenario of this file and release.
macro_rules! scenarios {
    ($area:literal: $($name:ident)*) => {
        mod on_4_2 {
            $(#[tokio::test]
            async fn $name() {
                let name = concat!($area, "::", stringify!($name));
                crate::embedded::conformance::V4_2.agrees(name, super::$name).await;
            })*
        }

        mod on_3_9 {
            $(#[tokio::test]
            async fn $name() {
                let name = concat!($area, "::", stringify!($name));
                crate::embedded::conformance::V3_9.agrees(name, super::$name).await;
            })*
        }
    };
}
use scenarios;
