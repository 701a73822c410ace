#!/usr/bin/env python3
"""Drives `dispatcher bench` as the peer `ours` of run.py, and prints its JSON line with run.py's field names.
DISPATCHER_CMD overrides the binary. p4, p6 and p7 are in ours/, a program on the library itself."""
import json, os, shlex, subprocess, sys
from pathlib import Path

w, kv = sys.argv[1], dict(a.split("=", 1) for a in sys.argv[2:])
HERE = Path(__file__).resolve().parent
OUT = Path(os.environ.get("BENCH_DIR", HERE / ".bench")).resolve()
cmd = shlex.split(os.environ.get("DISPATCHER_CMD", str(OUT / "target/release/dispatcher"))) + ["--brokers", kv["brokers"], "--json", "bench"]
g = kv.get


def row_of(command):
    run = subprocess.run(command, capture_output=True, text=True)
    sys.stderr.write(run.stderr[-2000:])
    rows = [line for line in run.stdout.splitlines() if line.startswith("{")]
    return json.loads(rows[-1]) if rows else sys.exit(run.returncode or 1)


if g("ca"):
    properties = OUT / "ours-tls.properties"
    properties.write_text(f"security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location={g('ca')}\n")
    cmd[1:1] = ["--command-config", str(properties)]
if g("backend"):
    cmd[1:1] = ["--backend", g("backend")]
if w == "p1":
    cmd += ["produce", "--topic", g("topic"), "--messages", g("count"), "--size", g("size"), "--compression", g("compression"),
            "--idempotent", g("idempotent"), "--linger", g("linger_ms") + "ms", "--batch", g("batch_bytes"), "--window", g("window")]
elif w == "p2":
    # Often enough that offsets are committed while it is measured.
    cmd += ["consume", "--topic", g("topic"), "--messages", g("count"), "--commit-interval", "20ms"]
elif w == "p3":
    cmd += ["latency", "--topic", g("topic"), "--messages", str(int(g("rate")) * int(g("secs"))), "--size", g("size"), "--rate", g("rate"), "--linger", "0ms", "--idempotent", g("idempotent", "true")]
elif w == "p5":
    def trips(count, window):
        return row_of(cmd + ["receipts", "--topic", g("topic"), "--messages", count, "--size", g("size"), "--window", window])
    alone, together = trips(g("sequential"), "1"), trips(g("concurrent"), g("window"))
    row = {key: together[key] for key in ("msgs_per_s", "cpu_s_per_1m", "max_rss_mb")}
    print(json.dumps({"ok": alone["ok"] and together["ok"], "p50_us": alone["p50_us"], "p99_us": alone["p99_us"], **row}))
    sys.exit()
else:
    sys.exit(f"{w}: not through the tool")
row = row_of(cmd)
if w == "p2":
    # As the other peers check it.
    row["ok"] = row["ok"] and row["done"] == int(g("count")) and row["bytes"] == int(g("count")) * int(g("size"))
print(json.dumps(row))
