//! Whole groups against the model coordinator, under seeded delays, drops, errors, crashes, outages and topic growth.
//! At every instant no partition has two owners; when the faults end, every partition has exactly one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::coordinator::{Coordinator, Request, SESSION, Slot};
use super::*;

const CLIENTS: usize = 5;
/// Faults happen in the first part of a run.
const CHAOS: Duration = Duration::from_secs(300);
/// Longer than a session and a rebalance time-out one after the other.
const CALM: Duration = Duration::from_secs(200);

#[derive(Debug)]
enum Happening {
    Arrive { slot: Slot, request: Request, answer_lost: bool },
    Answer { client: usize, life: u64, event: Event },
    Wake { client: usize, life: u64 },
    Chaos,
    Tick,
}

/// One process and its worker; `life` counts restarts.
struct Client {
    machine: Option<Machine>,
    life: u64,
    instance_id: Option<Arc<str>>,
    watches: BTreeSet<TopicName>,
    lazy: bool,
}

/// A group of one assignor.
struct World {
    assignor: Assignor,
    now: Instant,
    end_of_chaos: Instant,
    rng: fastrand::Rng,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    next: u64,
    coordinator: Coordinator,
    outage: Option<Instant>,
    clients: Vec<Client>,
    partitions: i32,
    /// Who was assigned what, by generation. A static member keeps its place in one under a new member id.
    history: BTreeMap<(i32, TopicPartition), usize>,
    actions: u64,
    joins: u64,
    losses: u64,
}

