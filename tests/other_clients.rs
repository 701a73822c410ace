//! Clients that no one here wrote (librdkafka, Kafka's own Java tools, franz-go, sarama) find in the embedded broker what
//! they find in Kafka: every round trip runs on both, and each client sees the same.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod clients;
mod common;

use std::time::Duration;

use clients::franz::Franz;
use clients::java::{Java, VerifiableConsumer};
use clients::librdkafka::Librdkafka;
use clients::sarama::Sarama;
use clients::{Message, on_both, ours};
use common::{eventually, tools, unique};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn what_one_client_writes_every_client_reads() {
    every_client_reads(&[&["lz4", "none"]]).await;
}

/// Java writes snappy in xerial's framing, the others as raw blocks.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_client_compresses_by_any_codec_every_client_reads() {
    every_client_reads(&[&["gzip"], &["snappy"], &["zstd"]]).await;
}

/// Every client writes by each of these lists of codecs, and then reads all of it.
async fn every_client_reads(codecs: &[&[&str]]) {
    let (librdkafka, java) = (Librdkafka::or_skip(), Java::or_skip());
    let (franz, sarama) = (Franz::or_skip(), Sarama::or_skip());
    let mut writers = vec!["dispatcher"];
    writers.extend(librdkafka.as_ref().map(|_| "librdkafka"));
    writers.extend(java.as_ref().map(|_| "Java"));
    writers.extend(franz.as_ref().map(|_| "franz-go"));
    writers.extend(sarama.as_ref().map(|_| "sarama"));
    let rounds: Vec<_> = codecs.iter().flat_map(|codecs| writers.iter().map(move |writer| (writer, codecs))).collect();
    let expected: Vec<_> = rounds.iter().flat_map(|(writer, _)| messages(writer)).collect();
    let count = expected.len();
    on_both(json!(writers.len()), async |to| {
        let (bootstrap, topic) = (to.bootstrap.as_str(), &unique("written"));
        ours::create_topics(bootstrap, &[topic], 1).await;
        for (writer, codecs) in &rounds {
            let messages = messages(writer);
            match **writer {
                "librdkafka" => librdkafka.as_ref().unwrap().write(bootstrap, topic, &messages, codecs),
                "Java" => java.as_ref().unwrap().write(bootstrap, topic, &messages, codecs),
                "franz-go" => franz.as_ref().unwrap().write(bootstrap, topic, &messages, codecs),
                "sarama" => sarama.as_ref().unwrap().write(bootstrap, topic, &messages, codecs),
                _ => ours::write(bootstrap, topic, &messages, codecs).await,
            }
        }
        for reader in &writers {
            let read = match *reader {
                "librdkafka" => librdkafka.as_ref().unwrap().read(bootstrap, topic, count),
                "Java" => java.as_ref().unwrap().read(bootstrap, topic, count),
                "franz-go" => franz.as_ref().unwrap().read(bootstrap, topic, count),
                "sarama" => sarama.as_ref().unwrap().read(bootstrap, topic, count),
                _ => ours::read(bootstrap, topic, count).await,
            };
            for (read, expected) in read.iter().zip(&expected) {
                assert_eq!(read, expected, "{reader} on {}", to.name);
            }
            assert_eq!(read.len(), count, "{reader} on {}", to.name);
        }
        json!(writers.len())
    })
    .await;
}

