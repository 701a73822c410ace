//! Transactions: who owns an id, what a transaction may touch, and what readers see of it.

use super::Transcript;
use super::client::World;
use super::commits::{fetch_request, fetched as offsets_fetched};
use super::fetch::{asked, fetched, request};
use super::help::{Topic, batch, by, plain, produce_request, produced, transactional};
use crate::wire::messages::*;
use crate::wire::{ErrorCode, StrBytes};

super::scenarios! { "transactions": init add end write read offsets }

/// A transactional producer, as a client has it.
struct Producer<'a> {
    world: &'a World,
    id: StrBytes,
    node: i32,
    producer: (i64, i16),
}

impl<'a> Producer<'a> {
    async fn new(world: &'a World, name: &str) -> Self {
        let id = world.name(name);
        let node = world.coordinator(&id, 1).await;
        let mut this = Self { world, id: id.as_str().into(), node, producer: (-1, -1) };
        let given = this.init((-1, -1), 60_000, 3).await;
        assert_eq!(given.error_code, ErrorCode::NONE, "{name}");
        this.producer = (given.producer_id, given.producer_epoch);
        this
    }

    /// InitProducerId, once what ran before is over.
    async fn init(&self, known: (i64, i16), timeout: i32, version: i16) -> InitProducerIdResponse {
        let request = InitProducerIdRequest {
            transactional_id: Some(self.id.clone()),
            transaction_timeout_ms: timeout,
            producer_id: known.0,
            producer_epoch: known.1,
        };
        let ask = async || {
            let given = self.world.ask(self.node, &request, version).await;
            let busy = [ErrorCode::CONCURRENT_TRANSACTIONS, ErrorCode::COORDINATOR_NOT_AVAILABLE];
            (!busy.contains(&given.error_code)).then_some(given)
        };
        self.world.until("producer id", ask).await
    }

    async fn add(&self, by: (i64, i16), partitions: &[(&Topic, i32)], version: i16) -> Vec<ErrorCode> {
        let topics = partitions.iter().map(|(topic, partition)| add_partitions_to_txn::Topic {
            name: topic.name.clone(),
            partitions: vec![*partition],
        });
        let request = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.clone(),
            v3_and_below_producer_id: by.0,
            v3_and_below_producer_epoch: by.1,
            v3_and_below_topics: topics.collect(),
            ..Default::default()
        };
        let ask = async || {
            let answer = self.world.ask(self.node, &request, version).await;
            let results = answer.results_by_topic_v3_and_below.iter().flat_map(|t| &t.results_by_partition);
            let codes: Vec<_> = results.map(|r| r.partition_error_code).collect();
            (!codes.contains(&ErrorCode::CONCURRENT_TRANSACTIONS)).then_some(codes)
        };
        self.world.until("place in the transaction", ask).await
    }

    async fn end(&self, by: (i64, i16), committed: bool, version: i16) -> EndTxnResponse {
        let request =
            EndTxnRequest { transactional_id: self.id.clone(), producer_id: by.0, producer_epoch: by.1, committed };
        let ask = async || {
            let answer = self.world.ask(self.node, &request, version).await;
            (answer.error_code != ErrorCode::CONCURRENT_TRANSACTIONS).then_some(answer)
        };
        self.world.until("end of the transaction", ask).await
    }

    async fn write(&self, by_: (i64, i16), sequence: i32, topic: &Topic, partition: i32, n: usize) -> String {
        self.write_at(by_, sequence, topic, partition, n, 11).await
    }

    async fn write_at(
        &self,
        by_: (i64, i16),
        sequence: i32,
        topic: &Topic,
        partition: i32,
        n: usize,
        version: i16,
    ) -> String {
        let bytes = transactional(&batch(by(by_.0, by_.1, sequence), self.world.t0, n));
        let request = produce_request(topic, partition, &bytes, Some(&self.id), -1);
        let leader = topic.leaders[partition as usize];
        let ask = async || {
            let answer = self.world.ask(leader, &request, version).await;
            let answer = &answer.responses[0].partition_responses[0];
            // Not at once: the broker asks the coordinator first.
            let busy = [ErrorCode::NOT_ENOUGH_REPLICAS, ErrorCode::CONCURRENT_TRANSACTIONS];
            (!busy.contains(&answer.error_code)).then(|| produced(self.world, answer))
        };
        self.world.until("place for a record", ask).await
    }
}

impl World {
    /// Older brokers take what comes under another epoch, and are left with a transaction that nobody can end.
    fn checks_epochs(&self) -> bool {
        self.newest::<ProduceRequest>(12) == 12
    }
}

fn given(r: &InitProducerIdResponse, same: i64) -> String {
    let id = if r.producer_id == -1 {
        "no id"
    } else if r.producer_id == same {
        "the id"
    } else {
        "another id"
    };
    format!("{} {id} epoch {}", r.error_code, r.producer_epoch)
}

