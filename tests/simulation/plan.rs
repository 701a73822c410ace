//! A schedule: all that is decided about a run before it begins, drawn from its seed.

use std::time::Duration;

use dispatcher::embedded::KafkaVersion;
use dispatcher::{Assignor, Compression, OnFailure, Order};

use crate::chaos::{Chaos, draw};
use crate::dice::Dice;

/// How rough a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// No faults and no crashes: members come and go in good order, so that nothing at all may be handled twice.
    Calm,
    /// Members crash; few faults.
    Mild,
    /// Everything.
    Wild,
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) mood: Mood,
    pub(crate) version: KafkaVersion,
    pub(crate) brokers: i32,
    pub(crate) partitions: i32,
    pub(crate) compacted: bool,
    pub(crate) rebalance_delay: Duration,
    /// When trouble ends.
    pub(crate) until: Duration,
    pub(crate) group: GroupPlan,
    pub(crate) senders: Vec<SenderPlan>,
    /// Each row one after another, beside the other rows.
    pub(crate) lives: Vec<Vec<LifePlan>>,
    pub(crate) chaos: Vec<(Duration, Chaos)>,
    /// Members by slot, from when, for how long: the subscription that lives then is paused.
    pub(crate) pauses: Vec<(u32, Duration, Duration)>,
    /// Members below this slot see no rebalance from then on.
    pub(crate) undisturbed: Option<(u32, Duration)>,
}

/// What all members of the group have in common.
#[derive(Debug)]
pub(crate) struct GroupPlan {
    pub(crate) order: Order,
    pub(crate) concurrency: usize,
    pub(crate) on_failure: OnFailure,
    /// Of a thousand first calls of a handler so many fail; half of them by panicking.
    pub(crate) failing: u64,
    /// Of a thousand calls so many are slow.
    pub(crate) slow: u64,
    pub(crate) slow_for: Duration,
    /// Other calls take up to this long.
    pub(crate) usual: Duration,
    pub(crate) handler_timeout: Option<Duration>,
    pub(crate) skip_existing: bool,
    pub(crate) static_members: bool,
    pub(crate) spawn_each: bool,
    pub(crate) assignors: Vec<Assignor>,
    /// Those of members with an odd slot, if not the same: a fleet on its way to cooperative rebalances.
    pub(crate) other_assignors: Option<Vec<Assignor>>,
    pub(crate) session_timeout: Duration,
    pub(crate) commit_interval: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) stop_timeout: Duration,
    pub(crate) fetch_max_wait: Duration,
    pub(crate) fetch_memory: usize,
    pub(crate) max_held: u32,
    pub(crate) request_timeout: Duration,
}

#[derive(Debug)]
pub(crate) struct SenderPlan {
    pub(crate) from: Duration,
    pub(crate) count: u32,
    /// Between two messages, at most.
    pub(crate) pause: Duration,
    /// Messages enqueued without a pause.
    pub(crate) burst: u32,
    /// 0: no keys.
    pub(crate) keys: u64,
    pub(crate) padding: usize,
    pub(crate) compression: Compression,
    pub(crate) batch_size: usize,
    pub(crate) linger: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) max_block: Duration,
    pub(crate) buffer_memory: usize,
    pub(crate) killed_at: Option<Duration>,
    /// How often a call is dropped before it has ended, 0 to 1.
    pub(crate) impatient: f64,
    /// Asks for receipts, and waits so long for each.
    pub(crate) receipts: Option<Duration>,
}

