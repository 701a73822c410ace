//! Senders: each is a process of its own that sends numbered messages, and notes what it is told about them.

use std::sync::Arc;
use std::time::Duration;

use dispatcher::{Delivery, Dispatcher, Error, ErrorKind, PendingReceipts, SendReport, Topic};
use tokio::task::JoinSet;

use crate::dice::Dice;
use crate::plan::SenderPlan;
use crate::world::{Ctx, Outcome, Send};

/// What a wait may take beyond its time.
const SLACK: Duration = Duration::from_millis(50);

/// Sends all; ends when everything is acknowledged or has failed, or with the process.
pub(crate) async fn send(ctx: Arc<Ctx>, number: usize) {
    let process = ctx.cluster.network().process();
    ctx.world().begin_sender(process.clone());
    let plan = &ctx.plan.senders[number];
    ctx.until(plan.from).await;
    let work = work(&ctx, number, plan, &process);
    match plan.killed_at {
        Some(at) => tokio::select! {
            biased;
            () = work => {}
            () = ctx.until(at.max(plan.from)) => {
                ctx.log(|| format!("sender {number} is killed"));
                process.kill();
            }
        },
        None => work.await,
    }
}

async fn work(ctx: &Arc<Ctx>, number: usize, plan: &SenderPlan, process: &dispatcher::embedded::Network) {
    let mut dice = Dice::new(ctx.plan.seed, &format!("sender {number}"));
    let mut impatience = Dice::new(ctx.plan.seed, &format!("impatience of sender {number}"));
    let (dispatcher, topic) = loop {
        match open(ctx, plan, process).await {
            Ok(open) => break open,
            Err(error) => {
                ctx.log(|| format!("sender {number} cannot begin: {error}"));
                if ctx.time() > ctx.plan.until + Duration::from_secs(60) {
                    return ctx.violated("P", format!("a sender cannot begin although all is well: {error}"));
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    };
    let mut waiting = JoinSet::new();
    for n in 0..plan.count {
        if n % plan.burst == 0 {
            tokio::time::sleep(dice.moment(plan.pause * plan.burst)).await;
        }
        let id = format!("{number}:{n}");
        let value = format!("{id} {}", "x".repeat(dice.size(0..=plan.padding)));
        let mut message = topic.send(value);
        if plan.keys > 0 && (ctx.plan.compacted || dice.chance(0.9)) {
            message = message.key(format!("key-{}", dice.number(1..=plan.keys)));
        }
        let at = {
            let mut world = ctx.world();
            let recreations = world.recreations;
            let outcome = Outcome::Unknown;
            world.sends.push(Send { id, producer: number, partition: None, outcome, recreations });
            world.sends.len() - 1
        };
        if let Some(timeout) = plan.receipts {
            // The first one has to make the topic of the receipts, and has no more time for that.
            match tokio::time::timeout(timeout + SLACK, message.receipt(timeout).enqueue()).await {
                Err(_) => {
                    ctx.violated("P", format!("enqueue() of a message with a receipt did not end within {timeout:?}"))
                }
                Ok(Err(error)) => told(ctx, at, Err(error)),
                Ok(Ok(pending)) => {
                    let _ = waiting.spawn(answered(ctx.clone(), at, pending, timeout));
                }
            }
            continue;
        }
        // Some calls are dropped in their midst.
        let limit = if impatience.chance(plan.impatient) {
            impatience.ms(0..=50)
        } else {
            plan.max_block + Duration::from_secs(1)
        };
        match tokio::time::timeout(limit, message.enqueue()).await {
            Err(_) if limit <= Duration::from_millis(50) => {}
            Err(_) => ctx.violated("P", format!("enqueue() did not end within max_block {:?}", plan.max_block)),
            Ok(Err(error)) => told(ctx, at, Err(error)),
            Ok(Ok(delivery)) => {
                ctx.world().sends[at].partition = Some(delivery.partition());
                // A delivery that nobody waits for is sent all the same.
                if dice.chance(0.95) {
                    waiting.spawn(wait(ctx.clone(), at, delivery, plan.delivery_timeout));
                }
            }
        }
    }
    while waiting.join_next().await.is_some() {}
    let limit = Duration::from_secs(5);
    match tokio::time::timeout(limit * 2, dispatcher.close(limit)).await {
        Ok(closed) => ctx.log(|| format!("sender {number} has closed: {closed:?}")),
        Err(_) => ctx.violated("P", "close() did not end within its limit"),
    }
}

async fn open(
    ctx: &Arc<Ctx>,
    plan: &SenderPlan,
    process: &dispatcher::embedded::Network,
) -> Result<(Dispatcher, Topic), Error> {
    let dispatcher = Dispatcher::builder(ctx.cluster.brokers())
        .network(process)
        .client_id("sender")
        .partitions(ctx.plan.partitions)
        .replicas(ctx.plan.brokers as i16)
        .connect_timeout(Duration::from_secs(5))
        .request_timeout(plan.request_timeout)
        .delivery_timeout(plan.delivery_timeout)
        .max_block(plan.max_block)
        .linger(plan.linger)
        .batch_size(plan.batch_size)
        .buffer_memory(plan.buffer_memory)
        .max_message_size(plan.buffer_memory.min(10_000))
        .compression(plan.compression)
        .connect()
        .await?;
    let topic = dispatcher.topic(ctx.topic()).await?;
    Ok((dispatcher, topic))
}

async fn wait(ctx: Arc<Ctx>, at: usize, delivery: Delivery, delivery_timeout: Duration) {
    // A timer may be late by its clock's step.
    let limit = delivery_timeout + Duration::from_millis(5);
    let began = ctx.time();
    match tokio::time::timeout(limit + Duration::from_secs(60), delivery).await {
        Ok(outcome) => told(&ctx, at, outcome),
        Err(_) => ctx.violated("P", "a delivery never ended"),
    }
    let took = ctx.time() - began;
    if took > limit {
        ctx.violated("P", format!("a delivery took {took:?}, its delivery_timeout was {delivery_timeout:?}"));
    }
}

/// A receipt tells the truth about this very message, and its time-out comes in time.
async fn answered(ctx: Arc<Ctx>, at: usize, mut pending: PendingReceipts, timeout: Duration) {
    let (began, id) = (ctx.time(), pending.id().to_owned());
    told(&ctx, at, pending.acknowledged().await);
    let due = ctx.time().max(began + timeout) + SLACK;
    let name = ctx.world().sends[at].id.clone();
    match pending.receipts().await {
        Ok(receipts) => {
            let receipt = &receipts[0];
            ctx.log(|| format!("receipt of {name}: {receipt:?}"));
            if receipt.id() != id || receipts.len() != 1 {
                ctx.violated("I", format!("{name} got the receipts {receipts:?}, its id is {id}"));
            }
            if *receipt.outcome() == dispatcher::Outcome::Ok && !ctx.world().handled_ids.contains(&name) {
                ctx.violated("C", format!("{name} has a receipt although its handler has not ended"));
            }
        }
        Err(error) => {
            ctx.log(|| format!("no receipt of {name}: {error}"));
            if ctx.time() > due {
                ctx.violated("P", format!("no receipt of {name} came in {timeout:?}, and that was said later"));
            }
        }
    }
}

fn told(ctx: &Ctx, at: usize, outcome: Result<SendReport, Error>) {
    let mut world = ctx.world();
    world.trace.number(at as u64);
    let send = &mut world.sends[at];
    send.outcome = match &outcome {
        Ok(report) => Outcome::Acked(report.partition(), report.offset()),
        Err(error) if error.kind() == ErrorKind::MaybeWritten => Outcome::MaybeWritten,
        // All others say that nothing was written.
        Err(_) => Outcome::NotWritten,
    };
    let text = format!("{} {:?}", send.id, send.outcome);
    world.trace.bytes(text.as_bytes());
    drop(world);
    ctx.log(|| match outcome {
        Ok(_) => format!("sent {text}"),
        Err(error) => format!("sent {text}: {error}"),
    });
}
