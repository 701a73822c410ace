#!/usr/bin/env python3
"""What each option does: `dispatcher bench` against real Kafka with one option changed at a time, in interleaved rounds. Prints
the tables of TUNING.md: ratios to the defaults (in bold) within the same round, medians; the defaults' own figures beside them.

  benches/tuning.py [send|pace|compress|latency|handle|work|idle|takeover]…    all of them unless named
  --rounds N (5)   --base-port P (29092)   --write: puts them into TUNING.md

Starts one broker, with a TLS listener, as benches/peers does (BENCH_DIR, KAFKA_LIBS: see there). DISPATCHER_CMD names the
program; without it the release build is made. Needs Linux, Java and Maven."""

import argparse
import datetime
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from peers.runner import versions
from peers.runner.case import turns

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
MIB = 1 << 20


class Kafka:
    def __init__(self, base):
        self.directory = Path(tempfile.mkdtemp(prefix="dispatcher-tuning-"))
        data = self.directory / "kafka"
        env = dict(os.environ, TLS="1")
        if "BENCH_DIR" in env:
            env.setdefault("KAFKA_LIBS", str(Path(env["BENCH_DIR"]) / "kafka-libs"))
        quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        start = [HERE / "peers/kafka/start.sh", "1", data, str(base)]
        # On a busy machine it may not be up in time at once.
        if all(subprocess.run(start, env=env, **quiet).returncode for _ in range(3)):
            sys.exit(f"Kafka does not start: see {data}/broker1.log")
        self.pid = int((data / "1.pid").read_text())
        self.log, self.ca = data / "1", data / "ca.pem"
        self.plain, self.tls = f"127.0.0.1:{base}", f"127.0.0.1:{base + 2000}"

    def bytes_of(self, topic):
        return sum(f.stat().st_size for f in self.log.glob(f"{topic}-*/*.log"))

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)
        while Path(f"/proc/{self.pid}").exists():
            time.sleep(0.2)
        subprocess.run(["rm", "-rf", self.directory], check=False)


class Tool:
    def __init__(self, program, kafka):
        self.program, self.kafka, self.made = program, kafka, 0

    def command(self, properties, arguments, tls=False):
        lines = dict(properties)
        if tls:
            lines |= {"security.protocol": "SSL", "ssl.truststore.type": "PEM", "ssl.truststore.location": self.kafka.ca}
        file = self.kafka.directory / "client.properties"
        file.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        brokers = self.kafka.tls if tls else self.kafka.plain
        return [self.program, "--brokers", brokers, "--command-config", str(file), *arguments]

    def bench(self, workload, arguments, variant):
        options = dict(arguments) | variant.get("options", {})
        flags = [part for name, value in options.items() for part in ([name] if value is True else [name, str(value)])]
        command = self.command(variant.get("properties", {}), ["--json", "bench", workload, *flags], "tls" in variant)
        run = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300)
        if run.returncode:
            sys.exit(f"failed: {command}")
        row = json.loads(run.stdout.splitlines()[-1])
        return row

    def topic(self, partitions):
        self.made += 1
        name = f"tuning-{os.getpid()}-{self.made}"
        create = ["topics", "create", name, "--partitions", str(partitions), "--replicas", "1"]
        subprocess.run(self.command({}, create), check=True, stdout=subprocess.DEVNULL)
        return name

    def remove(self, topic):
        subprocess.run(self.command({}, ["topics", "delete", topic, "--yes"]), check=True, stdout=subprocess.DEVNULL)


def option(label, name, value):
    return label, {"options": {name: value}}


def setting(label, name, value):
    return label, {"properties": {name: value}}


RATES = [("msgs_per_s", "messages/s"), ("cpu_s_per_1m", "CPU"), ("max_rss_mb", "memory")]
TIMES = [("p50_us", "p50"), ("p99_us", "p99"), ("cpu_s_per_1m", "CPU")]


