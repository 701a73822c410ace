//! p6member and p7: a member of a group that says what it owns.

use std::collections::BTreeSet;
use std::time::Duration;

use dispatcher::{Assignor, Dispatcher, Error, Message, SubscriptionEvent};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{Asked, Outcome};

async fn ignore(_: Message) -> Result<(), Error> {
    Ok(())
}

/// Prints its partitions whenever they change, until SIGTERM: then it leaves. `ours` has the default assignors,
/// `ours-cooperative` the one that most peers use.
pub(super) async fn member(asked: &Asked) -> Outcome {
    let mut term = signal(SignalKind::terminate())?;
    let dispatcher = Dispatcher::builder(asked.brokers()?)
        .session_timeout(Duration::from_secs(6))
        .heartbeat_interval(Duration::from_secs(1))
        .connect()
        .await?;
    let mut subscribe = dispatcher.subscribe(asked.text("topic")?, ignore).group_exact(asked.text("group")?);
    if asked.peer == "ours-cooperative" {
        subscribe = subscribe.assignors([Assignor::CooperativeSticky]);
    }
    let subscription = subscribe.start().await?;
    let mut events = subscription.events();
    let mut own = BTreeSet::new();
    loop {
        tokio::select! {
            biased;
            _ = term.recv() => break,
            event = events.next() => {
                let Some(event) = event else { break };
                if changed(&mut own, event) {
                    println!("{}", json!({ "own": own }));
                }
            }
        }
    }
    subscription.stop().await?;
    Ok(())
}

/// Prints one line when it owns all partitions, and goes on.
pub(super) async fn idle(asked: &Asked) -> Outcome {
    let dispatcher = Dispatcher::builder(asked.brokers()?).connect().await?;
    let subscription =
        dispatcher.subscribe(asked.text("topic")?, ignore).group_exact(asked.text("group")?).start().await?;
    let mut events = subscription.events();
    let mut own = BTreeSet::new();
    let wanted = asked.number("partitions")?;
    while own.len() < wanted {
        let Some(event) = events.next().await else { break };
        changed(&mut own, event);
    }
    drop(events);
    println!("{}", json!({ "ready": own.len() == wanted, "partitions": own.len() }));
    subscription.join().await?;
    Ok(())
}

fn changed(own: &mut BTreeSet<i32>, event: SubscriptionEvent) -> bool {
    let before = own.len();
    match event {
        SubscriptionEvent::Assigned { partitions } => own.extend(partitions.iter().map(|(_, partition)| *partition)),
        SubscriptionEvent::Revoked { partitions } | SubscriptionEvent::Lost { partitions } => {
            own.retain(|mine| !partitions.iter().any(|(_, gone)| gone == mine));
        }
        _ => {}
    }
    own.len() != before
}
