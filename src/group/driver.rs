//! One task per membership: owns the machines, performs their actions through the cluster, and passes events on to
//! the worker. It decides nothing itself. Nothing here waits for the worker, so heartbeats go on whatever handlers do.

use std::collections::{BTreeMap, VecDeque};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::{mpsc, oneshot};

use super::calls::Calls;
use super::classic::{Action, Event, Failure, Machine, Token};
use super::commit::Commits;
use super::handle::{Command, CommitResult, GroupHandle};
use super::types::{GroupConfig, GroupEvent, GroupEvents, RevokeDone};
use super::watch::TopicWatch;
use crate::client::Cluster;
use crate::client::types::TopicPartition;
use crate::env::Env;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::ErrorCode;

/// Requests of the worker under way at once; the next ones wait in their bounded channel.
const MAX_WORK: usize = 32;
/// Warnings that the worker has not taken; further ones are only logged.
const MAX_UNTAKEN: usize = 8;

/// Membership of consumer groups.
pub(crate) struct Group;

impl Group {
    /// Joins the group in the background. Ends when [`GroupHandle::leave`] was called, the last handle or the events
    /// are dropped, or an error is fatal.
    pub(crate) fn start(cluster: Cluster, config: GroupConfig) -> (GroupHandle, GroupEvents) {
        let (handle, commands) = GroupHandle::new();
        // One place, so that a free place means that the worker has taken everything before.
        let (events, receiver) = mpsc::channel(1);
        let env = cluster.env().clone();
        let driver = Driver::new(cluster, config, commands, events);
        // Ends by itself, see above.
        let _detached = env.spawn(driver.run());
        (handle, GroupEvents(receiver))
    }
}

/// What a future of the driver gave.
enum Done {
    Found { token: Token, result: Result<i32> },
    Event(Event),
    Committed { id: u64, result: Result<BTreeMap<TopicPartition, ErrorCode>, Failure> },
    Answered,
}

struct Driver {
    env: Env,
    calls: Calls,
    machine: Machine,
    commits: Commits,
    watch: TopicWatch,
    coordinator: Option<i32>,
    commands: mpsc::Receiver<Command>,
    /// Whether anybody can still send commands.
    attended: bool,
    events: mpsc::Sender<GroupEvent>,
    /// Events that found no place yet.
    outbox: VecDeque<GroupEvent>,
    /// The JoinGroup that waits until the worker has taken every event.
    held_join: Option<Action>,
    /// The JoinGroup or SyncGroup under way; a newer one replaces it.
    join: Option<BoxFuture<'static, Event>>,
    /// Where the connection is on which JoinGroup was sent.
    joined_at: Option<i32>,
    work: FuturesUnordered<BoxFuture<'static, Done>>,
    replies: BTreeMap<u64, oneshot::Sender<CommitResult>>,
    leavers: Vec<oneshot::Sender<()>>,
    ended: bool,
}

impl Driver {
    fn new(
        cluster: Cluster,
        config: GroupConfig,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<GroupEvent>,
    ) -> Self {
        let env = cluster.env().clone();
        let seed = || env.random(|rng| rng.u64(..));
        Self {
            machine: Machine::new(config.clone(), seed(), env.now()),
            commits: Commits::new(config.request_timeout, config.is_cooperative(), seed()),
            calls: Calls::new(cluster, config),
            env,
            watch: TopicWatch::default(),
            coordinator: None,
            commands,
            attended: true,
            events,
            outbox: VecDeque::new(),
            held_join: None,
            join: None,
            joined_at: None,
            work: FuturesUnordered::new(),
            replies: BTreeMap::new(),
            leavers: Vec::new(),
            ended: false,
        }
    }

