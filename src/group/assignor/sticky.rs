//! Kafka's `sticky` and `cooperative-sticky`: as even as can be, and within that as few moves as can be. What Java's
//! `AbstractStickyAssignor` approaches by trial is computed exactly here. As there, members that all subscribe to the
//! same topics take a short way (`constrained`), all others the long one (`general`). Racks are not looked at.

mod constrained;
mod general;
mod graph;
mod problem;
mod search;

use std::collections::BTreeMap;

use self::problem::Problem;
use super::{Assignments, Subscription};
use crate::client::types::TopicName;

/// Every partition that has a subscriber.
pub(super) fn assign(members: &[Subscription], counts: &BTreeMap<TopicName, i32>) -> Assignments {
    let problem = Problem::new(members, counts);
    problem.assignments(plan(&problem).into_iter().map(Some))
}

/// Without the partitions that another member than the planned one must give up first. Once it has, and all join again
/// with what they then own, the same plan comes out, and is whole.
pub(super) fn assign_cooperative(members: &[Subscription], counts: &BTreeMap<TopicName, i32>) -> Assignments {
    let problem = Problem::new(members, counts);
    let plan = plan(&problem);
    problem
        .assignments(plan.into_iter().enumerate().map(|(p, member)| problem.is_free_for(p, member).then_some(member)))
}

/// The member of each partition.
fn plan(problem: &Problem<'_>) -> Vec<usize> {
    let mut takers: Vec<_> = problem.topics.iter().flat_map(|t| t.subscribers.iter().copied()).collect();
    takers.sort_unstable();
    takers.dedup();
    if problem.topics.iter().all(|t| t.subscribers.len() == takers.len()) {
        constrained::plan(problem, &takers)
    } else {
        general::plan(problem)
    }
}
