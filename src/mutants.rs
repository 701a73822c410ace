//! Mistakes to be made on purpose, so that `tests/simulation` can prove that it finds them. Only under the feature
//! `mutants`, which is internal; without it the checks for them vanish. Switched for the present thread only.

use std::cell::Cell;

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A mistake.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[$doc])* $name,)*
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Mutant] = &[$(Mutant::$name),*];
        }
    };
}

mutants! {
    /// What has been fetched counts as handled.
    CommitBeforeHandling,
    /// A completion counts for whatever assignment holds the place now.
    IgnoreAssignmentEpoch,
    /// A batch whose fate is unknown is sent again under another sequence number.
    RetryWithNewSequence,
    /// The last record of a batch is passed over.
    SkipBatchTail,
    /// A partition that is taken away goes at once, whatever runs.
    DrainWithoutWaiting,
    /// Commits say nothing of what is finished above the watermark.
    ForgetFinished,
    /// Records with one key do not wait for each other.
    ReleaseKeyEarly,
    /// A request without an answer counts as never sent.
    LostAnswerIsNotWritten,
}

thread_local! {
    static PRESENT: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Makes this mistake on the present thread from now on, or none.
pub fn set(mutant: Option<Mutant>) {
    PRESENT.set(mutant);
}

pub(crate) fn is(mutant: Mutant) -> bool {
    PRESENT.get() == Some(mutant)
}
