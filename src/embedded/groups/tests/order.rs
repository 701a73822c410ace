//! Whatever members do, and in which order: what must always be true.

use std::collections::BTreeSet;

use super::*;

/// Members that ask at random, wait, give up, and crash.
struct Crowd {
    bench: Bench,
    rng: fastrand::Rng,
    ids: Vec<String>,
    asked: BTreeSet<Token>,
    abandoned: BTreeSet<Token>,
    generation: i32,
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let delay = *rng.choice(&[0, 0, 1000, 3000]).unwrap();
        let bench = Bench::with_delay(Duration::from_millis(delay));
        Self { bench, rng, ids: Vec::new(), asked: BTreeSet::new(), abandoned: BTreeSet::new(), generation: 0 }
    }

    fn id(&mut self) -> String {
        self.rng.choice(&self.ids).cloned().unwrap_or_default()
    }

    fn learn(&mut self, token: Token) {
        self.asked.insert(token);
        if let Some(Reply::Join(_, joined)) = self.bench.replies.get(&token) {
            let id = joined.member_id.to_string();
            if !id.is_empty() && !self.ids.contains(&id) {
                self.ids.push(id);
            }
        }
    }

    fn ask(&mut self) -> Ask {
        let id = if self.rng.bool() { String::new() } else { self.id() };
        let instance = self.rng.u8(..6);
        let version = *self.rng.choice(&[0, 3, 5, 8, 9]).unwrap();
        let lists: [&[&str]; 3] = [&["range", "sticky"], &["sticky", "range"], &["range"]];
        let list = *self.rng.choice(&lists).unwrap();
        let rebalance = *self.rng.choice(&[0, 1000, 5000, 20_000]).unwrap();
        let session = *self.rng.choice(&[1000, 10_000, 60_000]).unwrap();
        let ask = ask(&id).version(version).protocols(list);
        let ask = ask.with(|r| (r.rebalance_timeout_ms, r.session_timeout_ms) = (rebalance, session));
        if instance < 2 && version >= 5 { ask.instance(&format!("i{instance}")) } else { ask }
    }

    fn step(&mut self) {
        match self.rng.u8(..20) {
            0..7 => {
                let ask = self.ask();
                let token = self.bench.join(ask);
                self.learn(token);
            }
            7..12 if self.bench.groups.groups.contains_key("g") => {
                let leader = self.bench.groups.groups["g"].leader.clone();
                let id = leader.filter(|_| self.rng.bool()).unwrap_or_else(|| self.id());
                let request = self.bench.sync_request(&id, &[&id]);
                let token = self.bench.send_sync(4, SyncGroupRequest { protocol_name: None, ..request });
                self.asked.insert(token);
            }
            12 => {
                let id = self.id();
                self.bench.leave(3, &[(&id, None)]);
            }
            13 => {
                let asked: Vec<_> = self.asked.iter().copied().filter(|&token| self.bench.waits(token)).collect();
                if let Some(&token) = self.rng.choice(&asked) {
                    self.bench.groups.abandon(token);
                    self.abandoned.insert(token);
                }
            }
            14 => {
                self.bench.groups.fail_over(self.bench.now, |_| true);
                self.bench.collect();
                self.generation = 0;
            }
            15..18 if self.bench.groups.groups.contains_key("g") => {
                let (id, generation) = (self.id(), self.bench.generation());
                self.bench.beat(&id, generation);
            }
            _ => {
                let ms = self.rng.u64(..3000);
                self.bench.pass(Duration::from_millis(ms));
            }
        }
        self.check();
    }

    fn check(&mut self) {
        let Some(group) = self.bench.groups.groups.get("g") else {
            self.generation = 0;
            return;
        };
        assert!(group.generation >= self.generation, "generations grow");
        self.generation = group.generation;
        let leader = group.leader.as_deref();
        assert_eq!(leader.is_some(), !group.members.is_empty());
        assert!(leader.is_none_or(|id| group.position(id).is_some()), "the leader is a member");
        assert_eq!(
            group.state == super::super::group::State::Empty,
            group.members.is_empty() && !group.state.is_preparing()
        );
        let joining = group.members.iter().any(|m| m.joining.is_some());
        let syncing = group.members.iter().any(|m| m.syncing.is_some());
        assert!(!joining || group.state.is_preparing(), "who joins waits only while a rebalance is prepared");
        assert!(!syncing || group.state.name() == "CompletingRebalance", "who syncs waits only for the leader");
        let mut ids: Vec<_> = group.members.iter().map(|m| &m.id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), group.members.len());
    }

    /// Everybody falls silent: all get their answers, and the group ends.
    fn end(mut self) -> BTreeMap<Token, Reply> {
        self.bench.pass(secs(1200));
        for &token in &self.asked {
            assert_eq!(self.bench.waits(token), self.abandoned.contains(&token), "answered, unless given up: {token}");
        }
        assert!(matches!(self.bench.state(), "Dead"), "{}", self.bench.state());
        self.bench.replies
    }
}

#[test]
fn every_request_is_answered_once_and_the_group_keeps_its_shape() {
    for seed in 0..300 {
        let mut crowd = Crowd::new(seed);
        (0..150).for_each(|_| crowd.step());
        crowd.end();
    }
}

#[test]
fn the_same_requests_get_the_same_answers() {
    let run = |seed| {
        let mut crowd = Crowd::new(seed);
        (0..150).for_each(|_| crowd.step());
        crowd.end()
    };
    for seed in 1000..1010 {
        assert!(run(seed) == run(seed), "{seed}");
    }
}
