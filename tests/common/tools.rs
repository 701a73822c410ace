//! Second opinions: what Kafka's own tools say of topics, groups and logs.

use std::collections::BTreeMap;
use std::process::Output;

use dispatcher_testcontainers::Tools;

/// A record as Kafka's console consumer prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub value: String,
}

/// One line of `kafka-consumer-groups --describe`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupLine {
    pub topic: String,
    pub partition: i32,
    pub committed: Option<i64>,
    pub log_end: i64,
    pub lag: Option<i64>,
    pub consumer: Option<String>,
}

fn succeeded(output: &Output, what: &str) -> String {
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{what}: {out}{}", String::from_utf8_lossy(&output.stderr));
    out
}

/// Creates a topic with Kafka's own tool.
pub fn create_topic(tools: &Tools, bootstrap: &str, topic: &str, partitions: u32, replicas: u32, configs: &[&str]) {
    let (partitions, replicas) = (partitions.to_string(), replicas.to_string());
    let mut args = vec!["--bootstrap-server", bootstrap, "--create", "--topic", topic, "--partitions", &partitions];
    args.extend(["--replication-factor", &replicas]);
    for config in configs {
        args.extend(["--config", config]);
    }
    succeeded(&tools.run("org.apache.kafka.tools.TopicCommand", &args).unwrap(), "create topic");
}

/// The end offset of each partition.
pub fn end_offsets(tools: &Tools, bootstrap: &str, topic: &str) -> BTreeMap<i32, i64> {
    let args = ["--bootstrap-server", bootstrap, "--topic", topic, "--time", "-1"];
    let out = succeeded(&tools.run("org.apache.kafka.tools.GetOffsetShell", &args).unwrap(), "end offsets");
    let parse = |line: &str| {
        let mut parts = line.rsplitn(3, ':');
        let end = parts.next()?.trim().parse().ok()?;
        Some((parts.next()?.parse().ok()?, end))
    };
    out.lines().filter_map(parse).collect()
}

/// Everything that `topic` holds, which must be `count` records without gaps made by transactions or compaction.
pub fn read_back(tools: &Tools, bootstrap: &str, topic: &str) -> Vec<Stored> {
    let count: i64 = end_offsets(tools, bootstrap, topic).values().sum();
    read(tools, bootstrap, topic, "read_uncommitted", usize::try_from(count).unwrap())
}

/// The first `count` records that Kafka's console consumer shows.
pub fn read(tools: &Tools, bootstrap: &str, topic: &str, isolation: &str, count: usize) -> Vec<Stored> {
    if count == 0 {
        return Vec::new();
    }
    let (records, errors) = console_consumer(tools, bootstrap, topic, isolation, Some(count), 30_000);
    assert_eq!(records.len(), count, "console consumer: {errors}");
    records
}

/// All that Kafka's console consumer shows until it has waited 4 s for more.
pub fn read_to_end(tools: &Tools, bootstrap: &str, topic: &str, isolation: &str) -> Vec<Stored> {
    console_consumer(tools, bootstrap, topic, isolation, None, 4_000).0
}