/// One life of a member: a process with a dispatcher and a subscription.
#[derive(Debug, Clone)]
pub(crate) struct LifePlan {
    /// Lives of one slot have the same instance id, if any.
    pub(crate) slot: u32,
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Stop,
    Drop,
    Kill,
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut d = Dice::new(seed, "plan");
        let mood = match d.number(0..=99) {
            0..20 => Mood::Calm,
            20..45 => Mood::Mild,
            _ => Mood::Wild,
        };
        let until = d.ms(5_000..=45_000);
        let brokers = d.int(1..=3);
        let partitions = d.int(1..=6);
        let versions = KafkaVersion::ALL;
        let version = if d.chance(0.4) { KafkaVersion::V4_2 } else { d.pick(versions) };
        let compacted = mood != Mood::Calm && d.chance(0.1);
        let mut group = GroupPlan::draw(&mut d, mood);
        group.static_members &= version >= KafkaVersion::V2_3;
        let mut pauses = Vec::new();
        if !crate::regressions::is_eager(seed) {
            group.sticky(&mut Dice::new(seed, "assignors"));
            let mut d = Dice::new(seed, "pauses");
            if d.chance(0.2) {
                pauses =
                    (0..d.number(1..=4)).map(|_| (d.int(0..=2) as u32, d.moment(until), d.ms(0..=20_000))).collect();
                pauses.sort();
            }
        }
        let members = d.number(1..=3) as u32;
        let lives = lives(&mut Dice::new(seed, "lives"), mood, members, until, group.static_members);
        let mut d = Dice::new(seed, "senders");
        let senders = (0..d.number(1..=2)).map(|_| SenderPlan::draw(&mut d, mood, until, compacted));
        let mut senders: Vec<_> = senders.collect();
        let mut d = Dice::new(seed, "receipts");
        if !crate::regressions::is_eager(seed) && d.chance(0.25) {
            senders.iter_mut().for_each(|sender| sender.receipts = Some(d.ms(500..=30_000)));
        }
        let mut d = Dice::new(seed, "chaos");
        let events = match mood {
            Mood::Calm => 0,
            Mood::Mild => d.number(0..=4),
            Mood::Wild => d.number(3..=25),
        };
        let shape = crate::chaos::Shape { brokers, partitions, compacted, members, until };
        let mut chaos: Vec<_> = (0..events).map(|_| (d.moment(until), draw(&mut d, &shape))).collect();
        chaos.sort_by_key(|(at, _)| *at);
        let rebalance_delay = d.pick(&[0, 0, 100, 3_000]);
        let rebalance_delay = Duration::from_millis(rebalance_delay);
        Self {
            seed,
            mood,
            version,
            brokers,
            partitions,
            compacted,
            rebalance_delay,
            until,
            group,
            senders,
            lives,
            chaos,
            pauses,
            undisturbed: None,
        }
    }

    /// Whether a broker may carry out a request that its client has given up. A commit that is late in that way takes a
    /// newer one back, as with every Kafka client; it is still not above what was finished.
    pub(crate) fn delays_requests(&self) -> bool {
        self.chaos.iter().any(|(_, c)| matches!(c, Chaos::Inject(fault) if format!("{fault:?}").contains("Delay")))
    }

    /// Whether the topic is deleted and made again and the cluster is too old to say so: only from 3.1 on a Fetch names
    /// the topic it means. Before, Kafka promises nothing about such a topic, and neither do we.
    pub(crate) fn confuses_topics(&self) -> bool {
        self.version < KafkaVersion::V3_1 && self.chaos.iter().any(|(_, c)| matches!(c, Chaos::Recreate))
    }
}

impl GroupPlan {
    fn draw(d: &mut Dice, mood: Mood) -> Self {
        let calm = mood == Mood::Calm;
        let session_timeout = d.ms(6_000..=20_000);
        let slow_for = if calm { d.ms(0..=2_000) } else { d.ms(200..=40_000) };
        Self {
            order: d.pick(&[Order::None, Order::Key, Order::Key, Order::Partition]),
            concurrency: if d.chance(0.2) { 1 } else { d.size(2..=32) },
            on_failure: if calm {
                OnFailure::Skip
            } else {
                d.pick(&[OnFailure::Skip, OnFailure::Skip, OnFailure::Hold, OnFailure::Stop])
            },
            failing: d.pick(&[0, 0, 5, 50]),
            slow: d.pick(&[0, 10, 50, 200]),
            slow_for,
            usual: Duration::from_millis(d.pick(&[0, 0, 1, 10, 100])),
            handler_timeout: if !calm && d.chance(0.1) { Some(d.ms(500..=10_000)) } else { None },
            skip_existing: d.chance(0.1),
            static_members: d.chance(0.2),
            spawn_each: d.chance(0.2),
            assignors: vec![d.pick(&[Assignor::Range, Assignor::RoundRobin])],
            other_assignors: None,
            session_timeout,
            commit_interval: d.ms(20..=2_000),
            drain_timeout: if calm { d.ms(5_000..=10_000) } else { d.ms(200..=10_000) },
            stop_timeout: if calm { d.ms(5_000..=10_000) } else { d.ms(500..=10_000) },
            fetch_max_wait: d.ms(50..=1_000),
            fetch_memory: d.pick(&[1 << 12, 1 << 14, 1 << 16, 64 << 20, 64 << 20]),
            max_held: d.pick(&[1, 10, 10_000, 10_000]),
            request_timeout: d.ms(2_000..=10_000),
        }
    }
}

