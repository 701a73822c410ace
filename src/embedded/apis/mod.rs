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
mod topics;
mod transactions;
mod versions;

pub(super) use topics::{Refused, delete, grow, new_topic};
pub(super) use versions::offered;