    async fn run(mut self) {
        let mut changes = self.calls.cluster.changes();
        loop {
            self.pump();
            if self.ended {
                return self.finish().await;
            }
            let wake = [self.machine.poll_timeout(), self.commits.poll_timeout(), self.watch.poll_timeout()];
            let wake = wake.into_iter().flatten().min();
            let sleep = async {
                match wake {
                    Some(at) => self.env.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let joined = async {
                match &mut self.join {
                    Some(join) => join.await,
                    None => std::future::pending().await,
                }
            };
            let may_ask = self.attended && self.work.len() < MAX_WORK && !self.commits.is_full();
            let to_pass = !self.outbox.is_empty() || self.held_join.is_some();
            // Of the sole sender: a place that was free stays free.
            let place = async { self.events.reserve().await.is_ok() };
            tokio::select! {
                biased;
                Some(done) = self.work.next() => self.done(done),
                event = joined => {
                    self.join = None;
                    self.tell(event);
                }
                free = place, if to_pass => self.pass(free),
                command = self.commands.recv(), if may_ask => self.command(command),
                found = self.watch.looked_up() => {
                    if let Some(counts) = self.watch.take_in(found, self.env.now()) {
                        self.tell(Event::Topics(counts));
                    }
                }
                _ = changes.changed() => {}
                () = sleep => {}
            }
        }
    }

    /// Lets the machines do what is due, until they have nothing more to do.
    fn pump(&mut self) {
        let now = self.env.now();
        self.machine.handle_timeout(now);
        self.commits.handle_timeout(now);
        if let Some(counts) = self.watch.poll(&self.calls.cluster, &self.calls.cluster.topology(), now) {
            self.machine.handle(Event::Topics(counts), now);
        }
        while let Some(action) = self.machine.poll_action() {
            self.perform(action);
        }
        let (generation, known) = (self.machine.commit_generation(), self.machine.coordinator_known());
        if let Some(broker) = self.coordinator
            && let Some(request) = self.commits.poll_send(generation, known, now)
        {
            let (id, calls) = (request.id, self.calls.clone());
            self.work(async move { Done::Committed { id, result: calls.commit(broker, request).await } });
        }
        while let Some((ticket, outcome)) = self.commits.poll_done() {
            // Whoever asked may have stopped waiting.
            let _ = self.replies.remove(&ticket).map(|reply| reply.send(outcome));
        }
    }

    fn perform(&mut self, action: Action) {
        tracing::debug!(target: "dispatcher::group", group = %self.calls.config.group_id, ?action);
        let calls = self.calls.clone();
        let broker = self.coordinator;
        match action {
            Action::FindCoordinator { token } => {
                self.coordinator = None;
                self.work(async move { Done::Found { token, result: calls.find(broker).await } });
            }
            join @ Action::Join { .. } => {
                if self.outbox.is_empty() && self.events.capacity() > 0 {
                    self.send_join(join);
                } else {
                    self.held_join = Some(join);
                }
            }
            Action::Sync { token, generation, protocol, assignments } => {
                self.join = Some(Box::pin(async move {
                    let result = match broker {
                        Some(broker) => calls.sync(broker, generation, protocol, assignments).await,
                        None => Err(no_coordinator()),
                    };
                    Event::Synced { token, result }
                }));
            }
            Action::Heartbeat { token, generation } => self.work(async move {
                let result = match broker {
                    Some(broker) => calls.heartbeat(broker, generation).await,
                    None => Err(no_coordinator()),
                };
                Done::Event(Event::Heartbeat { token, result })
            }),
            Action::Leave { token, member_id, reason } => self.work(async move {
                let result = match broker {
                    Some(broker) => calls.leave(broker, member_id, reason).await,
                    None => Err(no_coordinator()),
                };
                Done::Event(Event::Left { token, result })
            }),
            Action::Watch { topics } => self.watch.set(topics, self.env.now()),
            Action::Assigned { partitions, generation } => {
                tracing::info!(target: "dispatcher::group", group = %calls.config.group_id, generation = generation.id, ?partitions, "assigned");
                self.release_join();
                self.outbox.push_back(GroupEvent::Assigned { partitions, generation });
            }
            Action::Revoke { token, partitions, deadline } => {
                let (done, answered) = oneshot::channel();
                self.outbox.push_back(GroupEvent::Revoke { partitions, deadline, done: RevokeDone(done) });
                self.work(async move {
                    let _answered_or_dropped = answered.await;
                    Done::Event(Event::Revoked { token })
                });
            }
            Action::Lost { partitions } => {
                self.void_commits();
                self.outbox.push_back(GroupEvent::Lost { partitions });
            }
            Action::Warning(error) => {
                tracing::warn!(target: "dispatcher::group", group = %calls.config.group_id, %error);
                if self.outbox.len() < MAX_UNTAKEN {
                    self.outbox.push_back(GroupEvent::Warning(error));
                }
            }
            Action::Failed(error) => self.outbox.push_back(GroupEvent::Failed(error)),
            Action::Ended => self.ended = true,
        }
    }

    fn send_join(&mut self, join: Action) {
        let Action::Join { token, member_id, claim, reason } = join else { return };
        let (calls, broker) = (self.calls.clone(), self.coordinator);
        // The coordinator reads nothing behind a request that it has not answered.
        if self.join.take().is_some() || self.joined_at != broker {
            self.release_join();
        }
        self.joined_at = broker;
        self.join = Some(Box::pin(async move {
            let result = match broker {
                Some(broker) => calls.join(broker, member_id, reason, &claim).await,
                None => Err((no_coordinator(), None)),
            };
            Event::Joined { token, result }
        }));
    }

    fn release_join(&mut self) {
        if let Some(broker) = self.joined_at.take() {
            self.calls.cluster.release(broker, &self.calls.joining);
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Found { token, result } => {
                self.coordinator = result.as_ref().ok().copied();
                self.tell(Event::Coordinator { token, result: result.map(|_| ()) });
            }
            Done::Event(event) => self.tell(event),
            Done::Committed { id, result } => {
                let tidings = self.commits.answered(id, result, self.env.now());
                if let Some(known) = tidings.coordinator_lost {
                    self.tell(Event::CoordinatorLost { known });
                }
                if let Some((generation, code)) = tidings.refused {
                    self.tell(Event::CommitRefused { generation, code });
                }
            }
            Done::Answered => {}
        }
    }

    /// The worker has taken what was there before (or is gone).
    fn pass(&mut self, free: bool) {
        if !free {
            self.outbox.clear();
            self.tell(Event::Abandon);
        } else if let Some(event) = self.outbox.pop_front() {
            let _ = self.events.try_send(event);
        } else if let Some(join) = self.held_join.take() {
            // The membership may have ended while it waited.
            if matches!(join, Action::Join { token, .. } if self.machine.wants_join(token)) {
                self.send_join(join);
            }
        }
    }

    fn command(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Commit { offsets, reply }) => {
                let ticket = self.commits.submit(offsets, |tp| self.machine.owns(tp), self.env.now());
                self.replies.insert(ticket, reply);
            }
            Some(Command::Committed { partitions, reply }) => {
                let calls = self.calls.clone();
                self.work(async move {
                    let _ = reply.send(calls.committed(partitions).await);
                    Done::Answered
                });
            }
            Some(Command::Leave { reply }) => {
                self.leavers.push(reply);
                self.tell(Event::Stop);
            }
            None => {
                self.attended = false;
                self.tell(Event::Abandon);
            }
        }
    }

