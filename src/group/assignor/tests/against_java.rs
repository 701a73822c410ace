//! The sticky assignors beside Java's, on random groups with a past.

use super::*;

const BASE: u32 = 36;

/// A group of `sticky-assignments.json`.
struct Case {
    members: Vec<Subscription>,
    counts: BTreeMap<TopicName, i32>,
    plan: Assignments,
    given: Assignments,
}

fn cases() -> Vec<Case> {
    let fixture = include_str!("../../../../tests/fixtures/sticky-assignments.json");
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    fixture.as_array().unwrap().iter().map(case).collect()
}

fn case(of: &Value) -> Case {
    let ints = |v: &Value| v.as_array().unwrap().iter().map(|n| n.as_i64().unwrap() as i32).collect::<Vec<_>>();
    let name = |t: &i32| TopicName::from(format!("t{t}"));
    let members = of["m"].as_array().unwrap().iter().map(|m| Subscription {
        member_id: m[0].as_str().unwrap().into(),
        generation: m[1].as_i64().unwrap() as i32,
        topics: ints(&m[2]).iter().map(name).collect(),
        owned: digits(&m[3]).map(|(t, _, p)| TopicPartition::new(name(&t), p.to_digit(BASE).unwrap() as i32)).collect(),
        ..Default::default()
    });
    let members: Vec<_> = members.collect();
    let assignments = |of: &Value| {
        let mut all = empty_assignments(&members);
        for (t, p, member) in digits(of).filter(|(_, _, c)| *c != '-') {
            all.get_mut(&*member.to_string()).unwrap().push(TopicPartition::new(name(&t), p));
        }
        all
    };
    let counts = ints(&of["t"]).into_iter().enumerate().filter(|(_, n)| *n > 0).map(|(t, n)| (name(&(t as i32)), n));
    Case { counts: counts.collect(), plan: assignments(&of["plan"]), given: assignments(&of["given"]), members }
}

/// Of each character: its topic, its place there, itself.
fn digits(rows: &Value) -> impl Iterator<Item = (i32, i32, char)> {
    let rows = rows.as_str().unwrap().split(' ').enumerate();
    rows.flat_map(|(t, row)| row.chars().enumerate().map(move |(at, c)| (t as i32, at as i32, c)))
}

/// Java's: the sum over all pairs of members; 0 is perfect.
pub(super) fn balance(assignments: &Assignments) -> usize {
    pairs(&assignments.values().map(Vec::len).collect::<Vec<_>>())
}

pub(super) fn pairs(loads: &[usize]) -> usize {
    loads.iter().enumerate().map(|(i, a)| loads[..i].iter().map(|b| a.abs_diff(*b)).sum::<usize>()).sum()
}

/// The partitions whose one rightful owner could have kept them and did not.
pub(super) fn moved(members: &[Subscription], counts: &BTreeMap<TopicName, i32>, assignments: &Assignments) -> usize {
    let owners = rightful_owners(members, counts);
    owners.iter().filter(|(tp, owner)| !assignments[*owner].contains(tp)).count()
}

#[test]
fn sticky_plans_are_as_even_as_javas_and_move_no_more() {
    let cases = cases();
    assert_eq!(cases.len(), 1000);
    let (mut ours_moved, mut theirs_moved, mut ours_score, mut theirs_score, mut fairer) = (0, 0, 0, 0, 0);
    for (number, case) in cases.iter().enumerate() {
        let plan = Assignor::Sticky.assign(&case.members, &case.counts);
        let (ours, theirs) = (balance(&plan), balance(&case.plan));
        assert!(ours <= theirs, "case {number}: balance {ours}, Java's {theirs}");
        let moves = |plan| moved(&case.members, &case.counts, plan);
        let (our_moves, their_moves) = (moves(&plan), moves(&case.plan));
        if ours == theirs {
            assert!(our_moves <= their_moves, "case {number}: {our_moves} moves, Java's {their_moves}");
        }
        fairer += usize::from(ours < theirs);
        ours_score += ours;
        theirs_score += theirs;
        ours_moved += our_moves;
        theirs_moved += their_moves;
    }
    println!("balance, summed: {ours_score}, Java's {theirs_score}; better in {fairer} of {} cases", cases.len());
    println!("partitions moved: {ours_moved}, Java's {theirs_moved}");
    assert!(ours_moved * 100 <= theirs_moved * 101, "{ours_moved} moves, Java's {theirs_moved}");
}

