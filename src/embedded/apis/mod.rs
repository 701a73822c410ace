//! What the broker does for each API. One file per kind of request; each implements [`Serve`](super::dispatch::Serve).

mod configs;
mod coordinator;
mod fetch;
mod groups;
mod list_offsets;
mod metadata;
mod offsets;
mod produce;
mod records;
mod topic_changes;
mod topics;
mod transactions;
mod versions;

pub(super) use topic_changes::{delete, grow};
pub(super) use topics::{Refused, new_topic};
pub(super) use versions::offered;
