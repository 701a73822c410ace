//! A cluster: metadata, connections per broker, producer, fetcher, offsets, admin.
//! The rooms above reach partitions through the seam in `backend`; none of them knows a request version.

mod types;

pub use types::{Isolation, TopicId};
