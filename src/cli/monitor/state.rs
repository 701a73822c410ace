//! What the monitor has seen of all groups: now, and over the last hour. Fed by the polling task with times as arguments;
//! read by the views. Bounded: groups and partitions are the cluster's, windows and curves have so many points, and
//! there are at most [`MAX_CURVES`] curves.

use std::collections::{BTreeMap, VecDeque};

use super::seen::{Seen, SeenPartition};

/// Points of one curve.
pub(super) const POINTS: i64 = 360;
/// Curves of groups and partitions together, of at most 6 KiB each; what comes later has none.
const MAX_CURVES: usize = 4_000;
/// What a rate is an average over, at least.
const RATE_WINDOW_MS: i64 = 60_000;

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) interval_ms: i64,
    pub(super) history_ms: i64,
    pub(super) stuck_after_ms: i64,
}

impl Settings {
    fn window_ms(&self) -> i64 {
        RATE_WINDOW_MS.max(3 * self.interval_ms)
    }

    fn spacing_ms(&self) -> i64 {
        (self.history_ms / POINTS).max(self.interval_ms)
    }

    /// When what was seen is too old to be told as what is.
    pub(super) fn stale_after_ms(&self) -> i64 {
        (5 * self.interval_ms).max(30_000)
    }
}

/// All groups.
#[derive(Debug)]
pub(super) struct State {
    pub(super) settings: Settings,
    pub(super) groups: BTreeMap<String, Group>,
    /// When the cluster last answered.
    pub(super) seen_ms: Option<i64>,
    /// Why it did not since.
    pub(super) error: Option<String>,
    curves: usize,
}

/// One group.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) seen: Seen,
    /// By topic and partition, as `seen` has them.
    pub(super) tracks: BTreeMap<(String, i32), Track>,
    pub(super) lags: Option<Curve>,
    /// When it was last seen.
    pub(super) seen_ms: i64,
    /// Why it was not since.
    pub(super) error: Option<String>,
}

/// How a partition moves.
#[derive(Debug, Default)]
pub(super) struct Track {
    window: VecDeque<Point>,
    /// Since when there has been a lag and the committed offset has stood still.
    pub(super) behind_since_ms: Option<i64>,
    /// Until when that is meant to be: the message there is in a retry topic and not due.
    waits_until_ms: Option<i64>,
    pub(super) lags: Option<Curve>,
}

#[derive(Debug, Clone, Copy)]
struct Point {
    at_ms: i64,
    /// The committed offset, or where the log starts if there is none.
    place: i64,
    log_end: i64,
}

/// Lag over time, oldest first.
#[derive(Debug, Default)]
pub(super) struct Curve(VecDeque<(i64, i64)>);

/// Messages a second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Rates {
    pub(super) consumed: f64,
    pub(super) produced: f64,
}

impl State {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, groups: BTreeMap::new(), seen_ms: None, error: None, curves: 0 }
    }

    /// The cluster did not say which groups there are.
    pub(super) fn failed(&mut self, error: String) {
        self.error = Some(error);
    }

    /// All groups there are, each as it was seen, or why it was not.
    pub(super) fn observe(&mut self, now_ms: i64, all: Vec<(String, Result<Seen, String>)>) {
        self.error = None;
        self.seen_ms = Some(now_ms);
        let mut before = std::mem::take(&mut self.groups);
        for (name, outcome) in all {
            let mut group = before.remove(&name).unwrap_or_default();
            match outcome {
                Ok(seen) => group.observe(now_ms, seen, &self.settings),
                Err(error) => group.error = Some(error),
            }
            self.groups.insert(name, group);
        }
        self.curves = self.groups.values().map(Group::curves).sum();
        for group in self.groups.values_mut().filter(|g| g.seen_ms == now_ms) {
            group.draw(now_ms, &self.settings, &mut self.curves);
        }
    }

    /// Whether what is known is too old.
    pub(super) fn is_stale(&self, now_ms: i64) -> bool {
        self.seen_ms.is_none_or(|seen| now_ms - seen > self.settings.stale_after_ms())
    }
}

