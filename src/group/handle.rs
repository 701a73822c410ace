//! The worker's side of a membership: commits, look-ups and leaving, as commands to the driver's task.

use tokio::sync::{mpsc, oneshot};

use super::types::{CommitOffset, Committed};
use crate::client::types::TopicPartition;
use crate::error::{Error, ErrorKind, Result};
use crate::wire::ErrorCode;

/// A membership. When the last clone is dropped, the member leaves the group in the background, without draining.
#[derive(Debug, Clone)]
pub(crate) struct GroupHandle {
    commands: mpsc::Sender<Command>,
}

/// What the driver is asked for. Each is answered within a limit.
#[derive(Debug)]
pub(crate) enum Command {
    Commit { offsets: Vec<(TopicPartition, CommitOffset)>, reply: oneshot::Sender<CommitResult> },
    Committed { partitions: Vec<TopicPartition>, reply: oneshot::Sender<CommittedResult> },
    Leave { reply: oneshot::Sender<()> },
}

pub(crate) type CommitResult = Result<Vec<(TopicPartition, ErrorCode)>>;
pub(crate) type CommittedResult = Result<Vec<(TopicPartition, Result<Option<Committed>>)>>;

impl GroupHandle {
    /// The handle, and where its commands arrive.
    pub(super) fn new() -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(16);
        (Self { commands }, receiver)
    }

    /// Commits, and says for each partition how that went. One OffsetCommit is in flight at a time; what is asked for
    /// meanwhile goes with the next one. Answers within the request time-out.
    ///
    /// Partitions that are not owned when the request is sent get ILLEGAL_GENERATION. Dropping the future does not
    /// take the commit back.
    pub(crate) async fn commit(&self, offsets: Vec<(TopicPartition, CommitOffset)>) -> CommitResult {
        self.ask(|reply| Command::Commit { offsets, reply }).await?
    }

    /// The group's committed offsets; `None` where there is none. What the coordinator says of one partition, such as that an
    /// open transaction may still commit there, is that partition's error. Answers within the request time-out.
    /// Cancel-safe.
    pub(crate) async fn committed(&self, partitions: &[TopicPartition]) -> CommittedResult {
        let partitions = partitions.to_vec();
        self.ask(|reply| Command::Committed { partitions, reply }).await?
    }

    /// Leaves the group: everything owned is revoked, then LeaveGroup is sent (by dynamic members; static ones stay
    /// and are expected back). Ends within the stop time-out plus 10 s. Dropping the future does not stop it.
    pub(crate) async fn leave(&self) {
        // An error means that the membership has ended already.
        let _ = self.ask(|reply| Command::Leave { reply }).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        let ended = || Error::new(ErrorKind::Closed, "the group membership has ended: subscribe again");
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }
}
