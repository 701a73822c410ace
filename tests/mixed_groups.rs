//! Groups that our members share with those of Java, librdkafka and sarama, ours as leader and as follower: at each stable
//! point every partition has one owner, who is the one that gets its messages; and members come and leave in order without
//! a message lost or handled twice.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod clients;
mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use clients::member::{Client, ForeignMember};
use common::check::{self, Lane};
use common::log::{HandlerLog, What};
use common::ours::{self, Load};
use common::{KAFKA_3, KAFKA_4, eventually, tools, unique, within};
use dispatcher::{Assignor, Dispatcher, Message, Order, Subscription};
use dispatcher_testcontainers::{Kafka, SharedKafka};

/// Shares are uneven for two and for three members.
const PARTITIONS: i32 = 13;
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Ours,
    Of(Client),
}

use Client::{Java, Librdkafka, Sarama};
use Who::{Of, Ours};

#[tokio::test(flavor = "multi_thread")]
async fn we_lead_a_group_of_java_and_librdkafka_with_range() {
    we_lead(KAFKA_4, "range", Java, Librdkafka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_follow_in_a_group_of_java_and_librdkafka_with_range() {
    we_follow(KAFKA_4, "range", Java, Librdkafka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_lead_a_group_of_java_with_sticky() {
    we_lead(KAFKA_4, "sticky", Java, Java).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_follow_in_a_group_of_java_with_sticky() {
    we_follow(KAFKA_4, "sticky", Java, Java).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_lead_a_group_of_java_and_librdkafka_with_cooperative_sticky() {
    we_lead(KAFKA_4, "cooperative-sticky", Java, Librdkafka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_follow_in_a_group_of_java_and_librdkafka_with_cooperative_sticky() {
    we_follow(KAFKA_4, "cooperative-sticky", Java, Librdkafka).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_lead_a_group_of_the_go_dispatchers_sarama() {
    we_lead(KAFKA_3, "range", Sarama, Sarama).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_follow_in_a_group_of_the_go_dispatchers_sarama() {
    we_follow(KAFKA_3, "range", Sarama, Sarama).await;
}

/// We join first, so that we lead, and leave first, so that one of the others has to.
async fn we_lead(version: &str, assignor: &str, one: Client, another: Client) {
    mixed(version, assignor, &[Ours, Of(one), Of(another)], &[0, 1, 2]).await;
}

/// One of us leaves while another client leads; the other stays when that one leaves, and when everybody has left.
async fn we_follow(version: &str, assignor: &str, leader: Client, another: Client) {
    mixed(version, assignor, &[Of(leader), Ours, Of(another), Ours], &[1, 0, 2, 3]).await;
}

/// Members join one after the other, so that the first one leads, and leave one after the other.
async fn mixed(version: &str, assignor: &str, members: &[Who], leaving: &[usize]) {
    let foreign = members.iter().filter_map(|who| if let Of(client) = who { Some(client) } else { None });
    let foreign: BTreeSet<_> = foreign.collect();
    if foreign.into_iter().any(|client| client.program_or_skip().is_none()) {
        return;
    }
    let Some(kafka) = Kafka::builder().version(version).shared_or_skip() else { return };
    let mut group = MixedGroup::new(&kafka, assignor).await;
    let load = Load::start(group.dispatcher.clone(), &group.topic, 1_000, Duration::from_millis(80));
    for who in members {
        group.join(*who).await;
        assert!(group.leader().is_none_or(|leader| is_of(&leader, 0)));
    }
    group.ask_kafkas_own_tool().await;
    let (last, leaving) = leaving.split_last().unwrap();
    for joined in leaving {
        group.leaves(*joined).await;
    }
    let sent = load.finish().await;
    assert!(sent.failed.is_empty(), "{:?}", sent.failed.first());
    let all_handled = async || {
        let handled = check::finished(&group.logs);
        sent.places.iter().all(|place| handled.contains_key(place))
    };
    eventually("every acknowledged message is handled", LIMIT, all_handled).await;
    group.leaves(*last).await;
    assert_eq!(ours::lag(&group.dispatcher, &group.topic, &group.id).await, 0, "everything handled is committed");

    check::no_loss(sent.places.iter().copied(), &group.logs);
    check::no_doubles(&group.logs);
    assert_eq!(check::finished(&group.logs).len(), sent.places.len());
    check::lanes_keep_order(Lane::Key, false, &group.logs_of_ours);
    println!("{assignor} {members:?}: {} messages; {}", sent.places.len(), group.history.join("; "));
}

/// The partitions of each client id.
type Owners = BTreeMap<String, BTreeSet<i32>>;

enum Member {
    Ours(Subscription),
    Foreign(ForeignMember),
}

struct MixedGroup<'a> {
    kafka: &'a SharedKafka,
    dispatcher: Dispatcher,
    topic: String,
    id: String,
    assignor: String,
    /// By client id, whose order is that of joining.
    members: BTreeMap<String, Member>,
    /// At the last stable point.
    owners: Owners,
    /// In the order of joining; those of former members too.
    logs: Vec<HandlerLog>,
    logs_of_ours: Vec<HandlerLog>,
    history: Vec<String>,
}

impl<'a> MixedGroup<'a> {
    async fn new(kafka: &'a SharedKafka, assignor: &str) -> Self {
        let (topic, id) = (unique("mixed"), unique("mixed"));
        let dispatcher = ours::connect(kafka.bootstrap()).await;
        dispatcher.create_topics([topic.as_str()]).partitions(PARTITIONS).replicas(1).await.unwrap();
        Self {
            kafka,
            dispatcher,
            topic,
            id,
            assignor: assignor.to_owned(),
            members: BTreeMap::new(),
            owners: Owners::new(),
            logs: Vec::new(),
            logs_of_ours: Vec::new(),
            history: Vec::new(),
        }
    }

    async fn join(&mut self, who: Who) {
        let name = if let Of(client) = who { format!("{client:?}") } else { "ours".to_owned() };
        let client_id = format!("{}-{name}", self.logs.len());
        let (member, log) = match who {
            Ours => {
                let log = HandlerLog::new();
                self.logs_of_ours.push(log.clone());
                (Member::Ours(self.join_ours(&client_id, log.clone()).await), log)
            }
            Of(client) => {
                let (topic, group) = (&self.topic, &self.id);
                let member =
                    ForeignMember::start(client, self.kafka.bootstrap(), topic, group, &client_id, &self.assignor);
                let log = member.log.clone();
                (Member::Foreign(member), log)
            }
        };
        self.logs.push(log);
        self.members.insert(client_id.clone(), member);
        self.settles(&format!("{client_id} joins")).await;
    }

    async fn join_ours(&self, client_id: &str, log: HandlerLog) -> Subscription {
        let dispatcher = Dispatcher::builder(self.kafka.bootstrap().split(','))
            .client_id(client_id)
            .session_timeout(Duration::from_secs(10))
            .heartbeat_interval(Duration::from_millis(300));
        let dispatcher = dispatcher.connect().await.unwrap();
        let handler = move |message: Message| {
            let log = log.clone();
            async move {
                let (partition, offset, key) = (message.partition(), message.offset(), message.key());
                log.record(What::Start, partition, offset, key, &[]);
                tokio::time::sleep(Duration::from_millis(5)).await;
                log.record(What::Done, partition, offset, key, &[]);
                Ok::<_, std::io::Error>(())
            }
        };
        let subscribe = dispatcher.subscribe(self.topic.as_str(), handler).group_exact(self.id.as_str());
        let subscribe = match self.assignor.as_str() {
            // What we send unasked is what the others must be able to read.
            "range" => subscribe,
            "sticky" => subscribe.assignors([Assignor::Sticky]),
            "cooperative-sticky" => subscribe.assignors([Assignor::CooperativeSticky]),
            other => panic!("no assignor {other}"),
        };
        subscribe.order(Order::Key).concurrency(8).start().await.unwrap()
    }

    /// The member that joined as this one leaves in order. Who leads goes on to lead, unless it is the one.
    async fn leaves(&mut self, joined: usize) {
        let leader = self.leader();
        let client_id = self.members.keys().find(|client_id| is_of(client_id, joined)).unwrap().clone();
        let member = self.members.remove(&client_id).unwrap();
        match member {
            Member::Ours(subscription) => {
                let stopped = within(LIMIT, "stop()", subscription.stop()).await.unwrap();
                assert_eq!(stopped.unfinished(), 0);
            }
            Member::Foreign(mut member) => tokio::task::block_in_place(|| member.stop()),
        }
        if !self.members.is_empty() {
            self.settles(&format!("{client_id} leaves")).await;
            assert!(leader.is_none_or(|leader| leader == client_id || self.leader() == Some(leader)));
        }
    }

    /// Waits until every partition has one owner by all accounts: the coordinator's, the members', and the messages'.
    async fn settles(&mut self, after: &str) {
        let begun = Instant::now();
        let mut owners = Owners::new();
        loop {
            let described = self.dispatcher.describe_group(&self.id).await.unwrap();
            owners.clear();
            for member in described.members() {
                let partitions = member.partitions().iter().map(|(_, partition)| *partition);
                owners.insert(member.client_id().to_owned(), partitions.collect::<BTreeSet<_>>());
            }
            let stable = described.state() == "Stable" && described.members().len() == self.members.len();
            let dealt: Vec<_> = owners.values().flatten().collect();
            let doubled = dealt.len() > dealt.iter().collect::<BTreeSet<_>>().len();
            assert!(!stable || !doubled, "a partition has two owners: {owners:?}");
            let agreed = self.members_agree(&owners);
            if stable && agreed && dealt.len() == PARTITIONS as usize {
                break;
            }
            assert!(begun.elapsed() < LIMIT, "not settled: {} with {owners:?}", described.state());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = begun.elapsed().as_secs_f64();
        let leader = self.leader().unwrap_or_default();
        self.history.push(format!("{after}, {took:.1} s, led by {leader}"));
        let fair = PARTITIONS as usize / self.members.len();
        assert!(owners.values().all(|of| (fair..=fair + 1).contains(&of.len())), "the shares are uneven: {owners:?}");
        self.messages_reach(&owners).await;
        if self.assignor.ends_with("sticky") {
            self.only_what_must_has_moved(&owners);
        }
        self.owners = owners;
    }

    /// Partitions change hands only to a member that came or from one that left; the others are not interrupted, unless
    /// everybody has to give up everything.
    fn only_what_must_has_moved(&mut self, owners: &Owners) {
        for (client_id, now) in owners {
            let Some(before) = self.owners.get(client_id) else { continue };
            for (other, had) in
                self.owners.iter().filter(|(other, _)| *other != client_id && owners.contains_key(*other))
            {
                assert!(
                    now.is_disjoint(had),
                    "{client_id} has got some of {other}'s: {:?} became {owners:?}",
                    self.owners
                );
            }
            let cooperative = self.assignor == "cooperative-sticky";
            if let Some(Member::Foreign(member)) = self.members.get_mut(client_id).filter(|_| cooperative) {
                let (kept, revoked) = (before & now, member.take_revoked());
                assert!(kept.is_disjoint(&revoked), "{client_id} kept {kept:?}, and was told to give up {revoked:?}");
            }
        }
    }

    fn members_agree(&mut self, owners: &Owners) -> bool {
        let mut agree = true;
        for (client_id, member) in &mut self.members {
            agree &= match member {
                Member::Ours(subscription) => {
                    assert!(!subscription.is_ended(), "{client_id} has ended");
                    owners.contains_key(client_id)
                }
                Member::Foreign(member) => owners.get(client_id) == Some(&member.owned()),
            };
        }
        agree
    }

    /// From now on every partition's messages come to its owner, and to nobody else.
    async fn messages_reach(&self, owners: &Owners) {
        let marks: Vec<_> = self.logs.iter().map(HandlerLog::len).collect();
        let since = || -> Vec<BTreeSet<i32>> {
            let logs = self.logs.iter().zip(&marks);
            logs.map(|(log, mark)| log.events()[*mark..].iter().map(|event| event.partition).collect()).collect()
        };
        let flows = async || since().iter().flatten().collect::<BTreeSet<_>>().len() == PARTITIONS as usize;
        eventually("every partition's messages flow", LIMIT, flows).await;
        for (joined, partitions) in since().into_iter().enumerate() {
            let owner = owners.iter().find(|(client_id, _)| is_of(client_id, joined));
            let owned = owner.map(|(_, owned)| owned.clone()).unwrap_or_default();
            assert!(partitions.is_subset(&owned), "member {joined} handles {partitions:?} and owns {owned:?}");
        }
    }

    /// The leader's client id, by the broker's log, where that can be read.
    fn leader(&self) -> Option<String> {
        let dir = self.kafka.data_dirs().first()?;
        let log = String::from_utf8_lossy(&std::fs::read(dir.with_extension("log")).ok()?).into_owned();
        let of_group = format!(" for group {} ", self.id);
        let assignment =
            log.lines().rfind(|line| line.contains("Assignment received from leader") && line.contains(&of_group));
        let member_id = assignment?.split("from leader ").nth(1)?.split_once(&of_group)?.0;
        Some(self.members.keys().find(|client_id| member_id.starts_with(*client_id))?.clone())
    }

    async fn ask_kafkas_own_tool(&self) {
        let status = self.dispatcher.consume_status_exact(&self.topic, &self.id).await.unwrap();
        let told =
            tokio::task::block_in_place(|| tools::describe_group(self.kafka.tools(), self.kafka.bootstrap(), &self.id));
        let theirs: BTreeMap<_, _> = told.iter().map(|line| (line.partition, line.consumer.as_deref())).collect();
        let ours: BTreeMap<_, _> = status.partitions().iter().map(|p| (p.partition(), p.member_id())).collect();
        assert_eq!(ours, theirs);
        assert_eq!(told.len(), PARTITIONS as usize);
    }
}

fn is_of(client_id: &str, joined: usize) -> bool {
    client_id.split('-').next() == Some(&joined.to_string())
}