impl World {
    #[allow(clippy::disallowed_methods)] // A starting point for virtual time.
    fn new(seed: u64, assignor: Assignor) -> Self {
        let now = Instant::now();
        let mut rng = fastrand::Rng::with_seed(seed);
        let clients = (0..CLIENTS).map(|n| Client {
            machine: None,
            life: 0,
            instance_id: (rng.u8(..4) == 0).then(|| format!("i{n}").into()),
            watches: BTreeSet::new(),
            lazy: false,
        });
        let clients = clients.collect();
        let mut world = Self {
            assignor,
            now,
            end_of_chaos: now + CHAOS,
            rng,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            next: 0,
            coordinator: Coordinator::new(assignor.name()),
            outage: None,
            clients,
            partitions: 6,
            history: BTreeMap::new(),
            actions: 0,
            joins: 0,
            losses: 0,
        };
        (0..CLIENTS).for_each(|client| world.start(client));
        world.after(Duration::ZERO, Happening::Chaos);
        world.after(Duration::ZERO, Happening::Tick);
        world
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.next += 1;
        self.queue.push(Reverse((self.now + delay, self.next)));
        self.happenings.insert(self.next, happening);
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.u64(range))
    }

    fn chaotic(&self) -> bool {
        self.now < self.end_of_chaos
    }

    fn run(&mut self) {
        while let Some(Reverse((at, id))) = self.queue.pop() {
            if at > self.end_of_chaos + CALM {
                break;
            }
            self.now = at;
            if let Some(happening) = self.happenings.remove(&id) {
                self.happen(happening);
            }
            self.assert_single_owners();
        }
        self.assert_settled();
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Arrive { slot, request, answer_lost } => self.arrive(slot, request, answer_lost),
            Happening::Answer { client, life, event } => self.tell(client, life, event),
            Happening::Wake { client, life } => {
                if self.clients[client].life == life {
                    let now = self.now;
                    if let Some(machine) = &mut self.clients[client].machine {
                        machine.handle_timeout(now);
                    }
                    self.perform(client);
                }
            }
            Happening::Chaos => {
                if self.chaotic() {
                    self.do_harm();
                    let pause = self.millis(500..8_000);
                    self.after(pause, Happening::Chaos);
                }
            }
            Happening::Tick => {
                self.coordinator.expire(self.now);
                self.deliver();
                if !self.chaotic() {
                    self.heal();
                }
                self.after(Duration::from_millis(250), Happening::Tick);
            }
        }
    }

    fn do_harm(&mut self) {
        let client = self.rng.usize(..CLIENTS);
        let life = self.clients[client].life;
        match self.rng.u8(..9) {
            0 | 1 if self.clients[client].machine.is_some() => self.clients[client].machine = None,
            2 => self.tell(client, life, Event::Stop),
            3 => self.tell(client, life, Event::Abandon),
            4 => self.clients[client].lazy = !self.clients[client].lazy,
            5 => self.outage = Some(self.now + Duration::from_millis(self.rng.u64(100..40_000))),
            6 if self.partitions < 12 => {
                self.partitions += 1;
                (0..CLIENTS).for_each(|client| self.report_topics(client));
            }
            _ if self.clients[client].machine.is_none() => self.start(client),
            _ => {}
        }
    }

    fn heal(&mut self) {
        self.outage = None;
        for client in 0..CLIENTS {
            self.clients[client].lazy = false;
            if self.clients[client].machine.is_none() {
                self.start(client);
            }
        }
    }

    fn start(&mut self, client: usize) {
        let seed = self.rng.u64(..);
        let (now, assignors) = (self.now, vec![self.assignor]);
        let it = &mut self.clients[client];
        it.life += 1;
        it.watches.clear();
        let config = GroupConfig { instance_id: it.instance_id.clone(), assignors, ..config() };
        it.machine = Some(Machine::new(config, seed, now));
        self.perform(client);
    }

    fn tell(&mut self, client: usize, life: u64, event: Event) {
        let now = self.now;
        let it = &mut self.clients[client];
        if it.life == life
            && let Some(machine) = &mut it.machine
        {
            machine.handle(event, now);
            self.perform(client);
        }
    }

    fn report_topics(&mut self, client: usize) {
        let Client { watches, life, .. } = &self.clients[client];
        let counts: BTreeMap<_, _> = watches.iter().map(|t| (t.clone(), Some(self.partitions))).collect();
        if !counts.is_empty() {
            let life = *life;
            let delay = self.millis(1..400);
            self.after(delay, Happening::Answer { client, life, event: Event::Topics(counts) });
        }
    }

    /// What a driver and a worker would do.
    fn perform(&mut self, client: usize) {
        let life = self.clients[client].life;
        while let Some(action) = self.clients[client].machine.as_mut().and_then(Machine::poll_action) {
            self.actions += 1;
            let instance_id = self.clients[client].instance_id.clone();
            match action {
                Action::FindCoordinator { token } => {
                    let failed = self.chaotic() && self.rng.u8(..5) == 0;
                    let error = Error::new(ErrorKind::Connection, "unreachable: wait");
                    let event = Event::Coordinator { token, result: if failed { Err(error) } else { Ok(()) } };
                    let delay = self.millis(1..200);
                    self.after(delay, Happening::Answer { client, life, event });
                }
                Action::Join { token, member_id, claim, .. } => {
                    self.joins += 1;
                    let request = Request::Join { member_id, instance_id, claim };
                    self.send(Slot { client, life, token }, request, Duration::from_secs(70));
                }
                Action::Sync { token, generation, assignments, .. } => {
                    let request =
                        Request::Sync { member_id: generation.member_id, generation: generation.id, assignments };
                    self.send(Slot { client, life, token }, request, Duration::from_secs(70));
                }
                Action::Heartbeat { token, generation } => {
                    let request = Request::Heartbeat { member_id: generation.member_id, generation: generation.id };
                    self.send(Slot { client, life, token }, request, Duration::from_secs(10));
                }
                Action::Leave { token, member_id, .. } => {
                    self.send(Slot { client, life, token }, Request::Leave { member_id }, Duration::from_secs(5));
                }
                Action::Watch { topics } => {
                    self.clients[client].watches = topics;
                    self.report_topics(client);
                }
                Action::Assigned { partitions, generation } => {
                    let kept = self.clients[client].machine.iter().flat_map(|m| m.owned.iter().cloned());
                    for partition in partitions.into_iter().chain(kept) {
                        let first = *self.history.entry((generation.id, partition)).or_insert(client);
                        assert_eq!(first, client, "two owners in one generation");
                    }
                }
                Action::Revoke { token, .. } => {
                    let delay = if self.clients[client].lazy { self.millis(0..60_000) } else { self.millis(0..500) };
                    self.after(delay, Happening::Answer { client, life, event: Event::Revoked { token } });
                }
                Action::Lost { .. } => self.losses += 1,
                Action::Warning(_) => {}
                Action::Failed(error) => panic!("{error}"),
                Action::Ended => self.clients[client].machine = None,
            }
        }
        self.try_commit(client);
        if let Some(at) = self.clients[client].machine.as_ref().and_then(Machine::poll_timeout) {
            let delay = at.saturating_duration_since(self.now);
            self.after(delay, Happening::Wake { client, life });
        }
    }

    /// A commit that the coordinator accepts must come from the owner of that generation.
    fn try_commit(&mut self, client: usize) {
        let Some(machine) = &self.clients[client].machine else { return };
        let Some(generation) = machine.commit_generation() else { return };
        if self.coordinator.commit(&generation.member_id, generation.id, self.now).is_ok() {
            for partition in (0..self.partitions).map(tp).filter(|p| machine.owns(p)) {
                // What is kept through a failed SyncGroup was left to its owner by that generation's leader.
                let owner = self.history.get(&(generation.id, partition)).copied().unwrap_or(client);
                assert_eq!(owner, client, "a stranger committed");
            }
        }
        self.deliver();
    }

    fn send(&mut self, slot: Slot, request: Request, limit: Duration) {
        let Slot { client, life, token } = slot;
        let failure = match self.rng.u8(..60) {
            0 if self.chaotic() => Some(code(ErrorCode::NOT_COORDINATOR)),
            1 if self.chaotic() => Some(code(ErrorCode::COORDINATOR_LOAD_IN_PROGRESS)),
            2 if self.chaotic() => Some(cut()),
            3 if self.chaotic() => None,
            _ if self.outage.is_some_and(|until| self.now < until) => Some(cut()),
            _ => {
                // Time-outs are scheduled for all; they come too late for those that were answered.
                let delay = self.millis(1..300);
                let answer_lost = self.chaotic() && self.rng.u8(..40) == 0;
                self.after(delay, Happening::Arrive { slot, request: request.clone(), answer_lost });
                None
            }
        };
        let delay = if failure.is_some() { self.millis(1..300) } else { limit };
        let failure = failure.unwrap_or_else(cut);
        let event = match request {
            Request::Join { .. } => Event::Joined { token, result: Err((failure, None)) },
            Request::Sync { .. } => Event::Synced { token, result: Err(failure) },
            Request::Heartbeat { .. } => Event::Heartbeat { token, result: Err(failure) },
            Request::Leave { .. } => Event::Left { token, result: Err(failure) },
        };
        self.after(delay, Happening::Answer { client, life, event });
    }

    fn arrive(&mut self, slot: Slot, request: Request, answer_lost: bool) {
        // What a dead process sent still reaches the coordinator; but not a static member's, which would fence the
        // next process under its instance id, as Kafka means it to.
        let dead = self.clients[slot.client].life != slot.life;
        if dead && self.clients[slot.client].instance_id.is_some() {
            return;
        }
        let slot = if answer_lost || dead { Slot { client: CLIENTS, ..slot } } else { slot };
        self.coordinator.handle(slot, request, self.now);
        self.deliver();
    }

    fn deliver(&mut self) {
        for (slot, event) in self.coordinator.replies() {
            if slot.client < CLIENTS {
                let delay = self.millis(1..300);
                self.after(delay, Happening::Answer { client: slot.client, life: slot.life, event });
            }
        }
    }

    fn assert_single_owners(&self) {
        let mut owned = BTreeSet::new();
        for machine in self.clients.iter().filter_map(|c| c.machine.as_ref()) {
            machine.owned.iter().for_each(|p| assert!(owned.insert(p), "two own {p} at once"));
        }
    }

    fn assert_settled(&self) {
        assert_eq!(self.coordinator.members(), CLIENTS, "ghosts or missing members");
        for partition in (0..self.partitions).map(tp) {
            let owners = self.clients.iter().filter(|c| c.machine.as_ref().is_some_and(|m| m.owns(&partition)));
            assert_eq!(owners.count(), 1, "{partition}");
        }
        for client in &self.clients {
            let generation = client.machine.as_ref().and_then(Machine::commit_generation).expect("stable");
            assert_eq!(generation.id, self.coordinator.generation);
        }
        let seconds = (CHAOS + CALM).as_secs();
        assert!(self.actions < seconds * CLIENTS as u64 * 3, "a busy loop: {} actions", self.actions);
    }
}

fn run(seed: u64, assignor: Assignor) -> World {
    let mut world = World::new(seed, assignor);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    if let Err(panic) = outcome {
        eprintln!("{assignor}, seed {seed} at {:?}", world.now - (world.end_of_chaos - CHAOS));
        std::panic::resume_unwind(panic);
    }
    world
}

#[test]
fn groups_under_faults_never_have_two_owners_and_settle_with_exactly_one() {
    assert!(CALM > SESSION * 2);
    let seeds = std::env::var("DISPATCHER_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    for assignor in [Assignor::Range, Assignor::CooperativeSticky] {
        let worlds: Vec<_> = (0..seeds).map(|seed| run(seed, assignor)).collect();
        let sum = |of: fn(&World) -> u64| worlds.iter().map(of).sum::<u64>();
        let (joins, losses) = (sum(|w| w.joins), sum(|w| w.losses));
        assert!(joins > seeds * 20 && losses > seeds, "the faults bite: {joins} joins, {losses} losses");
    }
}
