#!/usr/bin/env python3
"""Measures dispatcher beside other clients of Kafka.

  run.py build [--tls]            every peer, dispatcher, and Kafka's jars; --tls: librdkafka with the system's OpenSSL. What was
                                  built of another commit, or of files that were changed since, is not run
  run.py all --rounds 5           P1 to P7 as runner/plan.py has them, then writes benches/RESULTS.md. What the results have
                                  of this commit is not run again, so that it can be interrupted, or made in parts:
  run.py all --only p1,p2 --rounds 5
  run.py table                    writes benches/RESULTS.md from the results of this commit, and runs nothing
  run.py p1 --peers rdkafka,krafka --case 100,none --rounds 3
                                  some of it, printed only; any further peer by --extra NAME='CMD {workload} {args}'

--quick: one round of few messages, kept apart; its document goes to BENCH_DIR. A broker is started unless --brokers or BROKERS
names some (P7 then runs on those). BENCH_DIR (default ./.bench): builds and results. DISPATCHER_CMD: another `dispatcher`, of
whatever commit, for what is printed only.
"""

import argparse
import os
import signal
import sys
import time

from runner import plan, report, tables, versions
from runner.build import build, differs
from runner.cluster import Cluster
from runner.measure import measure
from runner.paths import OUT, RESULTS
from runner.store import Store


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["build", "all", "table", *plan.PLAN])
    parser.add_argument("--only", help="all: these parts, such as p1,p2")
    parser.add_argument("--rounds", type=int, help="default 5; with --quick 1")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--again", action="store_true", help="all: drops what there is of this commit's parts first")
    parser.add_argument("--commit", help="table: of another commit than this one")
    parser.add_argument("--peers", help="these only")
    parser.add_argument("--case", action="append", help="these only; see runner/plan.py")
    parser.add_argument("--extra", action="append", default=[], metavar="NAME=CMD")
    parser.add_argument("--count", type=int, help="p1 and p2: so many messages instead of the usual number")
    parser.add_argument("--secs", type=int, help="p3: so long, of which the first 2 are not counted; default 8")
    parser.add_argument("--timeout", type=int, default=180, help="seconds that a run gets")
    parser.add_argument("--brokers", default=os.environ.get("BROKERS"))
    parser.add_argument("--base-port", type=int, default=29092)
    parser.add_argument("--tls", action="store_true", help="build: librdkafka with OpenSSL (Debian: libssl-dev)")
    options = parser.parse_args()
    options.extra = dict(extra.split("=", 1) for extra in options.extra)
    options.rounds = options.rounds or (1 if options.quick else 5)
    options.secs = options.secs or (4 if options.quick else 8)
    options.count = options.count or (50_000 if options.quick else None)
    return options


def chosen(options, parts):
    """What is to be run: {part: {case: peers}}."""
    only = set(options.peers.split(",")) if options.peers else None
    out = {}
    for part in parts:
        cases = {case: plan.PLAN[part].get(case, next(iter(plan.PLAN[part].values()))) for case in options.case or plan.PLAN[part]}
        out[part] = {}
        for case, peers in cases.items():
            peers = [peer for peer in [*peers, *options.extra] if not only or peer in only]
            out[part][case] = peers + [peer for peer in sorted(only or ()) if peer not in peers and options.case]
    return out


def clusters(parts):
    """The parts, by how many brokers they need."""
    one = [part for part in parts if part != "p7"]
    return [(n, those) for n, those in ((1, one), (3, [part for part in parts if part == "p7"])) if those]


def measure_all(options, store, parts):
    cases = chosen(options, parts)
    for brokers, those in clusters(parts):
        left = [part for part in those
                if any(not store.has_round(part, case, n) for case in cases[part] for n in range(options.rounds))]
        if not left:
            continue
        with Cluster(options.brokers, brokers, options.base_port) as cluster:
            for part in left:
                load, since = os.getloadavg()[0], time.monotonic()
                try:
                    for case, peers in cases[part].items():
                        measure(options, cluster, store, part, case, peers)
                finally:
                    store.add("took", part=part, seconds=time.monotonic() - since, load=load)


def check_builds(options, commit):
    """Ends if not this commit would be measured. DISPATCHER_CMD is somebody's own program: what is kept is not of that."""
    other = "DISPATCHER_CMD" in os.environ
    if other and options.what == "all" and not options.quick:
        sys.exit("all keeps results as those of this commit: leave DISPATCHER_CMD out, or use --quick or a single part")
    wrong = differs(commit)
    if wrong and not other:
        sys.exit(wrong)
    if wrong:
        print(f"DISPATCHER_CMD is measured; the rest: {wrong}", file=sys.stderr)


def main():
    # A broker that was started here is ended, whatever ends this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options = arguments()
    if options.what == "build":
        return build(options.tls)
    OUT.mkdir(parents=True, exist_ok=True)
    commit = options.commit or versions.commit()
    if options.what != "table":
        check_builds(options, commit)
    if options.what in plan.PLAN:
        # A store that nothing else reads: the same case may be measured again and again.
        store = Store(OUT / "single.jsonl", f"{commit} {time.time():.0f}")
        measure_all(options, store, [options.what])
        for case in store.cases(options.what):
            print("\n" + tables.table(store, options.what, case))
        return None
    name = "quick" if options.quick else "results"
    store = Store(OUT / f"{name}.jsonl", commit)
    if options.what == "all":
        parts = options.only.split(",") if options.only else list(plan.PLAN)
        for part in parts if options.again else ():
            store.forget(part)
        store.add("machine", versions=versions.machine())
        measure_all(options, store, parts)
    elif not store.lines:
        sys.exit(f"no results of {commit}; there are some of {', '.join(store.commits) or 'none'}: name one by --commit")
    to = OUT / "RESULTS.md" if options.quick else RESULTS
    to.write_text(report.document(store))
    print(f"written: {to}")
    return None


main()