    fn tell(&mut self, event: Event) {
        let revoked = matches!(event, Event::Revoked { .. });
        let unsent = if matches!(event, Event::Stop | Event::Abandon) { self.held_join.take() } else { None };
        self.machine.handle(event, self.env.now());
        if let Some(Action::Join { token, .. }) = unsent {
            // Nobody will answer it.
            let result = Err((Failure::Code(ErrorCode::REBALANCE_IN_PROGRESS), None));
            self.machine.handle(Event::Joined { token, result }, self.env.now());
        }
        if revoked {
            self.void_commits();
        }
    }

    fn void_commits(&mut self) {
        self.commits.void_unowned(|tp| self.machine.owns(tp));
    }

    fn work(&mut self, future: impl Future<Output = Done> + Send + 'static) {
        self.work.push(Box::pin(future));
    }

    /// Answers everybody and hands the last events over, for as long as somebody wants them.
    async fn finish(mut self) {
        self.release_join();
        self.commits.void_unowned(|_| false);
        while let Some((ticket, outcome)) = self.commits.poll_done() {
            let _ = self.replies.remove(&ticket).map(|reply| reply.send(outcome));
        }
        for reply in self.leavers {
            let _ = reply.send(());
        }
        drop((self.commands, self.work, self.join, self.replies));
        for event in self.outbox {
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }
}

fn no_coordinator() -> Failure {
    Failure::Call(Error::new(
        ErrorKind::Connection,
        "the group's coordinator is not known at present: it is being looked for",
    ))
}
