"""Tables of a case: medians over the rounds, ratios as medians of each round's ratio."""

import statistics

from . import plan

# A column: its name, a run's field, and the field whose ratio to the floor's is told beside it.
THROUGHPUT = [("messages/s", "msgs_per_s"), ("MB/s", "mb_per_s"), ("CPU s/1M", "cpu_s_per_1m"), ("RSS MB", "max_rss_mb")]
COLUMNS = {
    "p1": THROUGHPUT,
    "p2": THROUGHPUT + [("first after s", "first_record_s")],
    "p3": [("p50 µs", "p50_us"), ("p95 µs", "p95_us"), ("p99 µs", "p99_us"), ("max µs", "max_us"),
           ("CPU s/1M", "cpu_s_per_1m"), ("RSS MB", "max_rss_mb")],
    "p4": [("in all s", "wall_s"), ("first after s", "first_record_s"), ("dispatch s", "dispatch_s"),
           ("messages/s", "dispatch_per_s"), ("Σ work s", "work_s"), ("floor s", "bound_s"), ("CPU s/1M", "cpu_s_per_1m"),
           ("RSS MB", "max_rss_mb")],
    "p5": [("p50 µs", "p50_us"), ("p99 µs", "p99_us"), ("round trips/s", "msgs_per_s"), ("CPU s/1M", "cpu_s_per_1m"),
           ("RSS MB", "max_rss_mb")],
    "p6": [("start s", "start_s"), ("kill -9 s", "kill_s"), ("leave s", "leave_s")],
    "p7": [("connections", "connections"), ("RSS MB", "rss_mb"), ("threads", "threads"), ("CPU %", "idle_cpu_pct"),
           ("ready after s", "ready_s")],
}
# Told relative to a reference peer.
RATIOS = {
    "p1": ("rdkafka", [("messages/s", "msgs_per_s"), ("CPU", "cpu_s_per_1m")]),
    "p2": ("rdkafka", [("messages/s", "msgs_per_s"), ("CPU", "cpu_s_per_1m")]),
    "p3": ("rdkafka", [("p50", "p50_us"), ("p99", "p99_us")]),
    "p4": ("pc", [("dispatch", "dispatch_s")]),
    "p5": ("spring", [("p50", "p50_us"), ("round trips/s", "msgs_per_s")]),
    "p6": ("franz", [("start", "start_s"), ("kill", "kill_s"), ("leave", "leave_s")]),
    "p7": ("rdkafka", [("RSS", "rss_mb"), ("CPU", "idle_cpu_pct")]),
}
# Rounds differ in these by design (the points between two heartbeats), and not in the same way for every client: what counts
# is their mean over all rounds.
MEANS = {"kill_s", "leave_s"}
# Of the peer `floor`'s in the same round.
OF_THE_FLOOR = {"p1": ("CPU", "cpu_s_per_1m"), "p2": ("CPU", "cpu_s_per_1m"), "p3": ("p50", "p50_us")}


def median(values):
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def number(value):
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def values(rounds, peer, field):
    """Of the rounds in which it succeeded; a member that did not settle still has its other times."""
    return [run[peer].get(field) for run in rounds if peer in run and (run[peer].get("ok") or "start_s" in run[peer])]


def ratios(rounds, field, peer, other, other_field=None):
    """Of each round in which both have one."""
    out = []
    for run in rounds:
        mine, theirs = run.get(peer, {}), run.get(other, {})
        above, below = mine.get(field), theirs.get(other_field or field)
        if above is not None and below and (mine.get("ok") or "start_s" in mine) and (theirs.get("ok") or "start_s" in theirs):
            out.append(above / below)
    return out


def middle(rounds, peer, field):
    """The median over the rounds, or the mean."""
    there = [value for value in values(rounds, peer, field) if value is not None]
    return statistics.mean(there) if there and field in MEANS else median(there)


def ratio(rounds, field, peer, other, other_field=None):
    """The median of the rounds' ratios, or the ratio of the means."""
    if field not in MEANS:
        return median(ratios(rounds, field, peer, other, other_field))
    above, below = middle(rounds, peer, field), middle(rounds, other, other_field or field)
    return above / below if above is not None and below else None


def written(value):
    return "–" if value is None else f"{value:.2f}"


def table(store, part, case):
    rounds = store.rounds(part, case)
    peers = list(dict.fromkeys(peer for run in rounds for peer in run))
    peers.sort(key=lambda peer: (peer == "floor", not peer.startswith("ours")))
    reference, relative = RATIOS[part]
    head = ["peer"] + [name for name, _ in COLUMNS[part]] + [f"{name} ÷ {reference}" for name, _ in relative]
    floor = floor_of(store, part, case)
    if floor:
        head.append(floor[0])
    rows = []
    for peer in peers:
        row = [peer] + [number(middle(rounds, peer, field)) for _, field in COLUMNS[part]]
        row += [written(ratio(rounds, field, peer, reference)) for _, field in relative]
        if floor:
            row.append(written(floor[1](rounds, peer)))
        runs = [run[peer] for run in rounds if peer in run]
        ok = sum(bool(run.get("ok")) for run in runs)
        rows.append([*row, f"{ok}/{len(runs)}"])
    lines = ["| " + " | ".join(row) + " |" for row in [head + ["ok"], *rows]]
    lines.insert(1, "|" + "---|" * (len(head) + 1))
    wrong = next((check["wrong"] for check in store.of("check", part=part, case=case) if check["wrong"]), None)
    if wrong:
        lines += ["", f"Counts disagree: {wrong}."]
    counts = [line["count"] for line in store.of("round", part=part, case=case)]
    return f"#### {plan.title(part, case, counts[-1])}\n\n" + "\n".join(lines) + "\n"


def floor_of(store, part, case):
    """The last column: its name, and what it says of a peer."""
    if part in OF_THE_FLOOR and any("floor" in run for run in store.rounds(part, case)):
        name, field = OF_THE_FLOOR[part]
        return f"{name} of the floor", lambda rounds, peer: ratio(rounds, field, peer, "floor")
    if part == "p4" and case.split(",")[1] != "0":
        return "dispatch of the floor", lambda rounds, peer: ratio(rounds, "dispatch_s", peer, peer, "bound_s")
    if part == "p5":
        trip = median(values(store.rounds("p3", "100,1000"), "floor", "p50_us"))
        if trip:
            return "p50 of two trips of the floor", lambda rounds, peer: median(
                [value / (2 * trip) for value in values(rounds, peer, "p50_us") if value is not None])
    if part == "p6":
        def of_the_time_out(rounds, peer):
            kill = middle(rounds, peer, "kill_s")
            return None if kill is None else kill / 6

        return "kill of the session time-out", of_the_time_out
    if part == "p7":
        return "connections of the floor", lambda rounds, peer: median(
            [value / int(case.split(",")[1]) for value in values(rounds, peer, "connections") if value is not None])
    return None
