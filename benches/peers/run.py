#!/usr/bin/env python3
"""Builds the peers and `dispatcher`, starts a broker (or uses --brokers), runs workloads over all of them in
interleaved rounds, prints Markdown tables with medians and per-round ratios to the reference peer.

  run.py build
  run.py p1 --peers rdkafka,krafka,franz --rounds 3 [--case 100B,none,idem]...
  run.py p2|p3|p4|p5|p6|p7 ...
  --extra NAME='cmd {workload} {args}'   any further peer: {args} expands to all key=value pairs;
      {brokers} {topic} {count} {size} {compression} {idempotent} {partitions} {group} ... expand singly.
      It must print the JSON line described in README.md (p6member and p7: see there).
Environment: BENCH_DIR (build and output folder, default ./.bench), BROKERS (instead of starting one),
KAFKA_LIBS (folder of Kafka jars, default $BENCH_DIR/kafka-libs, filled by `build` through Maven).
"""
import argparse, json, os, re, shlex, signal, statistics, subprocess, sys, threading, time
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUT = Path(os.environ.get("BENCH_DIR", HERE / ".bench")).resolve()
RUST, GO, JAVA = OUT / "target/release/peers", OUT / "bin/peers-go", OUT / "java"
OURS = OUT / "target/release/dispatcher"
LIBS = Path(os.environ.setdefault("KAFKA_LIBS", str(OUT / "kafka-libs")))
REF = ["rdkafka", "java"]


def build(tls):
    OUT.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ, CARGO_TARGET_DIR=str(OUT / "target"))
    subprocess.run(["cargo", "build", "--release"] + ["--features", "tls"] * tls, cwd=HERE / "rust", env=env, check=True)
    subprocess.run(["go", "build", "-o", str(GO), "."], cwd=HERE / "go", check=True)
    subprocess.run(["cargo", "build", "--release", "--features", "cli", "--bin", "dispatcher"], cwd=HERE.parent.parent, env=env, check=True)
    subprocess.run(["mvn", "-q", "-B", f"-DbuildDirectory={JAVA}", "package", "dependency:copy-dependencies",
                    f"-DoutputDirectory={JAVA}/lib"], cwd=HERE / "java", check=True)
    if not LIBS.exists():
        subprocess.run(["mvn", "-q", "-B", "-f", str(HERE / "kafka/pom.xml"), "dependency:copy-dependencies", f"-DoutputDirectory={LIBS}"], check=True)


def base_cmd(peer, extra):
    if peer in extra:
        return None
    if peer.split("-")[0] in ("rdkafka", "krafka", "rskafka"):
        return [str(RUST), peer]
    if peer in ("franz", "sarama"):
        return [str(GO), peer]
    if peer == "spring":
        return ["java", "-Xms256m", "-Xmx512m", "-cp", f"{JAVA}/classes:{JAVA}/lib/*", "peers.Spring"]
    if peer == "ours":
        return [sys.executable, str(HERE / "ours.py")]
    sys.exit(f"unknown peer {peer}")


def command(peer, workload, kv, extra):
    if peer in extra:
        t = extra[peer].replace("{workload}", workload).replace("{args}", " ".join(f"{k}={v}" for k, v in kv.items()))
        for k, v in kv.items():
            t = t.replace("{" + k + "}", str(v))
        return shlex.split(t)
    return base_cmd(peer, extra) + [workload] + [f"{k}={v}" for k, v in kv.items()]