async fn init(world: &World, t: &mut Transcript) {
    let (min, max) = world.versions::<InitProducerIdRequest>();
    for (case, id, timeout) in
        [("idempotent", None, 60_000), ("idempotent without time-out", None, 0), ("empty id", Some(""), 60_000)]
    {
        for version in [min, 3, max] {
            let request = InitProducerIdRequest {
                transactional_id: id.map(StrBytes::from),
                transaction_timeout_ms: timeout,
                ..Default::default()
            };
            let r = world.ask(world.any(), &request, version).await;
            t.say(format!("v{version}, {case}"), given(&r, -2));
        }
    }
    let r = InitProducerIdRequest { transactional_id: None, producer_id: 3, producer_epoch: 4, ..Default::default() };
    t.say("idempotent with an epoch", given(&world.ask(world.any(), &r, 3).await, -2));
    let producer = Producer::new(world, "init").await;
    let (id, epoch) = producer.producer;
    t.say("fresh", epoch);
    for (case, known, timeout, version) in [
        ("again", (-1, -1), 60_000, 2),
        ("with its epoch", (id, 1), 60_000, 3),
        ("with its epoch again", (id, 1), 60_000, 3),
        ("with its epoch again", (id, 1), 60_000, 4),
        ("with an older one", (id, 0), 60_000, 4),
        ("with a newer one", (id, 9), 60_000, 4),
        ("with another id", (id + 100_000, 2), 60_000, 4),
        ("id without epoch", (id, -1), 60_000, 4),
        ("no time", (-1, -1), 0, 4),
        ("negative time", (-1, -1), -1, 4),
        ("too much time", (-1, -1), 900_001, 4),
        ("all the time", (-1, -1), 900_000, 4),
        ("newest version", (-1, -1), 60_000, max),
    ] {
        t.say(format!("v{version}, {case}"), given(&producer.init(known, timeout, version).await, id));
    }
    let other = Producer::new(world, "init-other").await;
    t.say("another id differs", other.producer.0 != id);
}

async fn add(world: &World, t: &mut Transcript) {
    let topic = world.topic("added", 2, 1, &[]).await;
    let absent = Topic { name: StrBytes::from(world.name("absent").as_str()), ..topic.clone() };
    let p = Producer::new(world, "add").await;
    let (id, epoch) = p.producer;
    for version in [0, 1, 2, 3] {
        for (case, by, partitions) in [
            ("fine", (id, epoch), vec![(&topic, 0)]),
            ("again", (id, epoch), vec![(&topic, 0)]),
            ("unknown topic", (id, epoch), vec![(&absent, 0)]),
            ("unknown partition", (id, epoch), vec![(&topic, 7)]),
            ("one is unknown", (id, epoch), vec![(&topic, 1), (&absent, 0)]),
            ("newer epoch", (id, epoch + 1), vec![(&topic, 0)]),
            ("older epoch", (id, epoch - 1), vec![(&topic, 0)]),
            ("another id", (id + 100_000, epoch), vec![(&topic, 0)]),
        ] {
            let mut codes: Vec<_> = p.add(by, &partitions, version).await.iter().map(ToString::to_string).collect();
            codes.sort();
            t.say(format!("v{version}, {case}"), codes.join(" "));
        }
        let none = p.end((id, epoch), false, 3).await;
        t.say(format!("v{version}, abort"), none.error_code);
    }
    let stranger = Producer { world, id: world.name("stranger").as_str().into(), node: 0, producer: (1, 0) };
    let stranger = Producer { node: world.coordinator(&stranger.id, 1).await, ..stranger };
    let codes = stranger.add((1, 0), &[(&topic, 0)], 3).await;
    t.say("unknown transactional id", codes[0]);
    t.say("unknown transactional id ends", stranger.end((1, 0), true, 3).await.error_code);
    for (case, by, group) in
        [("fine", (id, epoch), "g"), ("fenced", (id, epoch - 1), "g"), ("empty group", (id, epoch), "")]
    {
        for version in world.each::<AddOffsetsToTxnRequest>(&[0, 2]) {
            let request = AddOffsetsToTxnRequest {
                transactional_id: p.id.clone(),
                producer_id: by.0,
                producer_epoch: by.1,
                group_id: if group.is_empty() { group.into() } else { world.name(group).as_str().into() },
            };
            let code = world.until("answer", async || {
                let code = world.ask(p.node, &request, version).await.error_code;
                (code != ErrorCode::CONCURRENT_TRANSACTIONS).then_some(code)
            });
            t.say(format!("offsets v{version}, {case}"), code.await);
        }
    }
    p.end((id, epoch), false, 3).await;
}