impl GroupPlan {
    /// Most groups rebalance cooperatively.
    fn sticky(&mut self, d: &mut Dice) {
        match d.number(0..=9) {
            0..5 => self.assignors = vec![Assignor::CooperativeSticky],
            5 => self.assignors = vec![Assignor::Sticky],
            6 => self.assignors = vec![Assignor::CooperativeSticky, Assignor::Range],
            7 => {
                self.assignors = vec![Assignor::CooperativeSticky];
                self.other_assignors = Some(vec![Assignor::CooperativeSticky, Assignor::Range]);
            }
            _ => {}
        }
    }
}

impl SenderPlan {
    fn draw(d: &mut Dice, mood: Mood, until: Duration, compacted: bool) -> Self {
        let count = d.number(5..=120) as u32;
        let from = d.moment(until / 2);
        let average = (until - from).as_millis() as u64 / u64::from(count);
        let delivery_timeout = d.ms(4_000..=40_000);
        Self {
            from,
            count,
            pause: Duration::from_millis(average * 3 / 2),
            burst: d.pick(&[1, 1, 5, 20]),
            keys: if !compacted && d.chance(0.2) { 0 } else { d.number(1..=8) },
            padding: d.pick(&[0, 0, 100, 3_000]),
            compression: if d.chance(0.3) { Compression::Lz4 } else { Compression::None },
            batch_size: d.pick(&[100, 500, 5_000, 1_000_000]),
            linger: Duration::from_millis(d.pick(&[0, 0, 5, 50])),
            delivery_timeout,
            request_timeout: d.ms(1_000..=10_000),
            max_block: d.ms(1_000..=10_000),
            buffer_memory: d.pick(&[1 << 15, 64 << 20, 64 << 20]),
            killed_at: (mood == Mood::Wild && d.chance(0.15)).then(|| d.moment(until)),
            impatient: d.pick(&[0.0, 0.0, 0.1]),
            receipts: None,
        }
    }
}

/// Each member lives once or several times, with gaps; static members sometimes have a twin at the end.
fn lives(d: &mut Dice, mood: Mood, members: u32, until: Duration, with_ids: bool) -> Vec<Vec<LifePlan>> {
    let mut rows = Vec::new();
    for slot in 0..members {
        let mut row = Vec::new();
        let mut at = if d.chance(0.5) { Duration::ZERO } else { d.moment(until / 2) };
        while at < until {
            let to = if d.chance(0.3) { until } else { (at + d.ms(500..=20_000)).min(until) };
            let end = match (mood, d.number(0..=9)) {
                (Mood::Calm, _) | (_, 0..4) => End::Stop,
                (_, 4..8) => End::Kill,
                _ => End::Drop,
            };
            row.push(LifePlan { slot, from: at, to, end });
            if with_ids && mood == Mood::Wild && d.chance(0.2) {
                // A second process under the same instance id fences the first one.
                let from = at + (to - at) / 2;
                rows.push(vec![LifePlan { slot, from, to, end }]);
            }
            at = to + if d.chance(0.3) { Duration::ZERO } else { d.ms(0..=5_000) };
        }
        rows.push(row);
    }
    rows
}
