//! What becomes of failed messages, as users say it, and as lanes follow it: attempts in place, retry topics, the end.

use std::time::Duration;

use crate::client::retry::BackoffConfig;
use crate::{Error, ErrorKind, Result};

/// What becomes of a message whose handler failed.
///
/// ```
/// use std::time::Duration;
///
/// use dispatcher::{OnFailure, RetryPolicy};
///
/// // Three more attempts in place, one after ten minutes, then the dead-letter topic.
/// let policy = RetryPolicy::new(3).through_topics([Duration::from_secs(600)]).dead_letter("orders.dead");
/// let on_failure = OnFailure::Retry(policy);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum OnFailure {
    /// **Reported and committed**: the message is not handled again. The default, as in the Go dispatcher.
    #[default]
    Skip,
    /// Reported and kept: commits never pass it, and it is handled again after a restart or by the next owner.
    Hold,
    /// Reported, and the subscription stops: what came before it in each partition is committed, nothing at or past it.
    Stop,
    /// Handled again, as the policy says.
    Retry(RetryPolicy),
    /// Reported, and written to this topic with the cause in headers, before it is committed: see
    /// [`Message::origin`](crate::Message::origin). The topic is made if it does not exist, and cannot be one that is
    /// subscribed to. While it cannot be written to, that is reported and tried again, and the message is not committed.
    ///
    /// A message that is too large for the topic with these headers goes there with fewer of them, at last with none. If
    /// it is too large even so, or the topic goes on refusing what cannot pass by itself (ten times in a row, half a minute
    /// or so: no right to write there, say), the reason and what to do are reported, and the message is **held** as under
    /// [`Hold`](Self::Hold): nothing is lost, and it is handled again after a restart.
    DeadLetter(String),
}

/// How failed messages are handled again.
///
/// **In place** first: the message keeps its place in the order of its key or partition, and its share of the
/// subscription's concurrency, until its last attempt in place has ended. Then, if there are
/// [retry topics](Self::through_topics), from each of these after its delay. After the last attempt of all, what
/// [`then`](Self::then) says; only that last failure comes to [`errors`](crate::Subscription::errors), the others are
/// events of `tracing` at level debug.
///
/// A sender that [waits for a receipt](crate::SendMessage::receipt) or
/// [watches for errors](crate::SendMessage::watch_errors) is answered once, after the last attempt of all; a dead letter,
/// whoever reads it, asks for no answer any more.
///
/// [`handler_timeout`](crate::Subscribe::handler_timeout) is for each attempt. A message that does not fit its handler's
/// argument ([`FromMessage`](crate::FromMessage)) is not tried again. When its partition is taken away or the subscription
/// stops, a message that waits for its next attempt is given up at once: it comes again, with its first attempt in place.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    attempts: u32,
    first: Duration,
    max: Duration,
    topics: Vec<Duration>,
    then: Box<OnFailure>,
}

/// The longest delay of a retry topic.
const MAX_DELAY: Duration = Duration::from_secs(7 * 24 * 3600);

impl RetryPolicy {
    /// So many more attempts in place after the first; 0 makes sense with [`through_topics`](Self::through_topics).
    pub fn new(attempts: u32) -> Self {
        let then = Box::new(OnFailure::Skip);
        Self { attempts, first: Duration::from_millis(100), max: Duration::from_secs(10), topics: Vec::new(), then }
    }

    /// The pause before the second attempt in place, which doubles for each further one up to `max`; all are spread by
    /// a fifth at random. Default 100 ms and 10 s.
    pub fn backoff(mut self, first: Duration, max: Duration) -> Self {
        (self.first, self.max) = (first, max);
        self
    }

    /// After the attempts in place the message goes to a retry topic, from which it is handled when the first of these
    /// delays is over, again with all attempts in place; if that fails, to the next one. At most 16 delays of at most 7
    /// days.
    ///
    /// Every member of the group reads the retry topics too, `<topic>.<group>.retry.<n>`, which are made if they do not
    /// exist; characters that Kafka does not allow in names, and dots of the group, become `-`, followed by a checksum. Give all
    /// members of the group the same delays. Meanwhile the messages behind it go on: order by key is kept within a retry
    /// topic only. A message that waits costs no handler and holds up no other partition.
    /// Each time it is handed out counts for [`count`](crate::Subscribe::count), and
    /// [`until_end`](crate::Subscribe::until_end) does not wait for what goes to a retry topic meanwhile.
    ///
    /// A message that a retry topic never takes, because it is too large for it even with no more headers than are needed,
    /// or because the topic goes on refusing what cannot pass by itself, has had its last attempt: that is reported, and
    /// what [`then`](Self::then) says follows, except that under [`OnFailure::Skip`] it is **held** as under
    /// [`OnFailure::Hold`]. Let these topics' `max.message.bytes` be 1 KiB or more above that of the topic itself.
    ///
    /// [`Message::topic`](crate::Message::topic), partition and offset are of where the message was read, the retry topic
    /// then; [`Message::origin`](crate::Message::origin) is of where it came from, and
    /// [`Message::attempt`](crate::Message::attempt) goes on counting.
    pub fn through_topics(mut self, delays: impl IntoIterator<Item = Duration>) -> Self {
        self.topics = delays.into_iter().collect();
        self
    }

