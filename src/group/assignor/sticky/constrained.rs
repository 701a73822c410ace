//! All members subscribe to the same topics: everybody gets the same number of partitions or one more. The steps, and
//! without claims the outcome, are those of Java's `ConstrainedAssignmentBuilder`.

use std::collections::VecDeque;

use super::problem::Problem;

/// The member of each partition; `takers` are the members with subscriptions.
pub(super) fn plan(problem: &Problem<'_>, takers: &[usize]) -> Vec<usize> {
    let total = problem.owners.len();
    if takers.is_empty() {
        return Vec::new();
    }
    let (quota, longer) = (total / takers.len(), total % takers.len());
    let mut plan: Vec<Option<usize>> = vec![None; total];

    // What members keep: their quota, and the first `longer` of those that have more keep one more.
    let mut kept = vec![Vec::new(); problem.members.len()];
    for (p, topic) in problem.topics.iter().flat_map(|t| (0..t.count).map(move |p| (p, t))) {
        if let Some(owner) = problem.owners[topic.first + p] {
            kept[owner].push((p, topic.first + p));
        }
    }
    let (mut short, mut even, mut longs) = (VecDeque::new(), VecDeque::new(), 0);
    for &member in takers {
        // By partition, then topic, so that an even share of every topic is kept.
        kept[member].sort_unstable();
        let mut share = kept[member].len().min(quota);
        if kept[member].len() > quota && longs < longer {
            longs += 1;
            share += 1;
        } else if share == quota {
            even.push_back(member);
        } else {
            short.push_back((member, share));
        }
        for (_, p) in &kept[member][..share] {
            plan[*p] = Some(member);
        }
    }

    // The rest in turn: to those below the quota, and when all have it, one more each.
    let mut deal = |member: Option<usize>| {
        if let Some(member) = member {
            return member;
        }
        // Not empty: the quotas add up to the number of partitions.
        let Some((member, share)) = short.pop_front() else { return even.pop_front().unwrap_or(takers[0]) };
        if share + 1 == quota {
            even.push_back(member);
        } else {
            short.push_back((member, share + 1));
        }
        member
    };
    plan.into_iter().map(&mut deal).collect()
}
