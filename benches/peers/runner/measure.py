"""Runs what the plan says and the store lacks."""

import sys

from .members import Idle, Members
from .workloads import Consume, Dispatch, Latency, Produce, RoundTrips

CASES = {"p1": Produce, "p2": Consume, "p3": Latency, "p4": Dispatch, "p5": RoundTrips, "p6": Members, "p7": Idle}


def measure(options, cluster, store, part, case, who):
    """The rounds of a case that are not there yet."""
    missing = [number for number in range(options.rounds) if not store.has_round(part, case, number)]
    if not missing:
        return
    print(f"{part} {case}: {', '.join(who)}", file=sys.stderr, flush=True)
    under_way = CASES[part](options, cluster, store, part, case)
    under_way.prepare()
    under_way.warm_up(who)
    for number in missing:
        under_way.round(who, number)
        store.add("round", part=part, case=case, round=number, count=under_way.count)
    wrong = under_way.check()
    if wrong:
        print(f"  {part} {case}: {wrong}", file=sys.stderr, flush=True)
    store.add("check", part=part, case=case, wrong=wrong)
    under_way.finish()