class Cluster:
    """`brokers` is the plaintext listener; what peers are told is in `peers`."""

    def __init__(self, brokers, n=1, base=29092, name="kafka", tls=False):
        self.pids, self.brokers = [], brokers
        if not brokers:
            start = str(HERE / "kafka/start.sh")
            d = OUT / name
            env = dict(os.environ, TLS="1" if tls else "0")
            subprocess.run([start, str(n), str(d), str(base)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
            at = lambda base: ",".join(f"127.0.0.1:{base+i}" for i in range(n))
            self.brokers = at(base)
            self.pids = [int(p.read_text()) for p in sorted(d.glob("*.pid"))]
            time.sleep(1)
        elif tls:
            sys.exit("--tls starts a broker of its own: leave --brokers out")
        self.peers = dict(brokers=at(base + 2000), ca=str(d / "ca.pem")) if tls else dict(brokers=self.brokers)
        self.over = " over TLS" if tls else ""

    def topic(self, name, parts, cfg=(), rf=1):
        c = ["java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", f"{LIBS}/*", "org.apache.kafka.tools.TopicCommand", "--bootstrap-server", self.brokers.split(",")[0]]
        c += ["--create", "--if-not-exists", "--topic", name, "--partitions", str(parts), "--replication-factor", str(rf)]
        for x in cfg:
            c += ["--config", x]
        for _ in range(5):
            if subprocess.run(c, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                return name
            time.sleep(2)
        sys.exit(f"cannot create topic {name}")

    def stop(self):
        for p in self.pids:
            try:
                os.kill(p, signal.SIGTERM)
            except ProcessLookupError:
                pass


LOG = None


def run_one(peer, workload, kv, extra, timeout=180):
    cmd = command(peer, workload, kv, extra)
    errf = open(OUT / "last-stderr.log", "w")
    p = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=errf, text=True)
    killer = threading.Timer(timeout, p.kill)
    killer.start()
    out = p.stdout.read()
    p.wait()
    killer.cancel()
    lines = [l for l in out.splitlines() if l.startswith("{")]
    if not lines:
        err = (OUT / "last-stderr.log").read_text()[-300:].replace("\n", " ")
        res = {"peer": peer, "workload": workload, "params": kv, "ok": False, "error": f"rc={p.returncode} {err}"}
    else:
        res = json.loads(lines[-1])
        res["peer"] = peer
    LOG.write(json.dumps(res) + "\n")
    LOG.flush()
    print("  ", peer, workload, {k: res.get(k) for k in ("ok", "wall_s", "msgs_per_s", "cpu_s_per_1m", "p50_us", "p99_us", "max_rss_mb", "error") if res.get(k) is not None}, file=sys.stderr, flush=True)
    return res


def med(xs):
    xs = [x for x in xs if x is not None]
    return statistics.median(xs) if xs else None


def fmt(x):
    if x is None:
        return "-"
    if abs(x) >= 1000:
        return f"{x:,.0f}"
    return f"{x:.3g}"


def table(title, rounds, peers, cols, ratios):
    """rounds: list of {peer: result}."""
    ref = next((r for r in REF if any(r in x for x in rounds)), peers[0])
    head = ["peer"] + [c for c, _ in cols] + [f"{c} / {ref}" for c, _ in ratios] + ["ok"]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for p in peers:
        rs = [x[p] for x in rounds if p in x]
        good = [x for x in rs if x.get("ok")]
        row = [p] + [fmt(med([x.get(k) for x in good])) for _, k in cols]
        for _, k in ratios:
            q = [x[p][k] / x[ref][k] for x in rounds if p in x and ref in x and x[p].get("ok") and x[ref].get("ok") and x[ref].get(k) and x[p].get(k) is not None]
            row.append(f"{med(q):.2f}" if q else "-")
        row.append(f"{len(good)}/{len(rs)}" + ("" if good else " " + str(rs[0].get("error", ""))[:80] if rs else ""))
        rows.append("| " + " | ".join(row) + " |")
    s = f"\n#### {title}\n\n" + "\n".join(rows) + "\n"
    print(s, flush=True)
    return s


def rounds_of(a, peers, workload, mk, n):
    out = []
    for i in range(n):
        rnd = {}
        order = peers[i % len(peers):] + peers[:i % len(peers)]
        for p in order:
            kv = mk(p, i)
            if kv is not None:
                rnd[p] = run_one(p, workload, kv, a.extra, a.timeout)
        out.append(rnd)
    return out


THR = [("msgs/s", "msgs_per_s"), ("MB/s", "mb_per_s"), ("CPU s/1M", "cpu_s_per_1m"), ("RSS MB", "max_rss_mb")]
THR_R = [("msgs/s", "msgs_per_s"), ("CPU", "cpu_s_per_1m")]
LAT = [("p50 us", "p50_us"), ("p95 us", "p95_us"), ("p99 us", "p99_us"), ("max us", "max_us"), ("CPU s/1M", "cpu_s_per_1m"), ("RSS MB", "max_rss_mb")]
SIZES = {"100": (1_000_000, 50_000), "1024": (200_000, 20_000)}
STAMP = time.strftime("%H%M%S")


def p1(a, cl):
    cases = a.case or [f"{s},{c},{i}" for s in ("100", "1024") for c in ("none", "lz4") for i in ("off", "on")]
    for case in cases:
        size, comp, idem = case.split(",")
        count, window = SIZES[size]
        count = a.count or count
        # rskafka has no idempotence; rdkafka-base and rskafka-raw are extra APIs
        peers = [p for p in a.peers if not (idem == "on" and p.startswith("rskafka"))]

        t = cl.topic(f"p1-{STAMP}-{size}-{comp}-{idem}", 4, ["retention.ms=60000"])

        def mk(p, i):
            return dict(**cl.peers, topic=t, count=count, size=size, compression=comp, idempotent="true" if idem == "on" else "false",
                        partitions=4, linger_ms=5, batch_bytes=1_000_000, window=window)
        table(f"P1 produce {count:,} x {size} B, compression {comp}, idempotence {idem}{cl.over}", rounds_of(a, peers, "p1", mk, a.rounds), peers, THR, THR_R)


def p2(a, cl):
    for case in a.case or ["100,none", "1024,none", "100,lz4", "1024,lz4"]:
        size, comp = case.split(",")
        count, window = SIZES[size]
        count = a.count or count
        t = f"p2-{STAMP}-{size}-{comp}"
        cl.topic(t, 4)
        run_one("rdkafka", "p1", dict(brokers=cl.brokers, topic=t, count=count, size=size, compression=comp, idempotent="true", partitions=4, linger_ms=5, batch_bytes=1_000_000, window=window), a.extra)
        mk = lambda p, i: dict(**cl.peers, topic=t, count=count, size=size, compression=comp, partitions=4, group=f"{t}-{p}-{i}-{time.time_ns()%10**6}")
        table(f"P2 consume {count:,} x {size} B, {comp}{cl.over} (msgs/s from first record; join = time to first record)", rounds_of(a, a.peers, "p2", mk, a.rounds), a.peers,
              THR + [("join s", "first_record_s"), ("total s", "total_s")], THR_R)


def p3(a, cl):
    for case in a.case or ["100,1000", "10240,200"]:
        size, rate = case.split(",")

        t = cl.topic(f"p3-{STAMP}-{size}", 1)

        def mk(p, i):
            return dict(brokers=cl.brokers, topic=t, size=size, rate=rate, secs=a.secs, linger_ms=0, partitions=1, idempotent="false", group=f"{t}-{p}-{i}")
        table(f"P3 latency {rate} msg/s x {size} B, linger 0, {a.secs} s (first 2 s dropped)", rounds_of(a, a.peers, "p3", mk, a.rounds), a.peers, LAT, [("p50", "p50_us"), ("p99", "p99_us"), ("CPU", "cpu_s_per_1m")])


def fill(cl, topic, count, keys):
    """Writes `count` records of 100 B, record i with key `k<i mod keys>`, through the tool under test's own `send`."""
    lines = "".join(f"{f'k{i % keys}' if keys else ''}\t{i:0100d}\n" for i in range(count))
    delimiter = ["--key-delimiter", "\\t"] if keys else []
    if not keys:
        lines = lines.replace("\t", "")
    subprocess.run([str(OURS), "-b", cl.brokers, "send", topic, "--envelope", "raw", *delimiter], input=lines, text=True, check=True)


def p4(a, cl):
    """count, sleep_max_us, keys, ordering"""
    for case in a.case or ["10000,5000,0,unordered", "10000,5000,1,key", "10000,5000,10,key", "10000,5000,1000,key", "10000,5000,0,partition",
                           "100000,0,0,unordered", "100000,0,1000,key"]:
        count, sl, keys, order = case.split(",")
        t = cl.topic(f"p4-{STAMP}-{count}-{keys}", 1)
        if not hasattr(p4, t):
            fill(cl, t, int(count), int(keys))
            setattr(p4, t, True)
        mk = lambda p, i: None if p == "franz" and order not in ("partition",) and sl != "0" else dict(brokers=cl.brokers, topic=t, count=count, size=100, sleep_max_us=sl, keys=keys, ordering=order, concurrency=100, group=f"{t}-{order}-{p}-{i}-{time.time_ns()%10**6}")
        table(f"P4 dispatch {int(count):,} msgs, 1 partition, handler 0-{int(sl)/1000:g} ms, {order}" + (f" ({keys} keys)" if order == "key" else ""),
              rounds_of(a, a.peers, "p4", mk, a.rounds), a.peers, [("wall s", "wall_s"), ("first s", "first_record_s"), ("dispatch s", "dispatch_s"), ("dispatch/s", "dispatch_per_s"), ("CPU s/1M", "cpu_s_per_1m"), ("RSS MB", "max_rss_mb")], [("wall", "wall_s")])


def p5(a, cl):
    def mk(p, i):
        t = cl.topic(f"p5-{STAMP}-{p}-{i}", 1)
        reply = cl.topic(f"{t}_Reply", 1)
        return dict(brokers=cl.brokers, topic=t, reply=reply, group=f"{t}-workers", sequential=2_000, concurrent=20_000, window=500, size=100)
    table("P5 round trips: 2,000 one after another, then 20,000 with 500 under way", rounds_of(a, a.peers, "p5", mk, a.rounds), a.peers,
          [("p50 us", "p50_us"), ("p99 us", "p99_us"), ("round trips/s", "msgs_per_s"), ("CPU s/1M", "cpu_s_per_1m"), ("RSS MB", "max_rss_mb")],
          [("p50", "p50_us"), ("round trips/s", "msgs_per_s")])


class Member:
    def __init__(self, cmd):
        self.own, self.p = [], subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.changed = time.monotonic()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for l in self.p.stdout:
            if l.startswith("{"):
                self.own, self.changed = json.loads(l).get("own", []), time.monotonic()


def settle(members, parts, t0, limit=40, hold=2.0):
    """Seconds from t0 until every partition has exactly one live owner and stays so for `hold` seconds."""
    good = None
    prev = None
    while time.monotonic() - t0 < limit:
        owned = [p for m in members for p in m.own]
        snap = [tuple(m.own) for m in members]
        now = time.monotonic()
        if sorted(owned) == list(range(parts)) and all(m.own for m in members):
            if good is None or snap != prev:
                good = now
            elif now - good >= hold:
                return good - t0
        else:
            good = None
        prev = snap
        time.sleep(0.01)
    owned = [p for m in members for p in m.own]
    print(f"    not settled: {len(owned)} owned, {len(set(owned))} distinct of {parts}, per member {[len(m.own) for m in members]}, last change {max(m.changed for m in members) - t0:.1f} s after", file=sys.stderr, flush=True)
    return None


def p6(a, cl):
    parts, n = 200, a.members
    t = cl.topic(f"p6-{STAMP}", parts)
    for proto in a.case or ["classic", "consumer"]:
        rnds = []
        for i in range(a.rounds):
            rnd = {}
            for p in a.peers:
                if proto == "consumer" and p == "sarama":
                    continue
                kv = dict(brokers=cl.brokers, topic=t, partitions=parts, protocol=proto, group=f"p6-{STAMP}-{p}-{proto}-{i}")
                cmd = command(p, "p6member", kv, a.extra)
                t0 = time.monotonic()
                ms = [Member(cmd) for _ in range(n)]
                res = {"peer": p, "workload": "p6", "params": kv, "start_s": settle(ms, parts, t0)}
                k = ms.pop()
                t1 = time.monotonic()
                k.p.kill()
                res["kill_s"] = settle(ms, parts, t1, 75 if proto == "consumer" else 40)
                g = ms.pop()
                t2 = time.monotonic()
                g.p.terminate()
                res["leave_s"] = settle(ms, parts, t2)
                for m in ms:
                    m.p.kill()
                for m in ms + [k, g]:
                    try:
                        m.p.wait(10)
                    except subprocess.TimeoutExpired:
                        m.p.kill()
                res["ok"] = all(res[x] is not None for x in ("start_s", "kill_s", "leave_s"))
                LOG.write(json.dumps(res) + "\n"); LOG.flush()
                print("  ", p, proto, res["start_s"], res["kill_s"], res["leave_s"], file=sys.stderr, flush=True)
                if not res["ok"]:
                    res["ok"] = res["start_s"] is not None
                rnd[p] = res
            rnds.append(rnd)
        peers = [p for p in a.peers if any(p in x for x in rnds)]
        table(f"P6 rebalance, {n} members, {parts} partitions, group.protocol={proto}", rnds, peers, [("start s", "start_s"), ("kill -9 s", "kill_s"), ("leave s", "leave_s")], [("start", "start_s"), ("leave", "leave_s")])


def sockets(pid):
    ino = set()
    for f in os.listdir(f"/proc/{pid}/fd"):
        try:
            l = os.readlink(f"/proc/{pid}/fd/{f}")
        except OSError:
            continue
        if l.startswith("socket:["):
            ino.add(l[8:-1])
    n = 0
    for fn in ("tcp", "tcp6"):
        for line in open(f"/proc/{pid}/net/{fn}").readlines()[1:]:
            w = line.split()
            if w[3] == "01" and w[9] in ino:
                n += 1
    return n


def p7(a, cl):
    parts = a.partitions
    t = cl.topic(f"p7-{STAMP}-{parts}", parts)
    time.sleep(5)
    rnds = []
    for i in range(a.rounds):
        rnd = {}
        for p in a.peers:
            kv = dict(brokers=cl.brokers, topic=t, partitions=parts, group=f"p7-{STAMP}-{p}-{i}")
            pr = subprocess.Popen(command(p, "p7", kv, a.extra), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            k = threading.Timer(120, pr.kill); k.start()
            t0 = time.monotonic()
            line = pr.stdout.readline()
            res = {"peer": p, "workload": "p7", "params": kv, "ok": bool(line)}
            if line:
                res["ready_s"] = time.monotonic() - t0
                time.sleep(8)
                stat = lambda: sum(int(x) for x in open(f"/proc/{pr.pid}/stat").read().rsplit(")", 1)[1].split()[11:13]) / os.sysconf("SC_CLK_TCK")
                c0 = stat(); time.sleep(10); c1 = stat()
                res["connections"] = sockets(pr.pid)
                st = open(f"/proc/{pr.pid}/status").read()
                res["rss_mb"] = int(re.search(r"VmRSS:\s+(\d+)", st).group(1)) / 1024
                res["threads"] = int(re.search(r"Threads:\s+(\d+)", st).group(1))
                res["idle_cpu_pct"] = (c1 - c0) * 10
            k.cancel(); pr.kill(); pr.wait()
            LOG.write(json.dumps(res) + "\n"); LOG.flush()
            print("  ", p, {k: v for k, v in res.items() if k not in ("params",)}, file=sys.stderr, flush=True)
            rnd[p] = res
        rnds.append(rnd)
    table(f"P7 one consumer, {parts} partitions, {len(cl.brokers.split(','))} brokers, idle", rnds, a.peers,
          [("TCP connections", "connections"), ("RSS MB", "rss_mb"), ("threads", "threads"), ("idle CPU %", "idle_cpu_pct"), ("ready s", "ready_s")], [("RSS", "rss_mb")])


DEFAULT = {"p1": "rdkafka,rdkafka-base,rskafka,franz,ours", "p2": "rdkafka,rskafka,franz,ours", "p3": "rdkafka,rskafka,franz,ours",
           "p4": "franz,ours", "p5": "spring,ours", "p6": "rdkafka,krafka,franz", "p7": "rdkafka,krafka,rskafka,franz"}


def main():
    global LOG
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("workload", choices=["build"] + list(DEFAULT))
    ap.add_argument("--peers")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--case", action="append", help="p1: SIZE,COMP,on|off  p2: SIZE,COMP  p3: SIZE,RATE  p4: COUNT,SLEEP_US,KEYS,ORDER  p6: classic|consumer")
    ap.add_argument("--secs", type=int, default=20)
    ap.add_argument("--members", type=int, default=20)
    ap.add_argument("--partitions", type=int, default=1000)
    ap.add_argument("--timeout", type=int, default=180)
    ap.add_argument("--brokers", default=os.environ.get("BROKERS"))
    ap.add_argument("--extra", action="append", default=[], metavar="NAME=CMD")
    ap.add_argument("--tls", action="store_true", help="p1 and p2 over TLS, of the peers rdkafka and ours; build: librdkafka with OpenSSL")
    ap.add_argument("--count", type=int, help="p1 and p2: so many messages instead of the usual number")
    ap.add_argument("--base-port", type=int, default=29092)
    a = ap.parse_args()
    if a.workload == "build":
        return build(a.tls)
    OUT.mkdir(parents=True, exist_ok=True)
    if a.tls and a.workload not in ("p1", "p2"):
        sys.exit("--tls is for p1 and p2")
    a.extra = dict(x.split("=", 1) for x in a.extra)
    a.peers = (a.peers or ("rdkafka,rdkafka-base,ours" if a.tls else DEFAULT[a.workload])).split(",") + [x for x in a.extra if not a.peers or x not in a.peers.split(",")]
    LOG = open(OUT / "results.jsonl", "a")
    cl = Cluster(a.brokers, 3 if a.workload == "p7" else 1, a.base_port, tls=a.tls)
    try:
        globals()[a.workload](a, cl)
    finally:
        cl.stop()


main()
