//! Faults on order: which requests meet one, and which. For tests of this library and of its users.

use std::time::Duration;

use super::Api;
use crate::wire::ErrorCode;

/// One kind of trouble for some requests; [`EmbeddedCluster::inject`](super::EmbeddedCluster::inject) arms it.
///
/// ```
/// use std::time::Duration;
/// use dispatcher::embedded::{Api, ErrorCode, Fault};
///
/// // The third Produce request to broker 2 is refused.
/// let refused = Fault::on(Api::Produce).broker(2).nth(3).error(ErrorCode::NOT_ENOUGH_REPLICAS);
/// // The next one is written, but the answer is lost.
/// let lost = Fault::on(Api::Produce).drop_after();
/// // Every request to broker 1 takes 100 ms longer.
/// let slow = Fault::on_any().broker(1).always().delay(Duration::from_millis(100));
/// // One in twenty Fetch responses is cut off after 30 bytes.
/// let cut = Fault::on(Api::Fetch).always().chance(0.05).truncate(30);
/// ```
#[derive(Debug, Clone)]
#[must_use = "arm it with EmbeddedCluster::inject"]
pub struct Fault {
    rule: Rule,
    action: Action,
}

/// Which requests a [`Fault`] is for; its last methods say what happens to them.
#[derive(Debug, Clone)]
#[must_use = "say what happens, such as .error(code)"]
pub struct Rule {
    api: Option<Api>,
    broker: Option<i32>,
    connection: Option<u64>,
    nth: u64,
    times: u64,
    chance: f64,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Action {
    Error(ErrorCode),
    ErrorAfter(ErrorCode),
    Delay(Duration),
    DelayAfter(Duration),
    DropBefore,
    DropAfter,
    Silence,
    Truncate(usize),
    Corrupt(usize),
    Throttle(Duration),
}

impl Fault {
    /// For requests of this API: by default the next one, at any broker.
    pub fn on(api: Api) -> Rule {
        Rule { api: Some(api), broker: None, connection: None, nth: 1, times: 1, chance: 1.0 }
    }

    /// For requests of any API but ApiVersions, without which there is no connection.
    pub fn on_any() -> Rule {
        Rule { api: None, ..Self::on(Api::Produce) }
    }
}

impl Rule {
    /// Only requests to this broker, by node id.
    pub fn broker(self, id: i32) -> Self {
        Self { broker: Some(id), ..self }
    }

    /// Only requests on this connection; see [`RequestEvent::connection`](super::RequestEvent::connection).
    pub fn connection(self, number: u64) -> Self {
        Self { connection: Some(number), ..self }
    }

    /// Begins with the n-th such request from now on, counted from 1, which is the default.
    pub fn nth(self, n: u64) -> Self {
        Self { nth: n.max(1), ..self }
    }

    /// So many requests in a row; default 1.
    pub fn times(self, n: u64) -> Self {
        Self { times: n, ..self }
    }

    /// All such requests, until [`clear_faults`](super::EmbeddedCluster::clear_faults).
    pub fn always(self) -> Self {
        self.times(u64::MAX)
    }

    /// Each such request with this probability, 0.0 to 1.0, by the cluster's seed.
    pub fn chance(self, probability: f64) -> Self {
        Self { chance: probability, ..self }
    }

    fn then(self, action: Action) -> Fault {
        Fault { rule: self, action }
    }

    /// The request is not carried out; every place of the answer that can hold an error code holds this one.
    ///
    /// ```
    /// # use dispatcher::embedded::{Api, ErrorCode, Fault};
    /// // The next Produce is refused; the client tries again.
    /// let refused = Fault::on(Api::Produce).error(ErrorCode::NOT_ENOUGH_REPLICAS);
    /// ```
    pub fn error(self, code: ErrorCode) -> Fault {
        self.then(Action::Error(code))
    }

    /// The request is carried out, and answered with this error all the same.
    ///
    /// ```
    /// # use dispatcher::embedded::{Api, ErrorCode, Fault};
    /// // The offsets are committed, and the client must not believe it.
    /// let unsure = Fault::on(Api::OffsetCommit).error_after(ErrorCode::REQUEST_TIMED_OUT);
    /// ```
    pub fn error_after(self, code: ErrorCode) -> Fault {
        self.then(Action::ErrorAfter(code))
    }

    /// The request is carried out this much later. What comes behind it on its connection waits as well.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use dispatcher::embedded::Fault;
    /// // Everything that broker 1 does takes 100 ms longer.
    /// let slow = Fault::on_any().broker(1).always().delay(Duration::from_millis(100));
    /// ```
    pub fn delay(self, time: Duration) -> Fault {
        self.then(Action::Delay(time))
    }

    /// The request is carried out at once, and answered this much later.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use dispatcher::embedded::{Api, Fault};
    /// // The second Produce is written at once, and acknowledged 5 s later.
    /// let late = Fault::on(Api::Produce).nth(2).delay_after(Duration::from_secs(5));
    /// ```
    pub fn delay_after(self, time: Duration) -> Fault {
        self.then(Action::DelayAfter(time))
    }