def table(title, columns, variants, rounds, ratios=True):
    """The first variant is the one that the others are compared with."""
    first = variants[0][0]
    lines = [f"**{title}**", "", "| | " + " | ".join(name for _, name in columns) + " |", "|---|" + "---|" * len(columns)]
    for label, _ in variants:
        cells = []
        for key, _ in columns:
            middle = statistics.median(r[label][key] for r in rounds)
            if label == first or not ratios:
                cells.append(f"{middle:,.0f}" if middle >= 1000 else f"{middle:.3g}")
            else:
                cells.append(f"× {statistics.median(r[label][key] / (r[first][key] or 1e-9) for r in rounds):.2f}")
        lines.append(f"| {'**' + label + '**' if label == first else label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interleaved(count, variants, run):
    rounds = []
    for number in range(count):
        rounds.append({label: run(variant) for label, variant in turns(variants, number, variants[0][0])})
        print(f"round {number + 1} of {count}", file=sys.stderr, flush=True)
    return rounds


def send(tool, count):
    base = {"--messages": 500_000, "--size": 100}
    variants = [("defaults: linger 0, batches up to 1 MB, idempotent; Envelope::Raw", {})]
    variants += [option(f"linger {ms} ms", "--linger", f"{ms}ms") for ms in (1, 5, 20, 100)]
    variants += [option(f"batch_size {size:,} B", "--batch", size) for size in (16_384, 100_000, 4_000_000)]
    variants += [option("idempotence false", "--idempotent", "false"), ("TLS", {"tls": True})]
    variants += [option("Envelope::Headers, the default", "--envelope", "headers")]
    smaller = {"buffer.memory": 4 * MIB, "max.request.size": MIB}
    variants += [("buffer_memory 4 MiB, max_message_size 1 MiB", {"properties": smaller})]

    def run(variant):
        topic = tool.topic(4)
        row = tool.bench("produce", base | {"--topic": topic}, variant)
        row["bytes"] = tool.kafka.bytes_of(topic) / row["done"]
        tool.remove(topic)
        return row

    columns = RATES + [("bytes", "bytes a message in the log")]
    return table("Sending 500,000 messages of 100 B as fast as they are acknowledged, 4 partitions", columns, variants,
          interleaved(count, variants, run))


def pace(tool, count):
    base = {"--messages": 100_000, "--size": 100, "--rate": 20_000}
    variants = [("linger 0", {})] + [option(f"linger {ms} ms", "--linger", f"{ms}ms") for ms in (1, 5, 20)]

    def run(variant):
        topic, before = tool.topic(4), cpu(tool.kafka.pid)
        row = tool.bench("produce", base | {"--topic": topic}, variant)
        row["broker"] = (cpu(tool.kafka.pid) - before) / row["done"] * 1e6
        row["bytes"] = tool.kafka.bytes_of(topic) / row["done"]
        tool.remove(topic)
        return row

    columns = [("cpu_s_per_1m", "CPU"), ("broker", "the broker's CPU"), ("bytes", "bytes a message in the log")]
    return table("Sending 20,000 messages/s of 100 B for 5 s, 4 partitions", columns, variants, interleaved(count, variants, run))


def compress(tool, count):
    base = {"--messages": 100_000, "--size": 1024, "--linger": "5ms"}
    variants = [("none", {})]
    variants += [option(codec, "--compression", codec) for codec in ("snappy", "lz4")]
    for codec, levels in (("gzip", (1, 6, 9)), ("zstd", (1, 3, 9))):
        name = f"compression.{codec}.level"
        variants += [
            (f"{codec}, level {level}", {"options": {"--compression": codec}, "properties": {name: level}})
            for level in levels
        ]

    def run(variant):
        topic = tool.topic(4)
        row = tool.bench("produce", base | {"--topic": topic}, variant)
        row["bytes"] = tool.kafka.bytes_of(topic) / row["done"]
        read = tool.bench("consume", {"--topic": topic, "--messages": base["--messages"]}, {})
        row["read"] = read["cpu_s_per_1m"]
        tool.remove(topic)
        return row

    columns = RATES[:2] + [("bytes", "bytes a message in the log"), ("read", "CPU of who reads")]
    return table("Compression: 100,000 messages of 1 KiB, random digits in JSON, linger 5 ms", columns, variants,
          interleaved(count, variants, run))


def latency(tool, count):
    base = {"--messages": 5_000, "--size": 100, "--rate": 1_000, "--partitions": 1}
    variants = [("defaults: linger 0", {})]
    variants += [option(f"linger {ms} ms", "--linger", f"{ms}ms") for ms in (1, 5, 20)]
    variants += [option("idempotence false", "--idempotent", "false"), option("LZ4", "--compression", "lz4")]
    variants += [setting(f"fetch_max_wait {ms} ms", "fetch.max.wait.ms", ms) for ms in (50, 5_000)]
    variants += [("TLS", {"tls": True})]
    return table("From send to the handler, 1,000 messages/s of 100 B, one partition (µs)", TIMES, variants,
          interleaved(count, variants, lambda variant: tool.bench("latency", base, variant)))


def handle(tool, count):
    messages = 1_000_000
    topic = tool.topic(4)
    fill = {"--messages": messages, "--size": 100, "--topic": topic, "--linger": "5ms", "--keys": 1_000}
    tool.bench("produce", fill, {})
    base = {"--messages": messages, "--topic": topic}
    variants = [("fetch_memory 64 MiB, commit_interval 1 s (defaults); no order, concurrency 1", {})]
    variants += [option(f"concurrency {n}", "--concurrency", n) for n in (10, 100)]
    for order in ("key", "partition"):
        variants.append((f"order by {order}, concurrency 100", {"options": {"--order": order, "--concurrency": 100}}))
    variants.append(("spawn_each, concurrency 100", {"options": {"--spawn-each": True, "--concurrency": 100}}))
    variants += [option(f"fetch_memory {n} MiB", "--fetch-memory", n * MIB) for n in (1, 4, 16, 256)]
    variants += [option(f"commit_interval {text}", "--commit-interval", text) for text in ("10ms", "100ms", "5s")]
    variants += [("TLS", {"tls": True})]
    result = table("Handling 1,000,000 messages of 100 B that are there, handlers that do nothing, 4 partitions", RATES, variants,
          interleaved(count, variants, lambda variant: tool.bench("consume", base, variant)))
    tool.remove(topic)
    return result


def work(tool, count):
    base = {"--messages": 4_000, "--partitions": 4, "--keys": 1_000}
    names = [("concurrency 100, order by key", {"options": {"--order": "key"}})]
    names += [(f"concurrency {n}, order by key", {"options": {"--concurrency": n, "--order": "key"}}) for n in (10, 1_000)]
    names += [(f"concurrency 100, {text}", {"options": {"--order": order}})
              for text, order in (("no order", "none"), ("order by partition", "partition"))]
    names += [("concurrency 100, order by key, spawn_each", {"options": {"--order": "key", "--spawn-each": True}})]
    return table("Handling 4,000 messages whose handlers wait 0 to 5 ms, 1,000 keys, 4 partitions", RATES[:2], names,
          interleaved(count, names, lambda variant: tool.bench("dispatch", base, variant)))


def cpu(pid):
    """Of its threads that live; finer than the hundredths of a second in /proc/PID/stat."""
    return sum(int(f.read_text().split()[0]) for f in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def subscriber(tool, topic, group, properties, tls=False):
    command = tool.command(properties, ["subscribe", topic, "--group", group], tls)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    time.sleep(3)
    return process


def idle(tool, count):
    topic = tool.topic(100)
    variants = [("defaults: fetch_max_wait 500 ms, heartbeat_interval 3 s", {})]
    variants += [setting(f"fetch_max_wait {ms:,} ms", "fetch.max.wait.ms", ms) for ms in (50, 5_000)]
    variants += [setting(f"heartbeat_interval {ms:,} ms", "heartbeat.interval.ms", ms) for ms in (500, 10_000)]
    variants += [("TLS", {"tls": True})]

    def run(variant):
        process = subscriber(tool, topic, f"idle-{time.time_ns()}", variant.get("properties", {}), "tls" in variant)
        before = cpu(process.pid)
        time.sleep(10)
        row = {"cpu": (cpu(process.pid) - before) / 10 * 100}
        status = Path(f"/proc/{process.pid}/status").read_text()
        row["memory"] = int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6
        process.terminate()
        process.wait()
        return row

    result = table("A member that waits for messages of 100 partitions: % of a core, and MB", [("cpu", "CPU"), ("memory", "memory")],
                   variants, interleaved(count, variants, run), ratios=False)
    tool.remove(topic)
    return result


def takeover(tool, _):
    """How long nobody handles the messages of a member that died."""
    lines = ["**After kill -9 of one of two members: until the other one handles messages of all partitions**", "", "| | seconds |", "|---|---|"]
    for session in (6_000, 10_000, 30_000):
        topic = tool.topic(2)
        group, heartbeat = f"takeover-{time.time_ns()}", min(3_000, session // 3)
        properties = {"session.timeout.ms": session, "heartbeat.interval.ms": heartbeat}
        members = [subscriber(tool, topic, group, properties) for _ in range(2)]
        time.sleep(session / 1000 + 3)
        members[0].kill()
        begun = time.monotonic()
        sends = {"--messages": 2, "--topic": topic, "--size": 20}
        tool.bench("produce", sends, {})
        for _ in range(2):
            members[1].stdout.readline()
        lines.append(f"| session_timeout {session // 1000} s | {time.monotonic() - begun:.1f} |")
        members[1].terminate()
        members[1].wait()
        members[0].wait()
        tool.remove(topic)
    return "\n".join(lines)


PARTS = dict(send=send, pace=pace, compress=compress, latency=latency, handle=handle, work=work, idle=idle, takeover=takeover)


def write(name, text):
    page = ROOT / "TUNING.md"
    before, rest = page.read_text().split(f"<!-- tuning:{name} -->\n", 1)
    after = rest.split("<!-- /tuning -->", 1)[1]
    page.write_text(f"{before}<!-- tuning:{name} -->\n{text}\n<!-- /tuning -->{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--base-port", type=int, default=29092)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"no part {unknown[0]}: use {', '.join(PARTS)}")
    program = os.environ.get("DISPATCHER_CMD")
    if not program:
        subprocess.run(["cargo", "build", "--release", "--features", "cli", "--bin", "dispatcher"], cwd=ROOT, check=True)
        program = str(TARGET / "release/dispatcher")
    kafka = Kafka(options.base_port)
    try:
        tool = Tool(program, kafka)
        # The broker's own code is compiled while it runs: not while we measure.
        warm = tool.topic(4)
        tool.bench("produce", {"--messages": 1_000_000, "--topic": warm}, {})
        tool.bench("consume", {"--messages": 1_000_000, "--topic": warm}, {})
        tool.remove(warm)
        for name in options.parts or PARTS:
            load = f"load average before {os.getloadavg()[0]:.1f}"
            text = PARTS[name](tool, options.rounds)
            rounds = "one run" if name == "takeover" else f"medians of {options.rounds} rounds"
            made = f"{datetime.date.today()}, commit {versions.commit()}, {os.cpu_count()} cores shared with the broker, {load}, {rounds}."
            text = f"{text}\n\n{made}"
            print(f"\n{text}", flush=True)
            if options.write:
                write(name, text)
    finally:
        kafka.stop()


if __name__ == "__main__":
    main()
