//! Seeds that once failed, and why. They run always.

/// A seed and what it found.
pub(crate) const SEEDS: &[(u64, &str)] =
    &[(6, "P: the group's driver turned in circles while a commit's retry waited for a coordinator that was gone")];
