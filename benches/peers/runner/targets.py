"""The targets, and whether they are met. One row each: what is asked, of what, measured how."""

from .tables import median, middle, number, ratio, values, written

SIZES = {"100": "100 B", "1024": "1 KiB"}


class Row:
    def __init__(self, row, what, asked, measured, met):
        self.row, self.what, self.asked, self.measured, self.met = row, what, asked, measured, met


def others(rounds):
    names = dict.fromkeys(peer for run in rounds for peer in run)
    return [peer for peer in names if peer != "floor" and not peer.startswith("ours")]


def best(rounds, field, low):
    """The peer with the lowest or highest median."""
    there = [(median(values(rounds, peer, field)), peer) for peer in others(rounds)]
    there = [(value, peer) for value, peer in there if value is not None]
    return (min(there) if low else max(there))[1] if there else None


def against(store, row, part, case, what, field, name, limit, peer, low, ours="ours"):
    """Ours relative to a peer's, or to the best peer's if none is named; at most `limit`, or at least."""
    rounds = store.rounds(part, case)
    other = peer or best(rounds, field, low)
    asked = f"{name} {'≤' if low else '≥'} {limit:g} × {peer or 'the best peer'}"
    got = ratio(rounds, field, ours, other) if other else None
    if got is None:
        return Row(row, what, asked, None, None)
    told = f"{written(got)} × {other} ({number(middle(rounds, ours, field))} to {number(middle(rounds, other, field))})"
    return Row(row, what, asked, told, got <= limit if low else got >= limit)


def absolute(store, row, part, case, what, field, name, limit, unit, low):
    value = median(values(store.rounds(part, case), "ours", field))
    asked = f"{name} {'≤' if low else '≥'} {limit:,}{unit}"
    if value is None:
        return Row(row, what, asked, None, None)
    return Row(row, what, asked, f"{number(value)}{unit}", value <= limit if low else value >= limit)


def of_the_floor(store, case, what):
    value = ratio(store.rounds("p4", case), "dispatch_s", "ours", "ours", "bound_s")
    return Row("P4", what, "≤ 1.15 × the floor", value and f"{written(value)} × the floor", value and value <= 1.15)


def targets(store):
    rows = []
    for size, cpu, speed in (("100", 0.6, 1.2), ("1024", 0.9, 1.0)):
        for codec in ("none", "lz4"):
            case, what = f"{size},{codec}", f"produce {SIZES[size]}, {codec}, idempotent"
            rows.append(against(store, "P1", "p1", case, what, "cpu_s_per_1m", "CPU", cpu, "franz", True))
            rows.append(against(store, "P1", "p1", case, what, "msgs_per_s", "messages/s", speed, "franz", False))
    for size, cpu in (("100", 0.7), ("1024", 0.9)):
        for codec in ("none", "lz4"):
            case, what = f"{size},{codec}", f"consume {SIZES[size]}, {codec}"
            rows.append(against(store, "P2", "p2", case, what, "cpu_s_per_1m", "CPU", cpu, None, True))
            rows.append(against(store, "P2", "p2", case, what, "msgs_per_s", "messages/s", 1.0, None, False))
    for case, what in (("100,1000", "latency, 1,000/s × 100 B"), ("10240,200", "latency, 200/s × 10 KiB")):
        rows.append(against(store, "P3", "p3", case, what, "p50_us", "p50", 0.95, "rdkafka", True))
        rows.append(against(store, "P3", "p3", case, what, "p99_us", "p99", 1.0, None, True))
    for case, what in (
        ("10000,5000,0,unordered", "dispatch with work, no order"),
        ("10000,5000,1000,key", "dispatch with work, 1,000 keys"),
        ("10000,5000,10,key", "dispatch with work, 10 keys"),
        ("2000,5000,1,key", "dispatch with work, 1 key"),
        ("2000,5000,0,partition", "dispatch with work, by partition"),
    ):
        rows.append(of_the_floor(store, case, what))
    for case, what in (("100000,0,0,unordered", "dispatch without work, no order"), ("100000,0,1000,key", "dispatch without work, by key")):
        rows.append(absolute(store, "P4", "p4", case, what, "dispatch_per_s", "messages/s", 1_000_000, "", False))
    for name, field, limit, low in (("p50", "p50_us", 0.6, True), ("round trips/s", "msgs_per_s", 2.0, False)):
        rows.append(against(store, "P5", "p5", "2000,20000,500", "receipts", field, name, limit, "spring", low))
    for ours, assignors in (("ours", "default assignors"), ("ours-cooperative", "cooperative")):
        for name, field in (("all start", "start_s"), ("one is killed", "kill_s"), ("one leaves", "leave_s")):
            rows.append(against(store, "P6", "p6", "classic,20,200", f"20 members, {assignors}: {name}", field, "seconds", 1.0, "franz", True, ours))
    for name, field, limit, unit in (("connections", "connections", 6, ""), ("RSS", "rss_mb", 12, " MB"), ("CPU", "idle_cpu_pct", 0.25, " %")):
        rows.append(absolute(store, "P7", "p7", "1000,3", "idle, 1,000 partitions × 3 brokers", field, name, limit, unit, True))
    return rows


def table(store):
    lines = ["| | workload | target | measured | |", "|---|---|---|---|---|"]
    for row in targets(store):
        verdict = {None: "not measured", True: "met", False: "**missed**"}[row.met]
        lines.append(f"| {row.row} | {row.what} | {row.asked} | {row.measured or '–'} | {verdict} |")
    return "\n".join(lines) + "\n"
