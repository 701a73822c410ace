//! The machine in virtual time: `into` and `out_of` go through its transitions and errors one by one, `model` runs
//! whole groups against a model coordinator under seeded faults.

mod cooperative;
mod coordinator;
mod into;
mod model;
mod out_of;

use std::time::Duration;

use super::*;
use crate::error::ErrorKind;
use crate::group::Assignor;
use crate::group::types::GroupConfig;

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn tps(partitions: std::ops::Range<i32>) -> Vec<TopicPartition> {
    partitions.map(tp).collect()
}

fn config() -> GroupConfig {
    GroupConfig::new("g", ["t".into()])
}

fn code(code: ErrorCode) -> Failure {
    Failure::Code(code)
}

fn cut() -> Failure {
    Failure::Call(Error::new(ErrorKind::Connection, "connection lost: retry"))
}

/// One machine and its clock.
struct Bench {
    machine: Machine,
    protocol: &'static str,
    now: Instant,
}

/// The one action that is due, of the named kind; its fields are bound.
macro_rules! due {
    ($bench:expr, $variant:ident { $($field:ident),* }) => {
        #[allow(unused_variables)]
        let ($($field,)*) = match $bench.next() {
            Some(Action::$variant { $($field,)* .. }) => ($($field,)*),
            other => panic!("expected {}, got {other:?}", stringify!($variant)),
        };
    };
    ($bench:expr, $variant:ident($field:ident)) => {
        let $field = match $bench.next() {
            Some(Action::$variant(field)) => field,
            other => panic!("expected {}, got {other:?}", stringify!($variant)),
        };
    };
}
use due;

impl Bench {
    #[allow(clippy::disallowed_methods)] // A starting point for virtual time.
    fn new(config: GroupConfig) -> Self {
        let now = Instant::now();
        let protocol = config.assignors.first().map_or("", |assignor| assignor.name());
        Self { machine: Machine::new(config, 1, now), protocol, now }
    }

    /// Joined at generation 1 as a follower, owning `owned`.
    fn stable(owned: Vec<TopicPartition>) -> Self {
        Self::stable_with(config(), owned)
    }

    fn stable_with(config: GroupConfig, owned: Vec<TopicPartition>) -> Self {
        let mut bench = Self::new(config);
        bench.find();
        bench.join_and_sync(1, owned);
        bench
    }

    /// The only member of generation 1 and its leader, with a topic of so many partitions: the token of its SyncGroup.
    fn leading(config: GroupConfig, partitions: i32) -> (Self, Token) {
        let mut bench = Self::new(config);
        bench.find();
        due!(bench, Join { token });
        bench.joined(token, 1, Some(vec![member("m1", &["t"])]));
        due!(bench, Watch { topics });
        bench.tell(Event::Topics(BTreeMap::from([("t".into(), Some(partitions))])));
        due!(bench, Sync { token });
        (bench, token)
    }

    fn join_and_sync(&mut self, generation: i32, owned: Vec<TopicPartition>) {
        due!(self, Join { token });
        self.joined(token, generation, None);
        due!(self, Sync { token });
        self.tell(Event::Synced { token, result: Ok(owned) });
        due!(self, Assigned { partitions });
        self.idle();
    }

    fn find(&mut self) {
        due!(self, FindCoordinator { token });
        self.tell(Event::Coordinator { token, result: Ok(()) });
    }

    fn joined(&mut self, token: Token, generation: i32, members: Option<Vec<Subscription>>) {
        let joined = Joined {
            member_id: "m1".into(),
            generation,
            protocol: self.protocol.into(),
            members,
            skip_assignment: false,
        };
        self.tell(Event::Joined { token, result: Ok(joined) });
    }

    fn tell(&mut self, event: Event) {
        self.machine.handle(event, self.now);
    }

    fn next(&mut self) -> Option<Action> {
        self.machine.poll_action()
    }

    fn idle(&mut self) {
        let next = self.next();
        assert!(next.is_none(), "{next:?}");
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.machine.handle_timeout(self.now);
    }

    /// Moves the clock to the next time-out.
    fn tick(&mut self) {
        self.now = self.machine.poll_timeout().expect("a time-out is set").max(self.now);
        self.machine.handle_timeout(self.now);
    }

    /// Lets the next heartbeat fall due and answers it.
    fn heartbeat(&mut self, result: Result<(), Failure>) {
        self.tick();
        due!(self, Heartbeat { token });
        self.tell(Event::Heartbeat { token, result });
    }

    fn failed(&mut self) -> Error {
        due!(self, Failed(error));
        assert!(matches!(self.next(), Some(Action::Ended)));
        assert_eq!(self.machine.poll_timeout(), None);
        error
    }
}

fn member(id: &str, topics: &[&str]) -> Subscription {
    let topics = topics.iter().map(|t| (*t).into()).collect();
    Subscription { member_id: id.into(), topics, ..Default::default() }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
