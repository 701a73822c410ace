//! A failed record's way to another topic, in its lane: tried again as long as that may help, given up where it cannot.
//! What must stay true: a record that another topic was to have and has not is never finished; it is held at the least.

use std::sync::Arc;

use super::failure::{Failure, HandlerError};
use super::forward::{Destination, Prospect, prospect};
use super::job::{Job, Kept, Subject, Ticket};
use super::lane::Lane;
use super::record::{Assignment, Block, Record};
use super::retry::Last;
use super::scheduler::End;
use crate::{Error, Result};

/// So many refusals in a row that hardly pass, such as of a topic that must not be written to, are taken for final: with
/// the default backoff that is half a minute.
const MAX_REFUSED: u32 = 10;

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
        let error = match result {
            Ok(()) if kept.care => {
                return self.tend(*kept, ticket, End::Finished, Err(cause), to != Destination::DeadLetters);
            }
            Ok(()) => return Some(End::Finished),
            Err(error) => error,
        };
        let prospect = prospect(&error);
        kept.refused = if prospect == Prospect::Passes { 0 } else { kept.refused + 1 };
        if prospect == Prospect::Never || kept.refused >= MAX_REFUSED {
            return self.give_up(
                Subject { ticket, assignment, offset: kept.record.offset(), kept: Some(kept) },
                to,
                cause,
                error,
            );
        }
        self.could_not_pass(&assignment, kept.record.offset(), error, "tried again");
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
                    kept.refused = 0;
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
