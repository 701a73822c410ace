//! What goes wrong in a run: the kinds of trouble, how they are drawn, and how they are made.

use std::time::Duration;

use dispatcher::embedded::{Api, ErrorCode, Fault, Rule};

use crate::dice::Dice;
use crate::world::Ctx;

#[derive(Debug, Clone)]
pub(crate) enum Chaos {
    Inject(Fault),
    StopBroker(i32, Duration),
    MoveLeader(i32, i32),
    MoveCoordinator(i32),
    Cut(Option<i32>),
    ChangeAddresses,
    PauseReplication(i32, Duration),
    AddPartition,
    /// Deletes this many percent of what is in a partition.
    DeleteRecords(i32, u64),
    Compact,
    /// The topic is deleted and made again.
    Recreate,
    ShiftClock(u32, i64),
    /// The leader of a partition stops, whoever that is.
    StopLeader(i32, Duration),
    /// All faults end, and so do the connections they may have silenced.
    Mend,
}

/// The longest that a broker makes a client wait.
const MAX_THROTTLE: Duration = Duration::from_secs(2);

/// What of the plan trouble must know.
pub(crate) struct Shape {
    pub(crate) brokers: i32,
    pub(crate) partitions: i32,
    pub(crate) compacted: bool,
    pub(crate) members: u32,
    pub(crate) until: Duration,
}

pub(crate) fn draw(d: &mut Dice, shape: &Shape) -> Chaos {
    let broker = d.int(1..=shape.brokers);
    let partition = d.int(0..=shape.partitions - 1);
    match d.number(0..=99) {
        0..35 => Chaos::Inject(error(d, shape)),
        35..60 => Chaos::Inject(mishap(d, shape)),
        60..68 => Chaos::StopBroker(broker, d.ms(100..=15_000).min(shape.until)),
        68..75 => Chaos::MoveLeader(partition, broker),
        75..82 => Chaos::MoveCoordinator(broker),
        82..87 => Chaos::Cut(if d.chance(0.5) { None } else { Some(broker) }),
        87..88 => Chaos::ChangeAddresses,
        88..91 => Chaos::PauseReplication(partition, d.ms(100..=10_000)),
        91..93 => Chaos::AddPartition,
        93..96 if shape.compacted => Chaos::Compact,
        93..96 => Chaos::DeleteRecords(partition, d.number(1..=100)),
        96..97 => Chaos::Recreate,
        _ => Chaos::ShiftClock(d.number(0..=u64::from(shape.members)) as u32, d.int(-100_000..=100_000).into()),
    }
}

/// When, where and how often.
fn rule(d: &mut Dice, rule: Rule, shape: &Shape) -> Rule {
    let rule = if d.chance(0.3) { rule.broker(d.int(1..=shape.brokers)) } else { rule };
    match d.number(0..=3) {
        0 => rule.always().chance(d.pick(&[0.02, 0.1, 0.3])),
        1 => rule.nth(d.number(1..=20)).times(d.number(1..=5)),
        _ => rule.nth(d.number(1..=5)),
    }
}

/// Errors that a broker answers without having done anything, by API.
const BEFORE: &[(Api, &[ErrorCode])] = &[
    (
        Api::Produce,
        &[
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::LEADER_NOT_AVAILABLE,
            ErrorCode::NOT_ENOUGH_REPLICAS,
            ErrorCode::KAFKA_STORAGE_ERROR,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER,
            ErrorCode::UNKNOWN_PRODUCER_ID,
        ],
    ),
    (
        Api::Fetch,
        &[
            ErrorCode::NOT_LEADER_OR_FOLLOWER,
            ErrorCode::FENCED_LEADER_EPOCH,
            ErrorCode::UNKNOWN_LEADER_EPOCH,
            ErrorCode::KAFKA_STORAGE_ERROR,
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
            ErrorCode::INVALID_FETCH_SESSION_EPOCH,
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            ErrorCode::OFFSET_NOT_AVAILABLE,
        ],
    ),
    (
        Api::ListOffsets,
        &[ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::FENCED_LEADER_EPOCH, ErrorCode::OFFSET_NOT_AVAILABLE],
    ),
    (Api::OffsetForLeaderEpoch, &[ErrorCode::NOT_LEADER_OR_FOLLOWER, ErrorCode::FENCED_LEADER_EPOCH]),
    (Api::Metadata, &[ErrorCode::LEADER_NOT_AVAILABLE, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION]),
    (
        Api::FindCoordinator,
        &[ErrorCode::COORDINATOR_NOT_AVAILABLE, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, ErrorCode::NOT_COORDINATOR],
    ),
    (
        Api::JoinGroup,
        &[
            ErrorCode::NOT_COORDINATOR,
            ErrorCode::COORDINATOR_NOT_AVAILABLE,
            ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
            ErrorCode::UNKNOWN_MEMBER_ID,
        ],
    ),
    (Api::SyncGroup, GROUP),
    (Api::Heartbeat, GROUP),
    (Api::OffsetCommit, GROUP),
    (Api::LeaveGroup, &[ErrorCode::NOT_COORDINATOR, ErrorCode::UNKNOWN_MEMBER_ID]),
    (
        Api::OffsetFetch,
        &[ErrorCode::NOT_COORDINATOR, ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, ErrorCode::UNSTABLE_OFFSET_COMMIT],
    ),
    (Api::InitProducerId, &[ErrorCode::COORDINATOR_LOAD_IN_PROGRESS, ErrorCode::COORDINATOR_NOT_AVAILABLE]),
];

const GROUP: &[ErrorCode] = &[
    ErrorCode::NOT_COORDINATOR,
    ErrorCode::COORDINATOR_NOT_AVAILABLE,
    ErrorCode::COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode::REBALANCE_IN_PROGRESS,
    ErrorCode::UNKNOWN_MEMBER_ID,
    ErrorCode::ILLEGAL_GENERATION,
];

