//! From records to handler calls and back to commits: ordering, the pool of lanes, the offset tracker, the consumer
//! that ties them to a group. Machines (tracker, metadata, keys, part, scheduler, policy) know no tokio and no clock;
//! lanes and the consumer drive them.

mod aftercare;
mod assign;
#[cfg(feature = "bench")]
pub(crate) mod bench;
mod cancel;
mod commit;
mod config;
mod consumer;
mod events;
mod failure;
mod follow;
mod forward;
mod handle;
mod job;
mod keys;
mod lane;
mod live;
mod metadata;
mod part;
mod passing;
mod policy;
mod pool;
mod record;
mod retry;
mod revoke;
mod ring;
mod scheduler;
mod seam;
mod start;
mod stop;
#[cfg(any(test, feature = "bench"))]
mod testkit;
#[cfg(test)]
mod tests;
mod tracker;
mod waiting;
mod watching;
mod written;

pub(crate) use aftercare::{Aftercare, Begun, Ending, Seams};
pub(crate) use cancel::Cancel;
pub(crate) use config::ConsumerConfig;
pub use config::{Order, StartAt};
pub(crate) use events::Events;
pub use events::SubscriptionEvent;
pub(crate) use failure::{Failure, Failures, HandlerError, Unfit};
pub(crate) use forward::{Destination, Forward, RetryTopic};
pub(crate) use handle::{ConsumerHandle, Ended};
pub(crate) use live::{Source, start};
pub(crate) use metadata::{Finished, LogId};
pub(crate) use record::Record;
pub use retry::{OnFailure, RetryPolicy};