impl Group {
    fn observe(&mut self, now_ms: i64, seen: Seen, settings: &Settings) {
        let mut before = std::mem::take(&mut self.tracks);
        for p in &seen.partitions {
            let key = (p.topic.clone(), p.partition);
            let mut track = before.remove(&key).unwrap_or_default();
            track.observe(now_ms, p, settings);
            self.tracks.insert(key, track);
        }
        (self.seen, self.seen_ms, self.error) = (seen, now_ms, None);
    }

    fn curves(&self) -> usize {
        usize::from(self.lags.is_some()) + self.tracks.values().filter(|t| t.lags.is_some()).count()
    }

    fn draw(&mut self, now_ms: i64, settings: &Settings, curves: &mut usize) {
        let total = self.total_lag();
        draw(&mut self.lags, now_ms, total, settings, curves);
        for p in &self.seen.partitions {
            if let Some(track) = self.tracks.get_mut(&(p.topic.clone(), p.partition)) {
                draw(&mut track.lags, now_ms, p.lag, settings, curves);
            }
        }
    }

    pub(super) fn total_lag(&self) -> i64 {
        self.seen.partitions.iter().map(|p| p.lag).sum()
    }

    /// Of the partitions of a topic, or of all.
    pub(super) fn rates(&self, topic: Option<&str>) -> Option<Rates> {
        let tracks = self.tracks.iter().filter(|((t, _), _)| topic.is_none_or(|topic| topic == t));
        let rates: Vec<_> = tracks.filter_map(|(_, track)| track.rates()).collect();
        let sum = |of: fn(&Rates) -> f64| rates.iter().map(of).sum();
        (!rates.is_empty()).then(|| Rates { consumed: sum(|r| r.consumed), produced: sum(|r| r.produced) })
    }

    pub(super) fn track(&self, p: &SeenPartition) -> Option<&Track> {
        self.tracks.get(&(p.topic.clone(), p.partition))
    }
}

impl Track {
    fn observe(&mut self, now_ms: i64, p: &SeenPartition, settings: &Settings) {
        let point = Point { at_ms: now_ms, place: p.committed.unwrap_or(p.log_start), log_end: p.log_end };
        let moved = match self.window.back() {
            // Offsets were reset, or the topic was made again: what was before is another story.
            Some(last) if point.place < last.place || point.log_end < last.log_end => {
                self.window.clear();
                true
            }
            Some(last) => point.place > last.place,
            None => true,
        };
        if p.lag <= 0 {
            self.behind_since_ms = None;
        } else if moved || self.behind_since_ms.is_none() {
            self.behind_since_ms = Some(now_ms);
        }
        self.waits_until_ms = p.waits_until_ms.filter(|_| p.lag > 0);
        self.window.push_back(point);
        // The oldest point is at or before the window's begin, so that the window is full.
        while self.window.get(1).is_some_and(|next| now_ms - next.at_ms >= settings.window_ms()) {
            self.window.pop_front();
        }
    }

    /// Over the window; `None` before there are two looks.
    pub(super) fn rates(&self) -> Option<Rates> {
        let (first, last) = (self.window.front()?, self.window.back()?);
        let seconds = (last.at_ms - first.at_ms) as f64 / 1_000.0;
        let rate = |from: i64, to: i64| (to - from) as f64 / seconds;
        (seconds > 0.0)
            .then(|| Rates { consumed: rate(first.place, last.place), produced: rate(first.log_end, last.log_end) })
    }

    /// For how long the partition has not moved though it was to, if that is long enough to be a mark.
    pub(super) fn stuck_ms(&self, now_ms: i64, settings: &Settings) -> Option<i64> {
        let since = self.behind_since_ms?;
        let for_ms = now_ms - self.waits_until_ms.map_or(since, |until| since.max(until));
        (for_ms >= settings.stuck_after_ms).then_some(now_ms - since)
    }

