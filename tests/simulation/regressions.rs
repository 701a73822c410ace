//! Seeds that once failed, and why. They run always, though any change to the order of events makes another run of a
//! seed: what it found has a test beside the code too.

/// A seed and what it found, when all groups were eager. Its schedule is drawn as then.
pub(crate) const EAGER: &[(u64, &str)] = &[
    (6, "P: the group's driver turned in circles while a commit's retry waited for a coordinator that was gone"),
    (18, "L: a partly handled block stayed after its last unhandled record, and its bytes stopped the fetcher"),
    (33, "L: a source waited for room that only the batches it had not yet delivered could make"),
    (44, "L: the same with several brokers"),
    (40, "D: a stop whose last commit had failed called itself clean"),
    (57, "D: a stop did not count handlers of partitions that were taken away while it waited"),
    (994, "L: the embedded broker answered a fetch with an epoch it did not know with nothing, for ever"),
    (1772, "P: batches that failed on their way ran out of time at a later batch's deadline"),
    (5260, "P: a stop turned in circles once max_held was reached"),
    (11388, "L: what was finished of a topic's former self was committed under the id of the new one"),
    (14702, "D: an owner that had not read so far committed nothing of what an earlier one had finished there"),
    (18471, "D: what an earlier owner had finished right behind the committed offset was not passed by it"),
    (206496, "L: an offset of a topic that was made again while it was asked for was read in the new one"),
    (416312, "I: the embedded cluster forgot producers whose batches were deleted when leaders changed"),
    (619629, "P: batches behind one under way at a former leader ran out of time only with its answer"),
    (5267, "the same seed was two different runs: tokio's watch wakes its waiters in random order"),
];

/// A seed and what it found.
pub(crate) const LATER: &[(u64, &str)] = &[(
    64659,
    "D: a static member that stopped after asking to join left all without a leader, and their commits refused",
)];

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = (u64, &'static str)> {
    EAGER.iter().chain(LATER).copied()
}

/// Whether the group of this seed's schedule must be eager.
pub(crate) fn is_eager(seed: u64) -> bool {
    EAGER.iter().any(|(eager, _)| *eager == seed)
}
