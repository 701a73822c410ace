//! The fetcher.

use std::sync::Arc;

use super::delivery::Link;

/// What the handles tell the fetcher's task.
#[derive(Debug)]
pub(crate) enum Command {
    /// Something about this link changed: paused, resumed, detached, or memory came free.
    Nudge(Arc<Link>),
}