async fn end(world: &World, t: &mut Transcript) {
    let topic = world.topic("ended", 1, 1, &[]).await;
    let p = Producer::new(world, "end").await;
    let (id, epoch) = p.producer;
    for version in [0, 1, 2, 4] {
        t.say(format!("v{version}, nothing open, commit"), p.end((id, epoch), true, version).await.error_code);
        t.say(format!("v{version}, nothing open, abort"), p.end((id, epoch), false, version).await.error_code);
        for commit in [true, false] {
            p.add((id, epoch), &[(&topic, 0)], 3).await;
            for (case, by) in
                [("older", (id, epoch - 1)), ("newer", (id, epoch + 1)), ("another", (id + 100_000, epoch))]
            {
                let answer = p.end(by, commit, version).await;
                t.say(format!("v{version}, {case}"), answer.error_code);
            }
            let answer = p.end((id, epoch), commit, version).await;
            t.say(format!("v{version}, commit {commit}"), (answer.error_code).to_string());
            t.say(format!("v{version}, again"), p.end((id, epoch), commit, version).await.error_code);
            t.say(format!("v{version}, the other way"), p.end((id, epoch), !commit, version).await.error_code);
        }
    }
    let end = world.until("last marker", async || {
        let end = world.offset(&topic, 0, -1, false).await.offset;
        (end == 8).then_some(end)
    });
    t.say("markers", end.await);
    // An InitProducerId aborts what is open, under another epoch.
    p.add((id, epoch), &[(&topic, 0)], 3).await;
    p.write((id, epoch), 0, &topic, 0, 1).await;
    let next = p.init((-1, -1), 60_000, 4).await;
    t.say("init while open", given(&next, id));
    world.ends_at(&topic, 0, 10, true).await;
    t.say("the old one", p.end((id, epoch), true, 4).await.error_code);
    t.say("the old one writes", p.write((id, epoch), 1, &topic, 0, 1).await);
    t.say("the old one adds", p.add((id, epoch), &[(&topic, 0)], 3).await[0]);
}

async fn write(world: &World, t: &mut Transcript) {
    let topic = world.topic("written", 2, 1, &[]).await;
    let p = Producer::new(world, "write").await;
    let (id, epoch) = p.producer;
    for version in [3, 10, 11] {
        t.say(format!("v{version}, nothing open"), p.write_at((id, epoch), 0, &topic, 0, 1, version).await);
    }
    p.add((id, epoch), &[(&topic, 0)], 3).await;
    t.say("added", p.write((id, epoch), 0, &topic, 0, 2).await);
    t.say("again", p.write((id, epoch), 0, &topic, 0, 2).await);
    t.say("not added", p.write((id, epoch), 0, &topic, 1, 1).await);
    t.say("a gap", p.write((id, epoch), 5, &topic, 0, 1).await);
    let bytes = batch(by(id, epoch, 2), world.t0, 1);
    t.say("not of the transaction", produced(world, &world.produce(&topic, 0, &bytes).await));
    let bytes = transactional(&batch(by(id, epoch, 2), world.t0, 1));
    let stranger = produce_request(&topic, 0, &bytes, Some(&world.name("no-such-id")), -1);
    let answer = world.ask(topic.leaders[0], &stranger, 11).await;
    t.say("under an unknown id", produced(world, &answer.responses[0].partition_responses[0]));
    let nobody = produce_request(&topic, 0, &bytes, None, -1);
    let answer = world.ask(topic.leaders[0], &nobody, 11).await;
    t.say("under no id", produced(world, &answer.responses[0].partition_responses[0]));
    if world.checks_epochs() {
        t.say("newer epoch", p.write((id, epoch + 1), 0, &topic, 0, 1).await);
    }
    t.say("commit", p.end((id, epoch), true, 3).await.error_code);
    world
        .until("end of the transaction", async || {
            let (seen, stable) = (world.offset(&topic, 0, -1, false).await, world.offset(&topic, 0, -1, true).await);
            (seen.offset == stable.offset).then_some(())
        })
        .await;
    t.say("after the end", p.write((id, epoch), 3, &topic, 0, 1).await);
    t.say("end", world.offset(&topic, 0, -1, true).await.offset);
}

