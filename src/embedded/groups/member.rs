//! One member of a group, and the request of it that waits for an answer. Only [`Group`](super::group::Group) and its
//! parts use it.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Client, Token};

/// A JoinGroup or SyncGroup that has not been answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    /// `None`: nobody is there any more to read the answer. For the group the member waits all the same.
    pub(super) token: Option<Token>,
    pub(super) version: i16,
}

impl Waiting {
    pub(super) fn abandon(&mut self, token: Token) {
        self.token = self.token.filter(|&own| own != token);
    }
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: String,
    /// Set for static members (KIP-345).
    pub(super) instance_id: Option<String>,
    pub(super) client: Client,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// Names and metadata, in the member's order of preference.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// Not yet through its first rebalance: it can time out although it waits for us.
    pub(super) is_new: bool,
    /// `None`: it passed while the member waited for us, and runs again from the answer on.
    pub(super) session_until: Option<Instant>,
    pub(super) joining: Option<Waiting>,
    pub(super) syncing: Option<Waiting>,
    /// Of the current generation, and has not sent its SyncGroup.
    pub(super) owes_sync: bool,
}

impl Member {
    pub(super) fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    /// Its metadata for a protocol.
    pub(super) fn metadata(&self, protocol: &str) -> Option<Bytes> {
        self.protocols.iter().find(|(name, _)| name == protocol).map(|(_, metadata)| metadata.clone())
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// Members that wait for us need no heartbeats, except new ones: a client that died while it waited for its first
    /// answer would otherwise never go.
    pub(super) fn needs_no_heartbeat(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }

    /// Starts the session anew.
    pub(super) fn touch(&mut self, now: Instant) {
        self.session_until = Some(now + self.session_timeout);
    }
}