/// Null, empty and repeated where Kafka allows it, text beyond ASCII, and a value of several LZ4 blocks.
fn messages(writer: &str) -> Vec<Message> {
    let some = |text: &str| Some(text.to_owned());
    let message = |key: Option<&str>, value: Option<&str>, headers: &[(&str, Option<&str>)]| Message {
        key: key.map(|key| key.replace("{}", writer)),
        value: value.map(|value| value.replace("{}", writer)),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.and_then(some))).collect(),
    };
    let long: String = (0..20_000).map(|n| format!("{n} ")).collect();
    let headers = [("twice", Some("1")), ("twice", Some("2")), ("null", None), ("empty", Some(""))];
    vec![
        message(Some("{}"), Some("from {}"), &headers),
        message(Some("schlüssel"), Some("κόσμε ✓"), &[]),
        message(None, Some("without a key"), &[("header", Some("ü"))]),
        message(Some("tombstone"), None, &[]),
        message(Some(""), Some(""), &[]),
        message(Some("long"), Some(&long), &[]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn librdkafkas_group_shares_a_topic_and_continues_at_its_commit() {
    let Some(librdkafka) = Librdkafka::or_skip() else { return };
    let expected = json!({
        "alone": 4, "shares": [2, 2], "readers": 2, "committed": {"0": 700, "1": 900, "2": 750, "3": 150},
        "once": true, "after": ["after the restart"],
    });
    for assignor in ["range", "cooperative-sticky"] {
        on_both(expected.clone(), async |to| {
            let (topic, group) = (unique("librdkafka"), unique("librdkafka"));
            ours::create_topics(&to.bootstrap, &[&topic], 4).await;
            librdkafka.run(&["group", &to.bootstrap, &topic, &group, assignor, "2000"])
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn librdkafkas_admin_client_takes_a_topic_and_a_group_through_their_lives() {
    let Some(librdkafka) = Librdkafka::or_skip() else { return };
    let expected = json!({
        "created twice": "TOPIC_ALREADY_EXISTS", "controller is a broker": true, "listed": true, "partitions": 2,
        "partitions after growth": 4,
        "configs": {"cleanup.policy": ["compact,delete", false], "retention.ms": ["3600000", false],
                    "max.message.bytes": ["1048588", true]},
        "altered": {"cleanup.policy": ["delete", false], "retention.ms": ["7200000", false],
                    "max.message.bytes": ["1048588", true]},
        "group listed as": "STABLE", "group": ["STABLE", "range", 1, [0, 1, 2, 3]], "group after close": "EMPTY",
        "offsets": {"0": 10, "1": 10, "2": 10, "3": 10}, "offsets altered": {"0": 10, "1": 3, "2": 10, "3": 10},
        "log start": [4, [4, 0], [10, 10]], "group deleted": true, "topic deleted": true,
    });
    let round = async |to: &clients::Target| {
        librdkafka.run(&["admin", &to.bootstrap, &unique("librdkafka"), &unique("librdkafka")])
    };
    on_both(expected, round).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn librdkafkas_transactions_move_messages_with_their_offsets_or_not_at_all() {
    let Some(librdkafka) = Librdkafka::or_skip() else { return };
    let expected = json!({
        "committed offset": 10, "offset after the abort": 10, "committed again": 25, "fenced": true,
        "read_committed": ["0", "2", "4", "6", "8", "20", "22", "24", "last", "1", "3", "5", "7", "9", "21", "23"],
        "read_uncommitted": [
            "0", "2", "4", "6", "8", "10", "12", "14", "16", "18", "20", "22", "24", "26", "28", "last",
            "1", "3", "5", "7", "9", "11", "13", "15", "17", "19", "21", "23", "25", "27", "29",
        ],
    });
    on_both(expected, async |to| {
        let (topic, output) = (unique("from"), unique("into"));
        ours::create_topics(&to.bootstrap, &[&topic, &output], 2).await;
        librdkafka.run(&["transactions", &to.bootstrap, &topic, &output, &unique("mover")])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kafkas_own_tools_take_a_topic_through_its_life() {
    let Some(java) = Java::or_skip() else { return };
    let expected = json!({
        "created": "Created topic.", "described": "PartitionCount: 2", "retention": true, "leaders": 2,
        "altered": ["cleanup.policy=compact", "retention.ms=7200000"], "ends": [0, 0, 0], "listed": true, "gone": true,
    });
    on_both(expected, async |to| {
        let topic = unique("tools");
        let topics = |args: &[&str]| java.run(&to.bootstrap, "TopicCommand", &[args, &["--topic", &topic]].concat());
        let configs = |args: &[&str]| {
            java.run(&to.bootstrap, "kafka.admin.ConfigCommand", &[args, &["--topic", &topic]].concat())
        };
        let created = topics(&["--create", "--partitions", "2", "--config", "retention.ms=3600000"]);
        let described = topics(&["--describe"]);
        configs(&["--alter", "--add-config", "retention.ms=7200000,cleanup.policy=compact"]);
        let altered = configs(&["--describe"]);
        let first_word = |line: &str| line.split_whitespace().next().map(str::to_owned);
        topics(&["--alter", "--partitions", "3"]);
        let ends = tokio::task::block_in_place(|| tools::end_offsets(&java.tools, &to.bootstrap, &topic));
        let listed = topics(&["--list"]);
        topics(&["--delete"]);
        let gone = java.run(&to.bootstrap, "TopicCommand", &["--list"]);
        json!({
            "created": created.trim().replace(&topic, "").replace(" .", "."),
            "described": described.split('\t').find(|part| part.starts_with("PartitionCount")).map(str::trim),
            "retention": described.contains("retention.ms=3600000"),
            "leaders": described.lines().filter(|line| line.contains("\tLeader: ") && !line.contains("none")).count(),
            "altered": altered.lines().skip(1).filter_map(first_word).collect::<Vec<_>>(),
            "ends": ends.values().collect::<Vec<_>>(),
            "listed": listed.lines().any(|line| line == topic),
            "gone": !gone.lines().any(|line| line == topic),
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(unix), ignore = "a consumer is asked to end by a signal")]
async fn javas_consumers_share_a_topic_and_consumer_groups_shows_and_resets_them() {
    let Some(java) = Java::or_skip() else { return };
    let expected = json!({
        "acknowledged": 3000, "members": 2, "lag": 0, "committed": 3000, "state": ["range", "Stable", "2"],
        "after the end": ["-", "Empty", "0"], "reset to": [0, 0, 0, 0], "read again": 3000, "lag after that": 0,
        "deleted": true,
    });
    on_both(expected, async |to| java_group(&java, &to.bootstrap).await).await;
}

async fn java_group(java: &Java, bootstrap: &str) -> Value {
    let (topic, group) = (unique("java"), unique("java"));
    ours::create_topics(bootstrap, &[&topic], 4).await;
    let groups = |args: &[&str]| java.run(bootstrap, "consumer.group.ConsumerGroupCommand", args);
    let lines = || tokio::task::block_in_place(|| tools::describe_group(&java.tools, bootstrap, &group));
    let lag = |lines: &[tools::GroupLine]| lines.iter().filter_map(|line| line.lag).sum::<i64>();
    // `GROUP COORDINATOR (ID) STRATEGY STATE #MEMBERS`; an empty group has the strategy `-`.
    let state = || -> Vec<String> {
        let out = groups(&["--describe", "--state", "--group", &group]);
        let line = out.lines().find(|line| line.starts_with(&group)).unwrap_or_default().to_owned();
        line.split_whitespace().skip(3).map(str::to_owned).collect()
    };

    let members = [0, 1].map(|_| VerifiableConsumer::start(java, bootstrap, &topic, &group));
    let limit = Duration::from_secs(30);
    eventually("each has two partitions", limit, async || members.iter().all(|m| m.assigned() == 2)).await;
    let out = java.run(
        bootstrap,
        "VerifiableProducer",
        &["--topic", &topic, "--max-messages", "3000", "--repeating-keys", "50"],
    );
    let acknowledged = out.lines().filter(|line| line.contains("producer_send_success")).count();
    let all = async || members.iter().map(VerifiableConsumer::consumed).sum::<u64>() >= 3_000;
    eventually("everything is read", limit, all).await;
    let mut described = lines();
    eventually("everything is committed", limit, async || {
        described = lines();
        lag(&described) == 0
    })
    .await;
    let names: std::collections::BTreeSet<_> = described.iter().filter_map(|line| line.consumer.as_ref()).collect();
    let stable = state();
    let in_all: u64 = members.iter().map(VerifiableConsumer::consumed).sum();
    assert_eq!(in_all, 3_000, "each message once");
    members.into_iter().for_each(VerifiableConsumer::stop);
    let empty = state();

    let reset = groups(&["--reset-offsets", "--to-earliest", "--execute", "--topic", &topic, "--group", &group]);
    let new_offset =
        |line: &str| line.starts_with(&group).then(|| line.split_whitespace().last()?.parse::<i64>().ok())?;
    let args = ["--topic", &topic, "--group", &group, "--max-messages", "3000", "--timeout-ms", "20000"];
    let again = java.run(bootstrap, "consumer.ConsoleConsumer", &args);
    let values: std::collections::BTreeSet<_> = again.lines().collect();
    let afterwards = lines();
    groups(&["--delete", "--group", &group]);
    let listed = groups(&["--list"]);
    json!({
        "acknowledged": acknowledged, "members": names.len(), "lag": lag(&described),
        "committed": described.iter().filter_map(|line| line.committed).sum::<i64>(), "state": stable,
        "after the end": empty, "reset to": reset.lines().filter_map(new_offset).collect::<Vec<_>>(),
        "read again": values.len(), "lag after that": lag(&afterwards), "deleted": !listed.lines().any(|l| l == group),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn franz_gos_group_rebalances_cooperatively_and_continues_at_its_commit() {
    let Some(franz) = Franz::or_skip() else { return };
    let expected = json!({
        "alone": [4], "shared": [2, 2], "both read": true, "lag of both": 0, "lag before the last commit": 1000,
        "lag after it": 0, "once": true, "continued at the commit": true,
    });
    on_both(expected, async |to| {
        let (topic, group) = (unique("franz"), unique("franz"));
        ours::create_topics(&to.bootstrap, &[&topic], 4).await;
        franz.run(&["group", &to.bootstrap, &topic, &group, "1000"])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn franz_gos_admin_client_takes_a_topic_and_a_group_through_their_lives() {
    let Some(franz) = Franz::or_skip() else { return };
    let expected = json!({
        "partitions created": 2, "created twice": true, "retention.ms": "3600000",
        "lag": 27, "group state": "Empty", "offset after a time": 5, "log start": 4, "producers": 1, "offsets left": 2,
        "group deleted": true,
    });
    let round = async |to: &clients::Target| franz.run(&["admin", &to.bootstrap, &unique("franz"), &unique("franz")]);
    on_both(expected, round).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn franz_go_moves_a_topic_exactly_once_in_transactions() {
    let Some(franz) = Franz::or_skip() else { return };
    let expected = json!({
        "moved": 1000, "some were aborted": true, "aborted are in the log": true, "once": true, "lag": 0,
    });
    on_both(expected, async |to| {
        let (topic, output) = (unique("from"), unique("into"));
        ours::create_topics(&to.bootstrap, &[&topic, &output], 4).await;
        franz.run(&["transform", &to.bootstrap, &topic, &output, &unique("mover"), "1000"])
    })
    .await;
}
