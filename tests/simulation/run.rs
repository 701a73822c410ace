//! One run: from a seed to a verdict.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use dispatcher::embedded::EmbeddedCluster;

use crate::member::{self, Member};
use crate::plan::Plan;
use crate::world::{Ctx, TOPIC};
use crate::{chaos, check, sender};

/// How long it may take, once all is in order, until everything is handled and committed.
const RECOVERY: Duration = Duration::from_secs(180);

thread_local! {
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Panics are noted for the run they happen in; those of handlers are meant.
pub(crate) fn note_panics() {
    std::panic::set_hook(Box::new(|info| {
        if info.payload().downcast_ref::<&str>() != Some(&member::PANIC) {
            PANICS.with_borrow_mut(|panics| panics.push(info.to_string()));
        }
    }));
}

/// What came of a run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) trace: u64,
    /// Nothing, if all is well.
    pub(crate) violations: Vec<String>,
    pub(crate) messages: u64,
    pub(crate) handled: u64,
    pub(crate) requests: u64,
    /// The most requests in one virtual second.
    pub(crate) busiest: u64,
    pub(crate) virtual_time: Duration,
}

/// Runs the seed's schedule on the present thread.
pub(crate) fn run(seed: u64, verbose: bool) -> Verdict {
    run_plan(Plan::draw(seed), verbose)
}

/// Runs a schedule on the present thread.
pub(crate) fn run_plan(plan: Plan, verbose: bool) -> Verdict {
    PANICS.take();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let run = || runtime.block_on(schedule(plan, verbose));
    let mut verdict = catch_unwind(AssertUnwindSafe(run)).unwrap_or_default();
    let _ended = catch_unwind(AssertUnwindSafe(|| drop(runtime)));
    verdict.violations.extend(PANICS.take().into_iter().map(|panic| format!("P: {panic}")));
    verdict
}

async fn schedule(plan: Plan, verbose: bool) -> Verdict {
    if verbose {
        println!("{plan:#?}");
    }
    let policy = if plan.compacted { "compact" } else { "delete" };
    let cluster = EmbeddedCluster::builder()
        .brokers(plan.brokers as usize)
        .topic_with(TOPIC, plan.partitions, -1, &[("cleanup.policy", policy)])
        .kafka_version(plan.version)
        .initial_rebalance_delay(plan.rebalance_delay)
        .seed(plan.seed)
        .start()
        .await
        .expect("a cluster");
    let ctx = Ctx::new(plan, cluster, verbose);
    let observer = Arc::downgrade(&ctx);
    ctx.cluster.observe(move |event| {
        if let Some(ctx) = observer.upgrade() {
            ctx.observe(event);
        }
    });
    let senders: Vec<_> = (0..ctx.plan.senders.len()).map(|n| tokio::spawn(sender::send(ctx.clone(), n))).collect();
    let lives: Vec<_> = ctx.plan.lives.iter().map(|l| tokio::spawn(member::live(ctx.clone(), l.clone()))).collect();
    chaos::reign(&ctx).await;
    for task in senders.into_iter().chain(lives) {
        // Each has its own limits.
        let _panicked = task.await;
    }
    ctx.world().calm = true;
    recover(&ctx).await;
    check::judge(&ctx);
    let virtual_time = ctx.time();
    let world = ctx.world();
    Verdict {
        trace: world.trace.0,
        violations: world.violations.clone(),
        messages: world.sends.len() as u64,
        handled: world.handled_ids.len() as u64,
        requests: world.requests,
        busiest: world.busiest,
        virtual_time,
    }
}

/// New members, and no trouble: all there is must be handled and committed, and nothing of it again.
async fn recover(ctx: &Arc<Ctx>) {
    ctx.log(|| "the last members begin".into());
    let began = ctx.time();
    let mut members = Vec::new();
    for slot in 10..11 + ctx.plan.seed % 2 {
        let member = Member::new(ctx, slot as u32);
        match member.subscribe().await {
            Ok((dispatcher, subscription)) => {
                member.listen(&subscription);
                members.push((member, dispatcher, subscription));
            }
            Err(error) => return ctx.violated("P", format!("a member cannot begin although all is well: {error}")),
        }
    }
    loop {
        let behind = behind(ctx);
        if behind.is_empty() && ctx.world().running() == 0 {
            break;
        }
        if let Some((member, ..)) = members.iter().find(|(.., subscription)| subscription.is_ended()) {
            return ctx.violated("P", format!("life {} has ended although all is well", member.life));
        }
        if ctx.time() > began + RECOVERY {
            return ctx.violated("L", format!("not everything is committed after {RECOVERY:?}: {}", behind.join(", ")));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ctx.log(|| "everything is committed".into());
    // A request whose sender has given it up may still be carried out: what comes from now on is nobody's business.
    let end = |p| Some((p, ctx.cluster.partition(ctx.topic(), p)?.log_end));
    let ends = (0..ctx.partitions()).filter_map(end).collect();
    ctx.world().ends = ends;
    for (member, dispatcher, subscription) in members {
        match dispatcher.consume_status(ctx.topic(), ctx.group()).await {
            Ok(status) if status.total_lag() == 0 || ctx.world().recreations > 0 => {}
            Ok(status) => ctx.violated("L", format!("a lag of {} is reported: {status:?}", status.total_lag())),
            Err(error) => ctx.violated("P", format!("the status cannot be had although all is well: {error}")),
        }
        if !member.stop(&subscription).await {
            ctx.violated("D", format!("the stop of life {} was not clean although all is well", member.life));
        }
    }
    // One more must find nothing to do.
    let member = Member::new(ctx, 20);
    match member.subscribe().await {
        Ok((_dispatcher, subscription)) => {
            member.listen(&subscription);
            tokio::time::sleep(Duration::from_secs(10)).await;
            member.stop(&subscription).await;
        }
        Err(error) => ctx.violated("P", format!("a member cannot begin although all is well: {error}")),
    }
}

/// Partitions in which something is not committed.
fn behind(ctx: &Ctx) -> Vec<String> {
    let committed = ctx.committed();
    let of = |p: i32| {
        let log = ctx.cluster.partition(TOPIC, p)?;
        let committed = committed.get(&p).copied();
        // What was deleted before anyone handled it is nobody's to commit.
        let all = committed.unwrap_or(log.log_start) >= log.high_watermark && log.high_watermark == log.log_end;
        (!all).then(|| format!("partition {p} is committed up to {committed:?}, it is {log:?}"))
    };
    (0..ctx.partitions()).filter_map(of).collect()
}