    /// The connection is closed instead: the request is not carried out.
    ///
    /// ```
    /// # use dispatcher::embedded::{Api, Fault};
    /// // One Fetch in ten costs its connection.
    /// let lost = Fault::on(Api::Fetch).always().chance(0.1).drop_before();
    /// ```
    pub fn drop_before(self) -> Fault {
        self.then(Action::DropBefore)
    }

    /// The request is carried out, then the connection is closed without an answer.
    ///
    /// ```
    /// # use dispatcher::embedded::{Api, Fault};
    /// // The message is written, and its sender cannot know.
    /// let unknown = Fault::on(Api::Produce).drop_after();
    /// ```
    pub fn drop_after(self) -> Fault {
        self.then(Action::DropAfter)
    }

    /// Nothing is answered any more on that connection, which stays open: as when a host is gone without a word.
    ///
    /// ```
    /// # use dispatcher::embedded::Fault;
    /// // Broker 3 loses its power: who asks it anything waits until its own time is up.
    /// let gone = Fault::on_any().broker(3).always().silence();
    /// ```
    pub fn silence(self) -> Fault {
        self.then(Action::Silence)
    }

    /// The request is carried out, and the connection closed after so many bytes of the answer, its length included.
    ///
    /// ```
    /// # use dispatcher::embedded::{Api, Fault};
    /// // 30 bytes of the answer, then the connection ends.
    /// let cut = Fault::on(Api::Metadata).truncate(30);
    /// ```
    pub fn truncate(self, bytes: usize) -> Fault {
        self.then(Action::Truncate(bytes))
    }

    /// The request is carried out, and one bit of this byte of the answer is flipped (its length is bytes 0 to 3).
    /// Behind the end: the last byte.
    ///
    /// ```
    /// # use dispatcher::embedded::{Api, Fault};
    /// // Somewhere in the records a bit is wrong: their checksum tells.
    /// let damaged = Fault::on(Api::Fetch).nth(2).corrupt(200);
    /// ```
    pub fn corrupt(self, byte: usize) -> Fault {
        self.then(Action::Corrupt(byte))
    }

    /// The request is carried out, and the answer tells the client to be silent for this long (KIP-219).
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use dispatcher::embedded::{Api, Fault};
    /// // Three times the client is to keep silent for a second.
    /// let throttled = Fault::on(Api::Produce).times(3).throttle(Duration::from_secs(1));
    /// ```
    pub fn throttle(self, time: Duration) -> Fault {
        self.then(Action::Throttle(time))
    }
}

/// The faults that are armed.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(Fault, u64)>);

impl Faults {
    pub(super) fn arm(&mut self, fault: Fault) {
        self.0.push((fault, 0));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// What happens to this request: the first fault that is for it. `random` gives numbers in 0.0..1.0.
    pub(super) fn pick(
        &mut self,
        api: Api,
        broker: i32,
        connection: u64,
        mut random: impl FnMut() -> f64,
    ) -> Option<Action> {
        let mut picked = None;
        for (Fault { rule, action }, seen) in &mut self.0 {
            let fits = rule.api.map_or(api != Api::ApiVersions, |a| a == api)
                && rule.broker.is_none_or(|b| b == broker)
                && rule.connection.is_none_or(|c| c == connection);
            if !fits {
                continue;
            }
            *seen += 1;
            let due = *seen >= rule.nth && *seen - rule.nth < rule.times;
            if picked.is_none() && due && (rule.chance >= 1.0 || random() < rule.chance) {
                picked = Some(*action);
            }
        }
        self.0.retain(|(fault, seen)| *seen < fault.rule.nth.saturating_add(fault.rule.times).saturating_sub(1));
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(all: &[Fault]) -> Faults {
        Faults(all.iter().map(|f| (f.clone(), 0)).collect())
    }

    #[test]
    fn a_fault_hits_the_requests_it_was_ordered_for_and_then_is_gone() {
        let mut faults = faults(&[Fault::on(Api::Produce).broker(2).nth(2).times(2).drop_before()]);
        let mut hit = |api, broker| faults.pick(api, broker, 1, || 0.5).is_some();
        assert!(!hit(Api::Produce, 1) && !hit(Api::Fetch, 2));
        assert_eq!([(); 4].map(|()| hit(Api::Produce, 2)), [false, true, true, false]);
        assert!(faults.0.is_empty());
    }

    #[test]
    fn any_leaves_negotiation_alone_and_chance_asks_the_dice() {
        let mut faults = faults(&[Fault::on_any().always().chance(0.5).silence()]);
        assert_eq!(faults.pick(Api::ApiVersions, 1, 1, || 0.0), None);
        assert_eq!(faults.pick(Api::Fetch, 1, 1, || 0.6), None);
        assert_eq!(faults.pick(Api::Fetch, 1, 1, || 0.4), Some(Action::Silence));
    }
}
