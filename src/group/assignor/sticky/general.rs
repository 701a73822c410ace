//! Members subscribe to different topics. Starts from what everybody owns and improves: first until the loads are as
//! even as the subscriptions allow, then until no partition more than necessary is away from its owner. Both are exact:
//! a plan from which no chain of moves leads to a better one is a best one, as for any flow of least cost (and the most
//! even loads are the best by Java's balance score as well, the sum of the differences of all pairs).

use super::graph::{Budget, Deal};
use super::problem::Problem;

/// Edges looked at before a plan that still can be improved is taken as it is: about a second's work. Reached only by
/// groups of many hundreds of members and topics, and counted, not timed, so that all leaders agree.
const BUDGET: usize = 200_000_000;

/// The member of each partition.
pub(super) fn plan(problem: &Problem<'_>) -> Vec<usize> {
    let mut deal = Deal::new(problem);
    hand_out(problem, &mut deal);
    let mut budget = Budget(BUDGET);
    even_out(problem, &mut deal, &mut budget);
    bring_home(&mut deal, &mut budget);
    deal.into_plan()
}

/// What nobody owns goes to the subscriber with the least; first the topics that few can take.
fn hand_out(problem: &Problem<'_>, deal: &mut Deal<'_>) {
    let mut topics: Vec<_> = problem.topics.iter().collect();
    topics.sort_by_key(|t| t.subscribers.len());
    for topic in topics {
        for p in topic.first..topic.first + topic.count {
            if problem.owners[p].is_none()
                && let Some(&member) = topic.subscribers.iter().min_by_key(|&&m| deal.load(m))
            {
                deal.put(p, member);
            }
        }
    }
}

/// Moves partitions along chains from the member with the most to one with at least two less. Where no chain does
/// that, the members reached are as even as they get, and nothing that concerns the others goes through them.
fn even_out(problem: &Problem<'_>, deal: &mut Deal<'_>, budget: &mut Budget) {
    let mut settled = vec![true; deal.members()];
    problem.topics.iter().flat_map(|t| &t.subscribers).for_each(|&m| settled[m] = false);
    while !budget.is_spent() {
        let open = (0..deal.members()).filter(|&m| !settled[m]);
        let Some(most) = open.max_by_key(|&m| deal.load(m)) else { return };
        let reach = deal.reach(most, &settled, budget);
        if deal.load(reach.least) + 2 <= deal.load(most) {
            deal.shift(&reach.chain_to(reach.least));
        } else {
            reach.members().for_each(|m| settled[m] = true);
        }
    }
}

/// Rings of moves that leave the loads as even as they are, and bring home more than they take away.
fn bring_home(deal: &mut Deal<'_>, budget: &mut Budget) {
    while deal.anything_away() {
        match deal.gaining_ring(budget) {
            Some(ring) => deal.shift(&ring),
            None => return,
        }
    }
}
