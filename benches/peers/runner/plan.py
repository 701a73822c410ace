"""What is run: the workloads' cases, and which peers take part in each. A case is its parameters, joined by commas."""

PRODUCERS = ["ours", "rdkafka", "rdkafka-base", "krafka", "rskafka", "franz", "sarama", "java", "floor"]
CODECS = ["ours", "rdkafka", "rdkafka-base"]
LATENCY = ["ours", "rdkafka", "krafka", "rskafka", "franz", "sarama", "java", "floor"]

THROUGHPUT = [f"{size},{codec}" for size in ("100", "1024") for codec in ("none", "lz4")]
OTHER_CODECS = [f"{size},{codec}" for size in ("100", "1024") for codec in ("gzip", "snappy", "zstd")]
OVER_TLS = ["100,none,tls", "1024,none,tls"]

# `ours-rskafka`: the same over the partition clients of the crate rskafka, `dispatcher --backend rskafka`.
BOTH_BACKENDS = {f"{size},none": PRODUCERS + ["ours-rskafka"] for size in ("100", "1024")}

# Messages by size; P2's are more, since fewer would be consumed before an offset is committed.
COUNTS = {"p1": {"100": 1_000_000, "1024": 200_000}, "p2": {"100": 2_000_000, "1024": 500_000}}
# How many of them may be unacknowledged.
WINDOWS = {"100": 50_000, "1024": 20_000}

PLAN = {
    # SIZE,CODEC[,tls]
    "p1": {case: PRODUCERS for case in THROUGHPUT} | BOTH_BACKENDS | {case: CODECS for case in OTHER_CODECS + OVER_TLS},
    "p2": {case: PRODUCERS for case in THROUGHPUT} | BOTH_BACKENDS | {case: CODECS for case in OTHER_CODECS + OVER_TLS},
    # SIZE,RATE
    "p3": {case: LATENCY for case in ("100,1000", "10240,200")},
    # COUNT,LONGEST SLEEP IN US,KEYS,ORDER. One key and one partition are a row of sleeps, whatever the client: fewer do.
    "p4": {
        "10000,5000,0,unordered": ["ours", "pc", "rdkafka-spawn"],
        "10000,5000,1000,key": ["ours", "pc"],
        "10000,5000,10,key": ["ours", "pc"],
        "2000,5000,1,key": ["ours", "pc"],
        "2000,5000,0,partition": ["ours", "pc", "franz"],
        "100000,0,0,unordered": ["ours", "pc", "rdkafka-spawn"],
        "100000,0,1000,key": ["ours", "pc"],
    },
    # SEQUENTIAL,CONCURRENT,WINDOW
    "p5": {"2000,20000,500": ["ours", "spring"]},
    # PROTOCOL,MEMBERS,PARTITIONS
    "p6": {"classic,20,200": ["ours", "ours-cooperative", "rdkafka", "krafka", "franz"]},
    # PARTITIONS,BROKERS
    "p7": {"1000,3": ["ours", "rdkafka", "krafka", "rskafka", "franz", "sarama", "java"]},
}

WHAT = {
    "p1": "produce",
    "p2": "consume",
    "p3": "latency from end to end",
    "p4": "dispatch",
    "p5": "receipts: round trips",
    "p6": "members that come and go",
    "p7": "an idle consumer",
}


def title(part, case, count=None):
    """In words; `count` if there were fewer messages than usual."""
    words = case.split(",")
    if part in ("p1", "p2"):
        over = " over TLS" if words[-1] == "tls" else ""
        what = "produced, idempotent" if part == "p1" else "consumed"
        return f"{count or messages(part, words[0]):,} × {words[0]} B, compression {words[1]}{over}, {what}"
    if part == "p3":
        return f"{words[1]} messages/s of {words[0]} B, linger 0"
    if part == "p4":
        work = f"handlers sleep 0 to {int(words[1]) / 1000:g} ms" if words[1] != "0" else "no work"
        order = {"unordered": "no order", "key": f"by key, {words[2]} keys"}.get(words[3], "by partition")
        return f"{count or int(words[0]):,} messages of 1 partition, {work}, 100 at once, {order}"
    if part == "p5":
        return f"{int(words[0]):,} one after another, then {int(words[1]):,} with {words[2]} under way"
    if part == "p6":
        return f"{words[1]} members, {words[2]} partitions, {words[0]} protocol"
    return f"{words[0]} partitions, {words[1]} brokers"


def messages(part, size):
    return COUNTS[part].get(size, 100_000)


def window(size):
    return WINDOWS.get(size, 20_000)
