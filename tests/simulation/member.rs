//! Members of the group: each life is a process of its own with a dispatcher, a subscription and a handler that takes
//! its time and sometimes fails.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dispatcher::embedded::Network;
use dispatcher::{Dispatcher, Error, Message, Subscription, SubscriptionEvent};

use crate::dice::mix;
use crate::plan::{End, LifePlan};
use crate::world::{Ctx, World};

/// What a stop may take besides twice its time-out: a last commit and a leave (15 s each).
const FAREWELL: Duration = Duration::from_secs(32);
pub(crate) const PANIC: &str = "simulated";

/// Lives one life after another.
pub(crate) async fn live(ctx: Arc<Ctx>, row: Vec<LifePlan>) {
    for plan in &row {
        ctx.until(plan.from).await;
        live_once(&ctx, plan).await;
    }
}

/// Lives as planned: begins again if the subscription ends by itself, and ends in the planned way.
async fn live_once(ctx: &Arc<Ctx>, plan: &LifePlan) {
    while ctx.time() < plan.to {
        let member = Member::new(ctx, plan.slot);
        let born = tokio::select! {
            biased;
            born = member.subscribe() => born,
            () = ctx.until(plan.to) => {
                member.process.kill();
                return;
            }
        };
        let (dispatcher, subscription) = match born {
            Ok(born) => born,
            Err(error) => {
                ctx.log(|| format!("life {} cannot begin: {error}", member.life));
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
        };
        member.listen(&subscription);
        tokio::select! {
            biased;
            ended = subscription.join() => {
                ctx.log(|| format!("life {} ends by itself: {ended:?}", member.life));
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            () = ctx.until(plan.to) => {}
            () = member.pause(&subscription) => {}
        }
        ctx.log(|| format!("life {}: {:?}", member.life, plan.end));
        match plan.end {
            End::Kill => member.process.kill(),
            End::Drop => drop(subscription),
            End::Stop => {
                member.stop(&subscription).await;
            }
        }
        drop(dispatcher);
    }
}

pub(crate) struct Member {
    ctx: Arc<Ctx>,
    pub(crate) process: Network,
    slot: u32,
    pub(crate) life: usize,
}

impl Member {
    pub(crate) fn new(ctx: &Arc<Ctx>, slot: u32) -> Self {
        let process = ctx.cluster.network().process();
        let committed = ctx.committed();
        let life = ctx.world().begin_life(slot, process.clone(), committed);
        ctx.log(|| format!("life {life} of member {slot} begins"));
        Self { ctx: ctx.clone(), process, slot, life }
    }

    pub(crate) async fn subscribe(&self) -> Result<(Dispatcher, Subscription), Error> {
        let (ctx, group) = (&self.ctx, &self.ctx.plan.group);
        let builder = Dispatcher::builder(ctx.cluster.brokers())
            .network(&self.process)
            .client_id(format!("member-{}", self.slot))
            .partitions(ctx.plan.partitions)
            .replicas(ctx.plan.brokers as i16)
            .connect_timeout(Duration::from_secs(5))
            .request_timeout(group.request_timeout)
            .fetch_max_wait(group.fetch_max_wait)
            .fetch_memory(group.fetch_memory);
        let limit = Duration::from_secs(6);
        let Ok(dispatcher) = tokio::time::timeout(limit, builder.connect()).await else {
            ctx.violated("P", "connect() did not end within its limit");
            return std::future::pending().await;
        };
        let dispatcher = dispatcher?;
        let (shared, life) = (ctx.clone(), self.life);
        let others = group.other_assignors.as_ref().filter(|_| self.slot % 2 == 1);
        let assignors = others.unwrap_or(&group.assignors);
        let mut subscribe = dispatcher
            .subscribe(ctx.topic(), move |message: Message| handle(shared.clone(), life, message))
            .group_exact(ctx.group())
            .concurrency(group.concurrency)
            .order(group.order)
            .on_failure(group.on_failure.clone())
            .assignors(assignors.iter().copied())
            .session_timeout(group.session_timeout)
            .commit_interval(group.commit_interval)
            .drain_timeout(group.drain_timeout)
            .stop_timeout(group.stop_timeout)
            .max_held(group.max_held)
            .spawn_each(group.spawn_each);
        if let Some(timeout) = group.handler_timeout {
            subscribe = subscribe.handler_timeout(timeout);
        }
        if group.skip_existing {
            subscribe = subscribe.skip_existing();
        }
        if group.static_members {
            subscribe = subscribe.instance_id(format!("instance-{}", self.slot));
        }
        let started = match tokio::time::timeout(Duration::from_secs(90), subscribe.start()).await {
            Ok(started) => started?,
            Err(_) => {
                ctx.violated("P", "start() of a subscription did not end within 90 s");
                return std::future::pending().await;
            }
        };
        Ok((dispatcher, started))
    }

    /// Pauses and goes on as planned. Never ends.
    async fn pause(&self, subscription: &Subscription) {
        let (ctx, mine) = (&self.ctx, |(slot, ..): &&(u32, Duration, Duration)| *slot == self.slot);
        for (_, from, length) in ctx.plan.pauses.iter().filter(mine) {
            if ctx.time() <= *from {
                ctx.until(*from).await;
                subscription.pause();
                tokio::time::sleep(*length).await;
                subscription.resume();
            }
        }
        std::future::pending().await
    }

    /// Reads the subscription's errors for whoever watches, and judges its events.
    pub(crate) fn listen(&self, subscription: &Subscription) {
        let (mut events, ctx, life, slot) = (subscription.events(), self.ctx.clone(), self.life, self.slot);
        tokio::spawn(async move {
            let mut owned = BTreeSet::new();
            while let Some(event) = events.next().await {
                ctx.log(|| format!("life {life}: {event:?}"));
                let (gone, partitions) = match event {
                    SubscriptionEvent::Assigned { partitions } => (false, partitions),
                    SubscriptionEvent::Revoked { partitions } | SubscriptionEvent::Lost { partitions } => {
                        (true, partitions)
                    }
                    _ => continue,
                };
                let quiet = ctx.plan.undisturbed.filter(|(below, _)| slot < *below);
                if quiet.is_some_and(|(_, from)| (from..ctx.plan.until).contains(&ctx.time())) {
                    ctx.violated("D", format!("member {slot} saw a rebalance that is none of its business"));
                }
                for partition in partitions {
                    let news = if gone { owned.remove(&partition) } else { owned.insert(partition.clone()) };
                    if !news {
                        ctx.violated("O", format!("life {life} is told twice that {partition:?} came or went"));
                    }
                }
            }
        });
        let (mut errors, ctx, life) = (subscription.errors(), self.ctx.clone(), self.life);
        tokio::spawn(async move {
            while let Some(failure) = errors.next().await {
                ctx.log(|| format!("life {life} is told: {}", failure.error()));
            }
        });
    }

    /// Stops in good order; says whether nothing was left.
    pub(crate) async fn stop(&self, subscription: &Subscription) -> bool {
        let ctx = &self.ctx;
        let owned = ctx.world().owned(self.life);
        let limit = ctx.plan.group.stop_timeout * 2 + FAREWELL;
        let Ok(stopped) = tokio::time::timeout(limit, subscription.stop()).await else {
            ctx.violated("P", format!("stop() of life {} did not end within {limit:?}", self.life));
            return false;
        };
        ctx.log(|| format!("life {} has stopped: {stopped:?}", self.life));
        let clean = stopped.is_ok_and(|s| s.unfinished() == 0);
        if clean {
            ctx.world().settle(ctx, self.life, &owned);
        }
        clean
    }
}

/// Ends the note of a handler that is dropped before it ends.
struct Call {
    ctx: Arc<Ctx>,
    token: u64,
    id: String,
    started: Duration,
    ended: bool,
}

impl Call {
    fn end(&mut self, finished: bool) {
        self.ended = true;
        self.ctx.world().end(&self.ctx, self.token, &self.id, finished);
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let group = &self.ctx.plan.group;
        let timed_out = group.handler_timeout.is_some_and(|limit| self.ctx.time() >= self.started + limit);
        if timed_out && World::failure_finishes(&group.on_failure) {
            self.end(true);
        } else {
            self.ctx.world().dropped(self.token);
        }
    }
}

async fn handle(ctx: Arc<Ctx>, life: usize, message: Message) -> Result<(), &'static str> {
    let value = String::from_utf8_lossy(message.value().unwrap_or_default()).into_owned();
    let id = value.split(' ').next().unwrap_or_default().to_owned();
    let (token, calm, attempt) = {
        let mut world = ctx.world();
        let token = world.begin(&ctx, life, &message, &id);
        let starts = world.records.get(&(message.partition(), message.offset())).map_or(0, |r| r.starts);
        (token, world.calm, starts)
    };
    let name = format!("life {life} handles {}/{} {id}", message.partition(), message.offset());
    ctx.log(|| format!("  {name}: begins, {attempt}"));
    let mut call = Call { ctx: ctx.clone(), token, id, started: ctx.time(), ended: false };
    let group = &ctx.plan.group;
    let dice = mix(ctx.plan.seed, format!("{} {attempt}", call.id).as_bytes());
    let time = match (calm, dice % 1000 < group.slow) {
        (true, _) => Duration::ZERO,
        (_, true) => group.slow_for.mul_f64((dice >> 10 & 0xff) as f64 / 255.0),
        _ => group.usual.mul_f64((dice >> 10 & 0xff) as f64 / 255.0),
    };
    if !time.is_zero() {
        // Some hurry when they are asked to.
        let hurries = dice >> 20 & 3 == 0;
        tokio::select! {
            biased;
            () = message.cancelled(), if hurries => {}
            () = tokio::time::sleep(time) => {}
        }
    }
    ctx.log(|| format!("  {name}: ends after {time:?}"));
    if !calm && attempt == 1 && (dice >> 24) % 1000 < group.failing {
        call.end(World::failure_finishes(&group.on_failure));
        if dice >> 40 & 1 == 0 {
            return Err("simulated");
        }
        std::panic::panic_any(PANIC);
    }
    call.end(true);
    Ok(())
}