    /// What becomes of a message after its last attempt; anything but another retry. Default [`OnFailure::Skip`].
    pub fn then(mut self, last: OnFailure) -> Self {
        self.then = Box::new(last);
        self
    }

    /// [`then`](Self::then) with [`OnFailure::DeadLetter`].
    pub fn dead_letter(self, topic: impl Into<String>) -> Self {
        self.then(OnFailure::DeadLetter(topic.into()))
    }

    /// The delays of the retry topics.
    pub(crate) fn delays(&self) -> &[Duration] {
        &self.topics
    }
}

impl OnFailure {
    pub(crate) fn validate(&self) -> Result<()> {
        let invalid = |text: &'static str| Err(Error::new(ErrorKind::InvalidConfig, text));
        let Self::Retry(policy) = self else { return Ok(()) };
        if matches!(*policy.then, Self::Retry(_)) {
            return invalid("a retry is followed by another retry: give the first one more attempts");
        }
        if policy.first < Duration::from_millis(1) || policy.max < policy.first {
            return invalid("a retry's backoff must be 1 ms or more and not above its maximum");
        }
        if policy.topics.len() > 16 || policy.topics.iter().any(|delay| *delay > MAX_DELAY) {
            return invalid("retry topics: use at most 16 delays of at most 7 days");
        }
        Ok(())
    }

    /// The delays of the retry topics, in order.
    pub(crate) fn delays(&self) -> &[Duration] {
        match self {
            Self::Retry(policy) => policy.delays(),
            _ => &[],
        }
    }

    /// Where messages end that are not handled any more.
    pub(crate) fn dead_letters(&self) -> Option<&str> {
        match self {
            Self::DeadLetter(topic) => Some(topic),
            Self::Retry(policy) => policy.then.dead_letters(),
            _ => None,
        }
    }

    pub(crate) fn plan(&self) -> Plan {
        let last = |what: &Self| match what {
            Self::Skip | Self::Retry(_) => Last::Skip,
            Self::Hold => Last::Hold,
            Self::Stop => Last::Stop,
            Self::DeadLetter(_) => Last::DeadLetter,
        };
        let once = RetryPolicy::new(0);
        let (policy, last) = match self {
            Self::Retry(policy) => (policy, last(&policy.then)),
            other => (&once, last(other)),
        };
        Plan {
            attempts: policy.attempts.saturating_add(1),
            backoff: BackoffConfig { first: policy.first, max: policy.max },
            stages: policy.topics.len() as u32,
            last,
        }
    }
}

/// A failure policy as lanes follow it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How often a handler is called for a record in place, at least 1.
    pub(crate) attempts: u32,
    /// Between two of these calls, and between two attempts to pass a record on.
    pub(crate) backoff: BackoffConfig,
    /// How many retry topics there are.
    pub(crate) stages: u32,
    /// What becomes of the record then.
    pub(crate) last: Last,
}

impl Plan {
    /// Whether anything may follow on a failure that needs the record.
    pub(crate) fn keeps(&self) -> bool {
        self.attempts > 1 || self.stages > 0 || self.last == Last::DeadLetter
    }

    /// The attempts made before a record came into its retry topic. What it says of itself is no more than a hint.
    pub(crate) fn attempts_before(&self, stage: u32, said: Option<u32>) -> u32 {
        said.unwrap_or(0).clamp(stage, self.attempts.saturating_mul(stage))
    }
}

/// What becomes of a record that is handled no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Last {
    Skip,
    Hold,
    Stop,
    DeadLetter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_policies_are_refused() {
        let second = Duration::from_secs(1);
        for bad in [
            RetryPolicy::new(1).then(OnFailure::Retry(RetryPolicy::new(1))),
            RetryPolicy::new(1).backoff(Duration::ZERO, second),
            RetryPolicy::new(1).backoff(second, second / 2),
            RetryPolicy::new(1).through_topics([second * 1_000_000]),
            RetryPolicy::new(1).through_topics([second; 17]),
        ] {
            assert_eq!(OnFailure::Retry(bad).validate().unwrap_err().kind(), ErrorKind::InvalidConfig);
        }
        OnFailure::Retry(RetryPolicy::new(0).through_topics([Duration::ZERO, second])).validate().unwrap();
    }

    #[test]
    fn what_a_record_says_of_its_attempts_is_clamped_to_what_is_possible() {
        let plan = OnFailure::Retry(RetryPolicy::new(2).through_topics([Duration::ZERO; 3])).plan();
        assert_eq!((plan.attempts, plan.stages), (3, 3));
        for (stage, said, believed) in
            [(1, Some(3), 3), (1, Some(u32::MAX), 3), (2, Some(0), 2), (2, None, 2), (3, Some(7), 7)]
        {
            assert_eq!(plan.attempts_before(stage, said), believed);
        }
    }
}
