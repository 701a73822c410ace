//! Schedules that are not drawn but written: scenarios of the design that need their own shape.

use std::time::Duration;

use dispatcher::embedded::{Api, Fault, KafkaVersion};
use dispatcher::{Assignor, Compression, OnFailure, Order};

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
    ("twelve_cooperative_members_come_and_go_over_eighty_partitions", cooperative_storm),
    ("four_members_restart_one_after_another_twenty_times_over", eager_restarts),
    ("four_cooperative_members_restart_one_after_another_twenty_times_over", cooperative_restarts),
    ("members_die_while_joining_syncing_in_heartbeats_and_in_commits", deaths_in_requests),
    ("handlers_outlast_sessions_and_rebalances", slow_handlers),
    ("static_members_restart_unseen_by_the_others", static_restarts),
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
    plan.pauses.clear();
    (plan.group.assignors, plan.group.other_assignors) = (vec![Assignor::Range], None);
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
        receipts: None,
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
    // One of twelve comes or goes every second.
    let mut plan = quiet(5, seconds(120));
    (plan.partitions, plan.group.session_timeout, plan.rebalance_delay) = (80, seconds(6), Duration::ZERO);
    let (mut dice, mut at) = (Dice::new(5, "storm"), seconds(1));
    let mut began: [Option<Duration>; 12] = [Some(seconds(0)); 12];
    let mut rows = vec![Vec::new(); 12];
    while at < plan.until {
        let slot = dice.size(0..=11);
        match began[slot].take() {
            None => began[slot] = Some(at),
            Some(from) => {
                let end = if dice.chance(0.1) { End::Kill } else { dice.pick(&[End::Stop, End::Stop, End::Drop]) };
                rows[slot].push(LifePlan { slot: slot as u32, from, to: at, end });
            }
        }
        at += dice.ms(500..=1_500);
    }
    for (slot, from) in began.into_iter().enumerate().filter_map(|(slot, from)| Some((slot, from?))) {
        rows[slot].push(LifePlan { slot: slot as u32, from, to: plan.until, end: End::Stop });
    }
    plan.lives = rows;
    plan
}

fn cooperative_storm() -> Plan {
    let mut plan = storm();
    plan.group.assignors = vec![Assignor::CooperativeSticky];
    plan
}

/// Only clean stops, so that nothing at all may be handled twice.
fn restarts(assignor: Assignor) -> Plan {
    let mut plan = quiet(7, seconds(170));
    plan.mood = Mood::Calm;
    plan.partitions = 12;
    plan.group.assignors = vec![assignor];
    (plan.group.slow, plan.group.drain_timeout, plan.group.stop_timeout) = (0, seconds(10), seconds(10));
    plan.senders = vec![sender(plan.until, 10_000)];
    let round = seconds(8);
    let life = |slot, from, to| LifePlan { slot, from, to, end: End::Stop };
    plan.lives = (0..4)
        .map(|slot| {
            let restart = |n: u32| round * n + seconds(2) * slot;
            let first = life(slot, seconds(0), restart(1));
            let again = (1..20).map(|n| life(slot, restart(n) + Duration::from_millis(700), restart(n + 1)));
            [first].into_iter().chain(again).chain([life(slot, restart(20) + seconds(1), plan.until)]).collect()
        })
        .collect();
    plan
}

fn eager_restarts() -> Plan {
    restarts(Assignor::Range)
}

fn cooperative_restarts() -> Plan {
    restarts(Assignor::CooperativeSticky)
}

/// Brokers stall the request in question, and the member that waits for its answer is killed.
fn deaths_in_requests() -> Plan {
    let mut plan = quiet(8, seconds(170));
    plan.group.assignors = vec![Assignor::CooperativeSticky];
    let life = |slot, from, to, end| LifePlan { slot, from: seconds(from), to: seconds(to), end };
    let (mut dying, mut coming) = (Vec::new(), Vec::new());
    for (n, api) in [Api::JoinGroup, Api::SyncGroup, Api::Heartbeat, Api::OffsetCommit].into_iter().enumerate() {
        for (half, offset) in [(0, 0), (1, 20)] {
            let at = 10 + 40 * n as u64 + offset;
            // In the second half it is a newcomer that dies.
            let (row, other) = if half == 0 { (&mut dying, &mut coming) } else { (&mut coming, &mut dying) };
            row.push(life(2 + half, at - 8 * u64::from(half == 0), at + 2, End::Kill));
            other.push(life(3 - half, at, at + 15, End::Stop));
            plan.chaos.push((seconds(at), Chaos::Inject(Fault::on(api).times(3).delay(seconds(4)))));
        }
    }
    plan.chaos.sort_by_key(|(at, _)| *at);
    plan.lives.extend([dying, coming]);
    plan
}

/// Nobody is expelled for a slow handler, and what it finishes after its partition went changes nothing.
fn slow_handlers() -> Plan {
    let mut plan = quiet(9, seconds(240));
    plan.group.assignors = vec![Assignor::CooperativeSticky];
    (plan.group.slow, plan.group.slow_for, plan.group.session_timeout) = (30, seconds(100), seconds(6));
    (plan.group.drain_timeout, plan.group.stop_timeout) = (seconds(1), seconds(1));
    let life = |from, to| LifePlan { slot: 2, from: seconds(from), to: seconds(to), end: End::Stop };
    plan.lives.push((0..5).map(|n| life(20 + 40 * n, 40 + 40 * n)).collect());
    plan
}

/// Killed and stopped, and back within the session.
fn static_restarts() -> Plan {
    let mut plan = quiet(10, seconds(100));
    plan.group.static_members = true;
    plan.group.session_timeout = seconds(15);
    plan.undisturbed = Some((2, seconds(10)));
    let life = |from, to, end| LifePlan { slot: 2, from: seconds(from), to: seconds(to), end };
    let ends = [End::Kill, End::Stop, End::Kill, End::Stop];
    plan.lives
        .push((0..4).map(|n| life(20 * n, 20 * n + 16, ends[n as usize])).chain([life(80, 100, End::Stop)]).collect());
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
