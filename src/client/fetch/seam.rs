//! What a reader over another client library is built from, so that it delivers as the native one does: a link, the budget,
//! and what to do about an offset that is not in the log. Called by `client/rskafka`.

use std::sync::Arc;

use tokio::sync::mpsc;

pub(in crate::client) use super::budget::{Budget, Reservation};
use super::delivery::{Attached, FetchFault, FetchOut};
pub(in crate::client) use super::delivery::{Link, LinkState, Memory};
pub(in crate::client) use super::fetcher::Command;
pub(in crate::client) use super::reading::LogFacts;
use super::reading::repair;
use crate::client::types::{AssignmentEpoch, Position, TopicPartition};
use crate::error::{Error, ErrorKind};

/// An attachment whose owner gets its nudges alone; they end when it is dropped. `id` is unique within a backend.
pub(in crate::client) fn attachment(
    id: u64,
    tp: Arc<TopicPartition>,
    epoch: AssignmentEpoch,
    out: FetchOut,
) -> (Attached, Arc<Link>, mpsc::UnboundedReceiver<Command>) {
    let (owner, nudges) = mpsc::unbounded_channel();
    let link = Link::new(id, tp, epoch, out, owner.downgrade());
    (Attached::new(link.clone(), owner), link, nudges)
}

/// Where to go on, which the user is told; `None`: the offset is in the log after all.
pub(in crate::client) fn out_of_range(link: &Arc<Link>, position: Position, facts: LogFacts) -> Option<Position> {
    let (position, told) = repair(position, facts);
    let tp = link.tp();
    let what = told?;
    tracing::warn!(target: "dispatcher::client::fetch", %tp, "{what}");
    link.report(FetchFault::Notice, Error::new(ErrorKind::Broker, format!("{tp}: {what}")));
    Some(position)
}
