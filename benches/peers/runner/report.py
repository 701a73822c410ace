"""benches/RESULTS.md, whole, from what the store has."""

from . import plan, tables, targets

HEAD = """# Results

Made by `benches/peers/run.py`; every line below the heading is its own. What was measured in other ways, and why things
were chosen, is in [STUDIES.md](STUDIES.md).

What counts are **ratios within one interleaved run**: each round runs every peer once, the next in another order, and a
ratio is the median of the rounds' ratios (of P6's kills and leaves the ratio of the means). Client and broker share the machine's cores, so messages/s say as much of the broker
as of the client; CPU seconds (user and system, of the client's process, per million messages) are the steadiest. Every run
counts what was acknowledged or handled, fails if it is short, and after P1 Kafka's own tool is asked how many
records the topic has got. Settings, and what each workload does: [peers/README.md](peers/README.md).

"""

NOTES = {
    "p1": "Ours without an envelope, as the others send. acks=all, linger 5 ms, batches up to 1 MB, 4 partitions. `rskafka` has no idempotence and goes without, as does `ours-rskafka`, this library over its partition clients. `java` is the "
          "third pass of a warm process. `floor` replays requests that were encoded, and compressed, beforehand.",
    "p2": "Ours by `subscribe`: a handler call a message, a commit every 20 ms. The others by a plain loop that commits nothing. `java` is the third pass of a warm process. "
          "messages/s from the first message to the last (franz: without those of its first poll), CPU from before the client exists. `floor` reads Fetch responses and "
          "computes their batches' CRC, and does not decompress.",
    "p3": "Acknowledged by all, without idempotence, one partition, sender and receiver in one process; the first 2 s are dropped. `floor`: a raw "
          "Produce on one socket, a raw Fetch on another.",
    "p4": "`in all` until the last offset is committed, `dispatch` from the first handler's beginning to the last one's end. The "
          "floor is what the handlers of that very run were to sleep, 2.5 ms in the mean: divided by 100 without order, the longest "
          "key's by key, the sum by partition. `Σ work` is what they slept, measured. "
          "`rdkafka-spawn`: a task a message behind a semaphore, no order kept.",
    "p5": "Ours: `.receipt(timeout)`, acknowledged before the message is committed. Spring: ReplyingKafkaTemplate and a listener that "
          "answers at once. One process holds both sides.",
    "p6": "A process a member. Seconds until every partition has one owner, each member has some, and that stays so for 2 s (not "
          "counted). Session time-out 6 s, heartbeats 1 s. `leave` is the mean of four members that go one after another, at points "
          "between two heartbeats that are spread evenly over the rounds. A kill is noticed by the session time-out, which begins "
          "with the last heartbeat. `ours` has the default assignors, the others cooperative-sticky. –: not settled in 30 s.",
    "p7": "Subscribed and idle for 20 s, RSS and CPU of the process.",
}


def seconds(store, part):
    return sum(line["seconds"] for line in store.of("took", part=part))


def document(store):
    machines = store.of("machine")
    machine = machines[-1] if machines else {}
    dates = sorted({line["at"][:10] for line in store.of("round")})
    rounds = sorted({len(store.rounds(part, case)) for part in plan.PLAN for case in store.cases(part)})
    out = [HEAD, "| | |\n|---|---|\n"]
    facts = {"date": " to ".join(dict.fromkeys([dates[0], dates[-1]])) if dates else "–", "commit": store.commit,
             "rounds": " or ".join(map(str, rounds)) or "–", **machine.get("versions", {})}
    out += [f"| {name} | {value} |\n" for name, value in facts.items()]
    took = [f"{part.upper()} {seconds(store, part) / 60:.0f} min" for part in plan.PLAN if seconds(store, part)]
    out.append(f"| took | {', '.join(took) or '–'} |\n")
    loads = [f"{line['part'].upper()} {line['load']:.1f}" for line in store.of("took")]
    out.append(f"| load average before | {', '.join(loads) or '–'} |\n")
    out += ["\n## Targets\n\n", targets.table(store)]
    for part, cases in plan.PLAN.items():
        there = [case for case in [*cases, *store.cases(part)] if case in store.cases(part)]
        if not there:
            continue
        out.append(f"\n## {part.upper()}, {plan.WHAT[part]}\n\n{NOTES[part]}\n")
        out += ["\n" + tables.table(store, part, case) for case in dict.fromkeys(there)]
    return "".join(out)