async fn read(world: &World, t: &mut Transcript) {
    let topic = world.topic("isolated", 1, 1, &[]).await;
    let (a, b) = (Producer::new(world, "read-a").await, Producer::new(world, "read-b").await);
    let look = async |t: &mut Transcript, step: &str| {
        for isolation_level in [0, 1] {
            for offset in [0, 2, 5, 8] {
                for version in world.each::<FetchRequest>(&[4, 11]).into_iter().take(2) {
                    let request = FetchRequest { isolation_level, ..request(&topic, vec![asked(0, offset)]) };
                    let answer = world.ask(topic.leaders[0], &request, version).await;
                    let said = fetched(&answer.responses[0].partitions[0]);
                    t.say(format!("{step}: v{version} isolation {isolation_level} from {offset}"), said);
                }
            }
            let latest = world.offset(&topic, 0, -1, isolation_level == 1).await;
            let by_time = world.offset(&topic, 0, world.t0, isolation_level == 1).await;
            t.say(
                format!("{step}: latest, isolation {isolation_level}"),
                format!("{} {}", latest.offset, by_time.offset),
            );
        }
    };
    world.produce(&topic, 0, &plain(world.t0, 2)).await;
    a.add(a.producer, &[(&topic, 0)], 3).await;
    a.write(a.producer, 0, &topic, 0, 2).await;
    b.add(b.producer, &[(&topic, 0)], 3).await;
    b.write(b.producer, 0, &topic, 0, 1).await;
    world.produce(&topic, 0, &plain(world.t0, 1)).await;
    look(t, "two open").await;
    b.end(b.producer, true, 3).await;
    world.ends_at(&topic, 0, 7, false).await;
    look(t, "one committed").await;
    a.end(a.producer, false, 3).await;
    world.ends_at(&topic, 0, 8, true).await;
    look(t, "one aborted").await;
}

async fn offsets(world: &World, t: &mut Transcript) {
    let topic = world.topic("offsets", 2, 1, &[]).await;
    let p = Producer::new(world, "offsets").await;
    let (id, epoch) = p.producer;
    let group = StrBytes::from(world.name("transactional-group").as_str());
    let node = world.coordinator(&group, 0).await;
    let commit = async |by: (i64, i16), offset: i64, generation: i32, version: i16| {
        let partition = |index| txn_offset_commit::RequestPartition {
            partition_index: index,
            committed_offset: offset,
            ..Default::default()
        };
        let topics = vec![txn_offset_commit::RequestTopic {
            name: topic.name.clone(),
            partitions: vec![partition(0), partition(9)],
        }];
        let request = TxnOffsetCommitRequest {
            transactional_id: p.id.clone(),
            group_id: group.clone(),
            producer_id: by.0,
            producer_epoch: by.1,
            generation_id: generation,
            topics,
            ..Default::default()
        };
        world
            .until("answer", async || {
                let answer = world.ask(node, &request, version).await;
                let mut partitions = answer.topics[0].partitions.clone();
                partitions.sort_by_key(|p| p.partition_index);
                let codes: Vec<_> = partitions.iter().map(|p| p.error_code).collect();
                let busy = [ErrorCode::CONCURRENT_TRANSACTIONS, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS];
                (!codes.iter().any(|c| busy.contains(c))).then(|| format!("{codes:?}"))
            })
            .await
    };
    let look = async |t: &mut Transcript, step: &str| {
        for stable in [false, true] {
            for version in world.each::<OffsetFetchRequest>(&[7, 8]) {
                let request = fetch_request(&group, Some((&topic, &[0, 1])), version, stable);
                let answer = world.ask(node, &request, version).await;
                t.say(format!("{step}: v{version}, stable {stable}"), offsets_fetched(&answer));
            }
        }
    };
    t.say("not added", commit((id, epoch), 3, -1, 3).await);
    for (commits, offset) in [(true, 5), (false, 8)] {
        let add = AddOffsetsToTxnRequest {
            transactional_id: p.id.clone(),
            producer_id: id,
            producer_epoch: epoch,
            group_id: group.clone(),
        };
        let added = world.until("group in the transaction", async || {
            let code = world.ask(p.node, &add, 3).await.error_code;
            (code != ErrorCode::CONCURRENT_TRANSACTIONS).then_some(code)
        });
        t.say(format!("add {commits}"), added.await);
        t.say(format!("commit {offset}"), commit((id, epoch), offset, -1, 3).await);
        t.say(format!("commit {offset}, old version"), commit((id, epoch), offset, -1, 0).await);
        if world.checks_epochs() {
            t.say(format!("commit {offset}, older epoch"), commit((id, epoch - 1), offset, -1, 3).await);
            t.say(format!("commit {offset}, newer epoch"), commit((id, epoch + 1), offset, -1, 3).await);
        }
        t.say(format!("commit {offset}, a generation"), commit((id, epoch), offset, 4, 3).await);
        look(t, &format!("open, {offset}")).await;
        p.end((id, epoch), commits, 3).await;
        world
            .until("settled offsets", async || {
                let request = fetch_request(&group, Some((&topic, &[0])), 8, true);
                let answer = world.ask(node, &request, 8).await;
                (!offsets_fetched(&answer).contains("UNSTABLE")).then_some(())
            })
            .await;
        look(t, &format!("ended, {offset}")).await;
    }
}
