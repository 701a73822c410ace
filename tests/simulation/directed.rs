//! Schedules that are not drawn but written: scenarios of the design that need their own shape.

use std::time::Duration;

use dispatcher::embedded::{Fault, KafkaVersion};
use dispatcher::{Compression, OnFailure, Order};

use crate::chaos::Chaos;
use crate::dice::Dice;
use crate::plan::{End, LifePlan, Mood, Plan, SenderPlan};

/// A name and its schedule.
pub(crate) type Directed = (&'static str, fn() -> Plan);

pub(crate) const ALL: &[Directed] = &[
    ("a_partitions_leader_dies_five_times", leaders_die),
    ("a_client_is_cut_off_for_a_minute", cut_off),
    ("a_broker_is_slow_and_then_stands_still", slow_broker),
    ("every_connection_dies_within_seconds", connections_die),
    ("twelve_members_come_and_go_over_eighty_partitions", storm),
    ("wall_clocks_jump", clocks_jump),
];

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Three brokers, two members, a steady sender, nothing wrong.
fn quiet(seed: u64, until: Duration) -> Plan {
    let mut plan = Plan::draw(seed);
    plan.mood = Mood::Mild;
    plan.version = KafkaVersion::V4_2;
    (plan.brokers, plan.partitions, plan.compacted) = (3, 6, false);
    plan.until = until;
    plan.chaos.clear();
    let group = &mut plan.group;
    (group.order, group.concurrency, group.on_failure) = (Order::Key, 16, OnFailure::Skip);
    (group.failing, group.slow, group.usual, group.handler_timeout) = (0, 10, Duration::from_millis(10), None);
    (group.skip_existing, group.static_members, group.max_held) = (false, false, 10_000);
    (group.slow_for, group.session_timeout) = (seconds(2), seconds(10));
    (group.fetch_memory, group.request_timeout) = (64 << 20, seconds(5));
    plan.lives = (0..2).map(|slot| vec![LifePlan { slot, from: seconds(0), to: until, end: End::Stop }]).collect();
    plan.senders = vec![sender(until, 1_000)];
    plan
}

/// Spreads so many messages over the time.
fn sender(until: Duration, count: u32) -> SenderPlan {
    SenderPlan {
        from: seconds(1),
        count,
        pause: (until - seconds(1)) * 2 / count,
        burst: 10,
        keys: 100,
        padding: 50,
        compression: Compression::None,
        batch_size: 5_000,
        linger: Duration::ZERO,
        delivery_timeout: seconds(60),
        request_timeout: seconds(5),
        max_block: seconds(60),
        buffer_memory: 64 << 20,
        killed_at: None,
        impatient: 0.0,
    }
}

/// Thousands of messages between one death and the next.
fn leaders_die() -> Plan {
    let mut plan = quiet(1, seconds(60));
    plan.senders = vec![sender(plan.until, 36_000)];
    plan.chaos = (1..=5).map(|n| (seconds(10 * n), Chaos::StopLeader(0, seconds(4)))).collect();
    plan
}

/// The network swallows everything, old connections and new ones.
fn cut_off() -> Plan {
    let mut plan = quiet(2, seconds(90));
    plan.chaos = vec![(seconds(10), Chaos::Inject(Fault::on_any().always().silence())), (seconds(70), Chaos::Mend)];
    plan
}

/// 100 ms for each request, and later 30 s for one.
fn slow_broker() -> Plan {
    let mut plan = quiet(3, seconds(80));
    plan.chaos = vec![
        (seconds(5), Chaos::Inject(Fault::on_any().broker(1).always().delay(Duration::from_millis(100)))),
        (seconds(25), Chaos::Mend),
        (seconds(30), Chaos::Inject(Fault::on_any().broker(1).times(20).delay(seconds(30)))),
    ];
    plan
}

fn connections_die() -> Plan {
    let mut plan = quiet(4, seconds(65));
    let (mut dice, mut at) = (Dice::new(4, "cuts"), seconds(2));
    while at < seconds(62) {
        plan.chaos.push((at, Chaos::Cut(None)));
        at += dice.ms(500..=1_500);
    }
    plan
}

fn storm() -> Plan {
    let mut plan = quiet(5, seconds(45));
    plan.partitions = 80;
    let mut dice = Dice::new(5, "storm");
    plan.lives.clear();
    for slot in 0..12 {
        let (mut row, mut at) = (Vec::new(), dice.ms(0..=2_000));
        while at < plan.until {
            let to = (at + dice.ms(500..=6_000)).min(plan.until);
            row.push(LifePlan { slot, from: at, to, end: dice.pick(&[End::Stop, End::Stop, End::Kill, End::Drop]) });
            at = to + dice.ms(0..=1_000);
        }
        plan.lives.push(row);
    }
    plan
}

fn clocks_jump() -> Plan {
    let mut plan = quiet(6, seconds(30));
    for (n, ms) in [3_600_000, -7_200_000, 86_400_000, -86_400_000].into_iter().enumerate() {
        plan.chaos.push((seconds(5 + 5 * n as u64), Chaos::ShiftClock(n as u32 % 3, ms)));
    }
    plan.chaos.push((seconds(28), Chaos::ShiftClock(2, -604_800_000)));
    plan
}
