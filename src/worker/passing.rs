//! A failed record's way to another topic, in its lane: tried again as long as that may help, given up where it cannot.
//! What must stay true: a record that another topic was to have and has not is never finished; it is held at the least.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::failure::{Failure, HandlerError};
use super::forward::{Destination, Prospect, prospect};
use super::job::{Job, Kept, Subject, Ticket};
use super::lane::Lane;
use super::record::{Assignment, Block, Record};
use super::retry::Last;
use super::scheduler::End;
use crate::{Error, Result};

/// So many refusals in a row that hardly pass, such as of a topic that must not be written to, are taken for final,
const MAX_REFUSED: u32 = 10;
/// but not before so long a time: somebody may be giving the right just now, whatever the backoff is.
const MIN_REFUSED: Duration = Duration::from_secs(30);

/// Refusals in a row that hardly pass.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    count: u32,
    since: Option<Instant>,
}

impl Refusals {
    /// One more. Whether they are taken for final now.
    fn add(&mut self, now: Instant) -> bool {
        self.count = self.count.saturating_add(1);
        let since = *self.since.get_or_insert(now);
        self.count >= MAX_REFUSED && now.saturating_duration_since(since) >= MIN_REFUSED
    }
}

impl<B, H, F> Lane<B, H, F>
where
    B: Block,
    H: Fn(Record<B>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), HandlerError>> + Send + 'static,
{
    /// Passes a record on. Until it is acknowledged, the record is unfinished.
    pub(super) fn forward(&mut self, subject: Subject<B>) -> Option<End> {
        let (Some(forward), Some(kept)) = (&self.rules.forward, &subject.kept) else { return Some(End::Held) };
        let Some((to, cause)) = &kept.passing else { return Some(End::Held) };
        subject.assignment.set_passing(subject.offset, true);
        let forward = forward.forward(kept.record.clone(), *to, cause.clone());
        self.running.push(Job::forwarding(forward, subject));
        None
    }

    /// An attempt to pass a record on has ended.
    pub(super) fn forwarded(
        &mut self,
        mut kept: Box<Kept<B>>,
        ticket: Ticket,
        assignment: Arc<Assignment>,
        result: Result<()>,
    ) -> Option<End> {
        let Some((to, cause)) = kept.passing.take() else { return Some(End::Held) };
        assignment.set_passing(kept.record.offset(), false);
        let error = match result {
            Ok(()) if kept.care => {
                return self.tend(*kept, ticket, End::Finished, Err(cause), to != Destination::DeadLetters);
            }
            Ok(()) => return Some(End::Finished),
            Err(error) => error,
        };
        let prospect = prospect(&error);
        let is_final = match prospect {
            Prospect::Passes => {
                kept.refused = Refusals::default();
                false
            }
            Prospect::Hardly => kept.refused.add(self.env.now()),
            Prospect::Never => true,
        };
        if is_final {
            return self.give_up(
                Subject { ticket, assignment, offset: kept.record.offset(), kept: Some(kept) },
                to,
                cause,
                error,
            );
        }
        self.could_not_pass(&assignment, kept.record.offset(), error, "tried again");
        assignment.set_passing(kept.record.offset(), true);
        kept.passing = Some((to, cause));
        let offset = kept.record.offset();
        self.rest(Subject { ticket, assignment, offset, kept: Some(kept) });
        None
    }

    /// A record is never going to be where it was to go. Its last attempt was the last of all then: what the policy says
    /// for that follows, except that nothing is lost because of a topic's settings.
    fn give_up(&mut self, subject: Subject<B>, to: Destination, cause: Error, error: Error) -> Option<End> {
        let Subject { ticket, assignment, offset, kept } = subject;
        let Some(mut kept) = kept else { return Some(End::Held) };
        let is_retry = to != Destination::DeadLetters;
        let last = self.rules.plan.last;
        let then = match last {
            Last::DeadLetter if is_retry => "it goes to the dead letters now",
            Last::Stop if is_retry => "the subscription stops",
            _ => "it is held, and comes again after a restart: put that right first",
        };
        self.could_not_pass(&assignment, offset, error, then);
        let mut end = End::Held;
        if is_retry {
            // Until now it was not told.
            let told = self.failed(&cause, &assignment.tp, offset);
            match last {
                Last::DeadLetter => {
                    kept.passing = Some((Destination::DeadLetters, cause));
                    kept.refused = Refusals::default();
                    kept.backoff.reset();
                    return self.forward(Subject { ticket, assignment, offset, kept: Some(kept) });
                }
                Last::Stop => end = told,
                Last::Hold | Last::Skip => {}
            }
        }
        if kept.care { self.tend(*kept, ticket, end, Err(cause), false) } else { Some(end) }
    }

    fn could_not_pass(&self, assignment: &Assignment, offset: i64, error: Error, then: &str) {
        let (kind, tp) = (error.kind(), &assignment.tp);
        let error = error.wrap(kind, format!("{tp} offset {offset} failed and could not be passed on ({then})"));
        tracing::warn!(target: "dispatcher::worker", "{error}");
        self.shared.failures.push(Failure { record: Some((tp.clone(), offset)), error });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // Only a beginning to count from.
    fn refusals_are_final_when_they_are_many_and_have_lasted() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut fast = Refusals::default();
        let ended = (0..40_000_u32).position(|n| fast.add(start + n * Duration::from_millis(1)));
        assert_eq!(ended, Some(30_000), "half a minute though the backoff is short");
        let mut slow = Refusals::default();
        let ended = (0..20_u32).position(|n| slow.add(start + n * 10 * second));
        assert_eq!(ended, Some(9), "ten though each takes long");
    }
}