/// Errors after which the request may have been carried out all the same.
const AFTER: &[(Api, ErrorCode)] = &[
    (Api::Produce, ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
    (Api::Produce, ErrorCode::REQUEST_TIMED_OUT),
    (Api::Produce, ErrorCode::NOT_LEADER_OR_FOLLOWER),
    (Api::OffsetCommit, ErrorCode::REQUEST_TIMED_OUT),
    (Api::OffsetCommit, ErrorCode::COORDINATOR_NOT_AVAILABLE),
    (Api::InitProducerId, ErrorCode::REQUEST_TIMED_OUT),
];

fn error(d: &mut Dice, shape: &Shape) -> Fault {
    if d.chance(0.2) {
        let (api, code) = d.pick(AFTER);
        return rule(d, Fault::on(api), shape).error_after(code);
    }
    let (api, codes) = d.pick(BEFORE);
    let code = d.pick(codes);
    rule(d, Fault::on(api), shape).error(code)
}

/// APIs whose requests get lost, late or cut.
const APIS: &[Api] = &[
    Api::Produce,
    Api::Produce,
    Api::Fetch,
    Api::Fetch,
    Api::Metadata,
    Api::ListOffsets,
    Api::OffsetCommit,
    Api::OffsetCommit,
    Api::OffsetFetch,
    Api::FindCoordinator,
    Api::JoinGroup,
    Api::SyncGroup,
    Api::Heartbeat,
    Api::LeaveGroup,
    Api::InitProducerId,
    Api::ApiVersions,
];

fn mishap(d: &mut Dice, shape: &Shape) -> Fault {
    let on = if d.chance(0.2) { Fault::on_any() } else { Fault::on(d.pick(APIS)) };
    let rule = rule(d, on, shape);
    match d.number(0..=9) {
        0 => rule.delay(d.ms(1..=5_000)),
        1 => rule.delay_after(d.ms(1..=5_000)),
        2 => rule.drop_before(),
        3..=5 => rule.drop_after(),
        6 => rule.silence(),
        7 => rule.truncate(d.size(0..=200)),
        // A length, a correlation id, or the end of records, which have a checksum: damage that can be seen. TCP lets
        // no other through.
        8 => match d.pick(&[0, 1, 2, 3, 5, 7, usize::MAX, usize::MAX]) {
            usize::MAX => self::rule(d, Fault::on(Api::Fetch), shape).corrupt(usize::MAX),
            byte => rule.corrupt(byte),
        },
        _ => rule.throttle(d.ms(1..=MAX_THROTTLE.as_millis() as u64)),
    }
}

/// Makes the trouble of the plan, each at its time, and puts everything in order at the end.
pub(crate) async fn reign(ctx: &Ctx) {
    for (at, chaos) in &ctx.plan.chaos {
        ctx.until(*at).await;
        ctx.log(|| format!("chaos: {chaos:?}"));
        make(ctx, chaos).await;
    }
    ctx.until(ctx.plan.until).await;
    ctx.cluster.clear_faults();
    for id in 1..=ctx.plan.brokers {
        let _running = ctx.cluster.start_broker(id).await;
    }
    for partition in 0..ctx.partitions() {
        ctx.cluster.resume_replication(ctx.topic(), partition);
    }
    ctx.log(|| "the trouble ends".into());
}

async fn make(ctx: &Ctx, chaos: &Chaos) {
    let (cluster, topic) = (&ctx.cluster, ctx.topic());
    match *chaos {
        Chaos::Inject(ref fault) => cluster.inject(fault.clone()),
        Chaos::StopBroker(id, time) => stop(ctx, id, time),
        Chaos::StopLeader(partition, time) => {
            if let Some(id) = cluster.leader(topic, partition) {
                stop(ctx, id, time);
            }
        }
        Chaos::Mend => {
            cluster.clear_faults();
            cluster.cut_connections(None);
        }
        Chaos::MoveLeader(partition, to) => {
            cluster.move_leader(topic, partition, to);
        }
        Chaos::MoveCoordinator(to) => {
            cluster.move_coordinator(ctx.group(), to);
        }
        Chaos::Cut(broker) => cluster.cut_connections(broker),
        Chaos::ChangeAddresses => {
            let _port = cluster.change_addresses().await;
        }
        Chaos::PauseReplication(partition, time) => {
            cluster.pause_replication(topic, partition);
            let (cluster, topic) = (cluster.clone(), topic.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(time).await;
                cluster.resume_replication(&topic, partition);
            });
        }
        Chaos::AddPartition => {
            let _exists = cluster.add_partitions(topic, ctx.partitions() + 1);
        }
        Chaos::DeleteRecords(partition, percent) => {
            let Some(p) = cluster.partition(topic, partition) else { return };
            let before = p.log_start + (p.high_watermark - p.log_start) * percent as i64 / 100;
            ctx.losing(|| {
                cluster.delete_records(topic, partition, before);
            });
        }
        Chaos::Compact => ctx.losing(|| cluster.compact(topic)),
        Chaos::Recreate => {
            ctx.losing(|| {
                cluster.delete_topic(topic);
            });
            ctx.world().recreated();
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _exists = cluster.create_topic(topic, ctx.plan.partitions, &[]);
        }
        Chaos::ShiftClock(slot, ms) => ctx.world().shift_clock(slot, ms),
    }
}

fn stop(ctx: &Ctx, id: i32, time: Duration) {
    if ctx.cluster.stop_broker(id) {
        let cluster = ctx.cluster.clone();
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            let _running = cluster.start_broker(id).await;
        });
    }
}