/// Where the order of Java's hash map decides nothing, the plans are the same.
#[test]
fn groups_that_start_afresh_get_javas_plan() {
    let fresh = |case: &&Case| {
        let topics = |m: &Subscription| BTreeSet::from_iter(m.topics.iter().cloned());
        case.members.iter().all(|m| m.owned.is_empty() && topics(m) == topics(&case.members[0]))
    };
    let cases = cases();
    let fresh: Vec<_> = cases.iter().filter(fresh).collect();
    assert!(fresh.len() >= 10, "{}", fresh.len());
    for case in fresh {
        assert_eq!(Assignor::CooperativeSticky.assign(&case.members, &case.counts), case.given);
    }
}

/// What is held back for a round follows from plan and claims alone: Java's rule on Java's plan is ours.
#[test]
fn what_is_given_up_first_is_what_java_holds_back() {
    for (number, case) in cases().iter().enumerate() {
        let held_back = hold_back(&case.members, &case.plan);
        let clear = claims_are_clear(&case.members);
        for (member, theirs) in &case.given {
            let ours = &held_back[member];
            assert!(ours.iter().all(|tp| theirs.contains(tp)), "case {number}, member {member}: {ours:?}, {theirs:?}");
            assert!(!clear || ours.len() == theirs.len(), "case {number}, member {member}: {ours:?}, {theirs:?}");
        }
    }
}

/// The members that alone claim a partition in the newest generation in which it is claimed, and may keep it.
pub(super) fn rightful_owners(
    members: &[Subscription],
    counts: &BTreeMap<TopicName, i32>,
) -> BTreeMap<TopicPartition, Arc<str>> {
    let keeps = |tp: &TopicPartition, m: &Subscription| {
        m.topics.contains(&tp.topic) && counts.get(&tp.topic).is_some_and(|n| (0..*n).contains(&tp.partition))
    };
    let sole = |(tp, newest): (TopicPartition, Vec<&Subscription>)| match newest[..] {
        [owner] if keeps(&tp, owner) => Some((tp, owner.member_id.clone())),
        _ => None,
    };
    newest_claims(members).into_iter().filter_map(sole).collect()
}

fn newest_claims(members: &[Subscription]) -> BTreeMap<TopicPartition, Vec<&Subscription>> {
    let mut claims: BTreeMap<TopicPartition, Vec<&Subscription>> = BTreeMap::new();
    for member in members {
        for tp in BTreeSet::from_iter(&member.owned) {
            claims.entry(tp.clone()).or_default().push(member);
        }
    }
    for claimants in claims.values_mut() {
        let newest = claimants.iter().map(|m| m.generation).max();
        claimants.retain(|m| Some(m.generation) == newest);
    }
    claims
}

fn claims_are_clear(members: &[Subscription]) -> bool {
    let mut seen = BTreeSet::new();
    members.iter().flat_map(|m| &m.owned).all(|tp| seen.insert(tp))
}

/// Takes out of a plan what anybody else holds.
pub(super) fn hold_back(members: &[Subscription], plan: &Assignments) -> Assignments {
    let claims = newest_claims(members);
    let mut given = plan.clone();
    for (member, partitions) in &mut given {
        partitions.retain(|tp| claims.get(tp).is_none_or(|holders| holders.iter().all(|h| h.member_id == *member)));
    }
    given
}