    /// Until when its next message waits for its delay.
    pub(super) fn delayed_until_ms(&self, now_ms: i64) -> Option<i64> {
        self.waits_until_ms.filter(|until| *until > now_ms)
    }
}

fn draw(curve: &mut Option<Curve>, now_ms: i64, lag: i64, settings: &Settings, curves: &mut usize) {
    if curve.is_none() {
        if *curves >= MAX_CURVES {
            return;
        }
        *curves += 1;
    }
    curve.get_or_insert_default().push(now_ms, lag, settings);
}

impl Curve {
    /// The last point is always now; those before it keep their distance.
    fn push(&mut self, now_ms: i64, lag: i64, settings: &Settings) {
        let points = &mut self.0;
        let close = |at: i64, to: i64| to - at < settings.spacing_ms();
        let before_last = points.len().checked_sub(2).and_then(|i| points.get(i));
        if before_last.zip(points.back()).is_some_and(|(before, last)| close(before.0, last.0)) {
            points.pop_back();
        }
        points.push_back((now_ms, lag));
        while points.front().is_some_and(|(at, _)| now_ms - at > settings.history_ms) {
            points.pop_front();
        }
    }

    /// All points, or only so many of them, the last one among them.
    pub(super) fn thinned(&self, most: usize) -> Vec<(i64, i64)> {
        let step = self.0.len().div_ceil(most.max(1)).max(1);
        let skip = self.0.len().saturating_sub(1) % step;
        self.0.iter().skip(skip).step_by(step).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { interval_ms: 5_000, history_ms: 3_600_000, stuck_after_ms: 30_000 };

    fn partition(committed: Option<i64>, log_end: i64) -> SeenPartition {
        let lag = log_end - committed.unwrap_or(0);
        SeenPartition { topic: "t".into(), committed, log_end, lag, ..SeenPartition::default() }
    }

    fn look(state: &mut State, now_ms: i64, p: SeenPartition) {
        let seen = Seen { state: "Stable".into(), partitions: vec![p], ..Seen::default() };
        state.observe(now_ms, vec![("g".into(), Ok(seen))]);
    }

    fn track(state: &State) -> &Track {
        &state.groups["g"].tracks[&("t".into(), 0)]
    }

    #[test]
    fn rates_are_an_average_over_the_last_minute() {
        let mut state = State::new(SETTINGS);
        for i in 0..100 {
            look(&mut state, i * 5_000, partition(Some(i * 50), i * 100 + 7));
        }
        assert_eq!(state.groups["g"].rates(None), Some(Rates { consumed: 10.0, produced: 20.0 }));
        assert_eq!(state.groups["g"].rates(Some("other")), None);
        assert!(track(&state).window.len() <= 14);
        // A reset does not count as negative work.
        look(&mut state, 500_000, partition(Some(0), 10_007));
        assert_eq!(track(&state).rates(), None);
        look(&mut state, 505_000, partition(Some(5), 10_007));
        assert_eq!(track(&state).rates(), Some(Rates { consumed: 1.0, produced: 0.0 }));
    }

    #[test]
    fn stuck_is_who_has_a_lag_and_does_not_move() {
        let mut state = State::new(SETTINGS);
        let stuck = |state: &State, now| track(state).stuck_ms(now, &SETTINGS);
        look(&mut state, 0, partition(Some(5), 5));
        // An hour without messages is no hour of standing still.
        look(&mut state, 3_600_000, partition(Some(5), 6));
        assert_eq!(stuck(&state, 3_600_000), None);
        look(&mut state, 3_629_000, partition(Some(5), 9));
        assert_eq!(stuck(&state, 3_629_000), None);
        look(&mut state, 3_630_000, partition(Some(5), 9));
        assert_eq!(stuck(&state, 3_630_000), Some(30_000));
        look(&mut state, 3_635_000, partition(Some(6), 9));
        assert_eq!(stuck(&state, 3_635_000), None);
        // Nothing was ever committed.
        let mut state = State::new(SETTINGS);
        look(&mut state, 0, partition(None, 9));
        look(&mut state, 30_000, partition(None, 9));
        assert_eq!(stuck(&state, 30_000), Some(30_000));
    }

    #[test]
    fn who_waits_for_a_delay_is_stuck_only_when_that_is_over() {
        let mut state = State::new(SETTINGS);
        let waits = |until| SeenPartition { waits_until_ms: Some(until), ..partition(Some(5), 9) };
        let seen = |state: &State, now| (track(state).stuck_ms(now, &SETTINGS), track(state).delayed_until_ms(now));
        for now in [0, 5_000, 300_000] {
            look(&mut state, now, waits(600_000));
            assert_eq!(seen(&state, now), (None, Some(600_000)));
        }
        look(&mut state, 600_000, waits(600_000));
        assert_eq!(seen(&state, 600_000), (None, None), "due, and a moment to go on");
        look(&mut state, 630_000, waits(600_000));
        assert_eq!(seen(&state, 630_000), (Some(630_000), None), "due, and it does not go on");
        // It goes on, to one that waits again.
        look(&mut state, 635_000, SeenPartition { waits_until_ms: Some(900_000), ..partition(Some(6), 9) });
        assert_eq!(seen(&state, 700_000), (None, Some(900_000)));
        // Who has taken over does not say so, or not yet.
        look(&mut state, 700_000, partition(Some(6), 9));
        assert_eq!(seen(&state, 700_000), (Some(65_000), None));
        look(&mut state, 705_000, SeenPartition { waits_until_ms: Some(900_000), ..partition(Some(9), 9) });
        assert_eq!(seen(&state, 705_000), (None, None), "nothing is there to wait");
    }

    #[test]
    fn a_curve_keeps_an_hour_in_so_many_points_and_always_the_newest() {
        let mut state = State::new(Settings { interval_ms: 1_000, ..SETTINGS });
        for i in 0..5_000 {
            look(&mut state, i * 1_000, partition(Some(0), i));
        }
        let curve = state.groups["g"].lags.as_ref().unwrap();
        assert!((POINTS as usize - 1..=POINTS as usize + 2).contains(&curve.0.len()), "{}", curve.0.len());
        assert_eq!(curve.0.back(), Some(&(4_999_000, 4_999)));
        assert!(curve.0[0].0 >= 4_999_000 - 3_600_000);
        let thin = curve.thinned(60);
        assert!(thin.len() <= 60 && thin.last() == Some(&(4_999_000, 4_999)), "{thin:?}");
        assert_eq!(Curve::default().thinned(60), []);
    }

    #[test]
    fn groups_that_are_gone_are_forgotten_and_those_that_were_not_seen_stay_with_the_reason() {
        let mut state = State::new(SETTINGS);
        look(&mut state, 0, partition(Some(0), 1));
        state.observe(5_000, vec![("g".into(), Err("no leader".into()))]);
        assert_eq!((state.groups["g"].error.as_deref(), state.groups["g"].seen_ms), (Some("no leader"), 0));
        state.failed("no broker".into());
        assert!(state.groups.contains_key("g") && !state.is_stale(30_000) && state.is_stale(40_000));
        state.observe(45_000, Vec::new());
        assert!(state.groups.is_empty() && state.error.is_none() && state.curves == 0);
    }

    #[test]
    fn curves_are_bounded_however_many_partitions_there_are() {
        let mut state = State::new(SETTINGS);
        let all =
            |n| (0..n).map(|partition| SeenPartition { topic: "t".into(), partition, ..SeenPartition::default() });
        let seen = Seen { partitions: all(5_000).collect(), ..Seen::default() };
        for now in 0..3 {
            state.observe(now * 5_000, vec![("g".into(), Ok(seen.clone()))]);
            assert_eq!(state.groups["g"].curves(), MAX_CURVES);
        }
    }
}
