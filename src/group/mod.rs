//! Membership of a consumer group: sans-I/O machines, the assignors, and one driver.

mod assignor;
#[cfg(feature = "bench")]
pub(crate) mod bench;
mod calls;
mod classic;
mod commit;
mod driver;
mod handle;
mod offsets;
mod types;
mod watch;

pub use assignor::Assignor;
pub(crate) use driver::Group;
pub(crate) use handle::GroupHandle;
#[cfg(test)]
pub(crate) use types::Generation;
pub(crate) use types::{CommitOffset, Committed, GroupConfig, GroupEvent, GroupEvents, RevokeDone};

#[cfg(test)]
mod tests;
