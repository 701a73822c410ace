//! Membership of a consumer group: sans-I/O machines, the assignors, and one driver.
#![allow(dead_code)]

mod assignor;
mod classic;
mod commit;
mod handle;
mod types;

pub use assignor::Assignor;
pub(crate) use handle::GroupHandle;
pub(crate) use types::{CommitOffset, Committed, Generation, GroupConfig, GroupEvent, GroupEvents, RevokeDone};