fn console_consumer(
    tools: &Tools,
    bootstrap: &str,
    topic: &str,
    isolation: &str,
    count: Option<usize>,
    wait_ms: u32,
) -> (Vec<Stored>, String) {
    let (count, wait) = (count.map(|count| count.to_string()), wait_ms.to_string());
    let mut args = vec!["--bootstrap-server", bootstrap, "--topic", topic, "--from-beginning"];
    args.extend(["--isolation-level", isolation, "--timeout-ms", &wait]);
    args.extend(["--property", "print.partition=true", "--property", "print.offset=true"]);
    args.extend(["--property", "print.key=true"]);
    if let Some(count) = &count {
        args.extend(["--max-messages", count]);
    }
    let output = tools.run("org.apache.kafka.tools.consumer.ConsoleConsumer", &args).unwrap();
    let records = String::from_utf8_lossy(&output.stdout).lines().filter_map(stored).collect();
    (records, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// `Partition:3\tOffset:17\tkey\tvalue`, in this order since Kafka 2.7.
fn stored(line: &str) -> Option<Stored> {
    let mut parts = line.splitn(4, '\t');
    let partition = parts.next()?.strip_prefix("Partition:")?.parse().ok()?;
    let offset = parts.next()?.strip_prefix("Offset:")?.parse().ok()?;
    Some(Stored { partition, offset, key: parts.next()?.to_owned(), value: parts.next()?.to_owned() })
}

/// What `kafka-consumer-groups --describe` says of one topic in a group.
pub fn describe_group(tools: &Tools, bootstrap: &str, group: &str) -> Vec<GroupLine> {
    let args = ["--bootstrap-server", bootstrap, "--describe", "--group", group];
    let out =
        succeeded(&tools.run("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", &args).unwrap(), "group");
    out.lines().filter_map(|line| group_line(line, group)).collect()
}

fn group_line(line: &str, group: &str) -> Option<GroupLine> {
    let columns: Vec<_> = line.split_whitespace().collect();
    // Newer versions print the leader epoch in between only when asked.
    let [name, topic, partition, committed, log_end, lag, consumer, ..] = columns[..] else { return None };
    if name != group {
        return None;
    }
    Some(GroupLine {
        topic: topic.to_owned(),
        partition: partition.parse().ok()?,
        committed: committed.parse().ok(),
        log_end: log_end.parse().ok()?,
        lag: lag.parse().ok(),
        consumer: Some(consumer).filter(|c| *c != "-").map(str::to_owned),
    })
}

/// The node id of a group's coordinator.
pub fn coordinator(tools: &Tools, bootstrap: &str, group: &str) -> i32 {
    let args = ["--bootstrap-server", bootstrap, "--describe", "--state", "--group", group];
    let class = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let out = succeeded(&tools.run(class, &args).unwrap(), "coordinator");
    let line = out.lines().find(|line| line.starts_with(group)).unwrap_or_else(|| panic!("{out}"));
    let id = line.split_whitespace().find_map(|word| word.strip_prefix('(')?.strip_suffix(')')?.parse().ok());
    id.unwrap_or_else(|| panic!("{out}"))
}

/// Has the first replica of every partition lead it, where that is in sync.
pub fn elect_preferred_leaders(tools: &Tools, bootstrap: &str) {
    let args = ["--bootstrap-server", bootstrap, "--election-type", "preferred", "--all-topic-partitions"];
    // It fails where a replica is not in sync yet.
    tools.run("org.apache.kafka.tools.LeaderElectionCommand", &args).unwrap();
}

/// What Kafka wrote down of a group when its members or their shares changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    pub group: String,
    pub generation: i64,
    /// The member id of its leader, which begins with that member's client id.
    pub leader: Option<String>,
}

const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// All that Kafka wrote down of all groups, at a time when nobody commits.
pub fn group_records(tools: &Tools, bootstrap: &str) -> Vec<GroupRecord> {
    let count = end_offsets(tools, bootstrap, OFFSETS_TOPIC).values().sum();
    read_group_records(tools, bootstrap, &["--from-beginning"], count)
}

/// The last generation in Kafka's own record of a group; `None`, with a note, where the tool cannot read that record: on a
/// broker shared by many tests its partition holds what others wrote, too.
pub fn last_generation(tools: &Tools, bootstrap: &str, group: &str) -> Option<i64> {
    let last = generations(tools, bootstrap, group).last().copied();
    if last.is_none() {
        println!("Kafka's record of {group} could not be read: its generations are not looked at");
    }
    last
}

/// The generations that a group has had, one for each rebalance.
fn generations(tools: &Tools, bootstrap: &str, group: &str) -> Vec<i64> {
    let ends = end_offsets(tools, bootstrap, OFFSETS_TOPIC);
    // As Java's String.hashCode has it.
    let hash = group.bytes().fold(0i32, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)));
    let partition = (hash & i32::MAX) % ends.len() as i32;
    // Others commit all the time: it is this partition up to here, as far as nothing of it was compacted.
    let args = ["--partition", &partition.to_string(), "--offset", "earliest"];
    let records = read_group_records(tools, bootstrap, &args, ends[&partition]);
    records.iter().filter(|record| record.group == group).map(|record| record.generation).collect()
}

fn read_group_records(tools: &Tools, bootstrap: &str, from: &[&str], count: i64) -> Vec<GroupRecord> {
    let count = count.to_string();
    let mut args = vec!["--bootstrap-server", bootstrap, "--topic", OFFSETS_TOPIC];
    args.extend(from);
    // The first answer takes a busy machine a while; what ends it is the count.
    args.extend(["--timeout-ms", "15000", "--max-messages", &count, "--formatter"]);
    args.push("org.apache.kafka.tools.consumer.GroupMetadataMessageFormatter");
    let output = tools.run("org.apache.kafka.tools.consumer.ConsoleConsumer", &args).unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let records = serde_json::Deserializer::from_str(&out).into_iter::<serde_json::Value>().map_while(Result::ok);
    let record = |record: serde_json::Value| {
        let data = &record["value"]["data"];
        Some(GroupRecord {
            group: record["key"]["data"]["group"].as_str()?.to_owned(),
            generation: data["generation"].as_i64()?,
            leader: data["leader"].as_str().map(str::to_owned),
        })
    };
    records.filter_map(record).collect()
}
