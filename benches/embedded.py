#!/usr/bin/env python3
"""Speed of the embedded cluster over loopback TCP: the broker on one core, the client on the other.

Batches of about 100 messages of 100 B, then the default ones; medians of some rounds (5 unless told), as a Markdown table.
Needs Linux and two cores. Every run fails if it is short of messages.
"""

import json
import os
import statistics
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
MESSAGES = 2_000_000


def cpu(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    subprocess.run(["cargo", "build", "--release", "--features", "cli", "--bin", "dispatcher"], cwd=ROOT, check=True)
    tool = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release", "dispatcher")
    broker = subprocess.Popen(
        ["taskset", "-c", "0", tool, "embedded", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    )
    try:
        address = broker.stdout.readline().strip()
        print("| batches up to | workload | msgs/s | client CPU s/1M | broker CPU s/1M |\n|---|---|---|---|---|")
        for batch in (11_500, 1_000_000):
            rows = {"produce": [], "consume": []}
            for number in range(rounds):
                topic = f"speed-{batch}-{number}"
                run = ["taskset", "-c", "1", tool, "--brokers", address]
                subprocess.run(
                    run + ["topics", "create", topic, "--partitions", "4", "--replicas", "1"],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
                for workload, seen in rows.items():
                    before = cpu(broker.pid)
                    bench = ["bench", workload, "--topic", topic, "--messages", str(MESSAGES), "--size", "100"]
                    more = ["--linger", "5ms", "--batch", str(batch), "--json"]
                    row = json.loads(subprocess.run(run + bench + more, check=True, capture_output=True).stdout)
                    assert row["ok"] and row["done"] == MESSAGES, row
                    seen.append((row["msgs_per_s"], row["cpu_s_per_1m"], (cpu(broker.pid) - before) / MESSAGES * 1e6))
                subprocess.run(run + ["topics", "delete", topic, "--yes"], check=True, stdout=subprocess.DEVNULL)
            for workload, seen in rows.items():
                speed, client, server = (statistics.median(column) for column in zip(*seen))
                print(f"| {batch:,} B | {workload} | {speed:,.0f} | {client:.3f} | {server:.3f} |", flush=True)
    finally:
        broker.terminate()
        broker.wait()


if __name__ == "__main__":
    main()
