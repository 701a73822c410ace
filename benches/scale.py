#!/usr/bin/env python3
"""How cost grows with partitions, brokers, message size, handlers in flight and subscriptions, against the embedded cluster in
a process of its own: CPU seconds and memory, a plot for each in benches/scale/ and the numbers in benches/SCALE.md.

  benches/scale.py [partitions|brokers|size|handlers|subscriptions]…     all of them unless named
  --rounds N    interleaved rounds, of which the least is taken (3)
  --profile P   cargo's (release); DISPATCHER_CMD and SCALING_CMD name programs that are built already

Fails if a cost grows worse than linearly: between two neighbouring sizes by more than their ratio to the power of 1.3, so that
what one costs doubles at ten times as many, once it is well above what the clock can tell. Less may be a step, such as
memory that does not fit into a cache any more. Needs Linux; makes a venv with matplotlib under target/."""

import argparse
import datetime
import json
import math
import os
import platform
import subprocess
import sys
from pathlib import Path

from peers.runner import versions

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
VENV = TARGET / "scale-venv"
WORST_SLOPE = 1.3


class Axis:
    """`measure(embedded, x)` gives {name: cost}; `floors` says below which a cost is noise, by its unit."""

    def __init__(self, title, label, sizes, measure, notes):
        self.title, self.label, self.sizes, self.measure, self.notes = title, label, sizes, measure, notes


FLOORS = {"CPU s": 0.05, "CPU % idle": 0.5, "MB": 8, "CPU µs": 0.3}


class Embedded:
    def __init__(self, tools, brokers=1):
        self.tools = tools
        command = [tools["dispatcher"], "embedded", "--listen", "127.0.0.1:0", "--brokers", str(brokers)]
        # Its commands read this name, too.
        env = {k: v for k, v in os.environ.items() if k != "KAFKA_BROKERS"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        self.address = self.process.stdout.readline().strip()

    def topic(self, name, partitions, *configs):
        command = [self.tools["dispatcher"], "--brokers", self.address, "topics", "create", name]
        command += ["--partitions", str(partitions), "--replicas", "1"]
        for config in configs:
            command += ["--config", config]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def run(self, workload, **arguments):
        pairs = [f"{name}={value}" for name, value in arguments.items()]
        command = [self.tools["scaling"], self.address, workload, *pairs]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout)

    def stop(self):
        self.process.terminate()
        self.process.wait()


def partitions(embedded, x):
    count = 500_000
    embedded.topic("one-each", x)
    embedded.run("produce", topic="one-each", count=x, size=100)
    start = embedded.run("consume", topic="one-each", count=x, idle=10)
    embedded.topic("many", x)
    produce = embedded.run("produce", topic="many", count=count, size=100)
    consume = embedded.run("consume", topic="many", count=count)
    return {
        "CPU s: start, first message of each, commit": start["cpu_s"],
        "CPU s: stop": start["stop_cpu_s"],
        "CPU % idle": start["idle_cpu"] * 100,
        "MB: at rest": start["rss_mb"],
        "CPU s: send 500,000": produce["cpu_s"],
        "MB: send": produce["peak_mb"],
        "CPU s: handle 500,000": consume["cpu_s"],
        "MB: handle": consume["peak_mb"],
    }


def brokers(embedded, x):
    count = 500_000
    embedded.topic("spread", 90)
    produce = embedded.run("produce", topic="spread", count=count, size=100)
    consume = embedded.run("consume", topic="spread", count=count, idle=10)
    return {
        "CPU s: send 500,000": produce["cpu_s"],
        "MB: send": produce["peak_mb"],
        "CPU s: handle 500,000": consume["cpu_s"],
        "CPU % idle": consume["idle_cpu"] * 100,
        "MB: handle": consume["peak_mb"],
    }


def size(embedded, x):
    count = max(20, min(500_000, 200_000_000 // max(x, 1)))
    embedded.topic("sized", 4, "max.message.bytes=20000000")
    produce = embedded.run("produce", topic="sized", count=count, size=x)
    consume = embedded.run("consume", topic="sized", count=count)
    return {
        "CPU µs: send one": produce["cpu_s"] / count * 1e6,
        "CPU µs: handle one": consume["cpu_s"] / count * 1e6,
        "MB: send": produce["peak_mb"],
        "MB: handle": consume["peak_mb"],
    }


def handlers(embedded, x):
    work = max(1, x // 20)
    count = max(2_000, min(100_000, 20 * x), 2 * x)
    embedded.topic("slow", 20)
    embedded.run("produce", topic="slow", count=count, size=100)
    consume = embedded.run("consume", topic="slow", count=count, concurrency=x, work_ms=work)
    return {
        "CPU s: as many messages as handlers": consume["cpu_s"] / count * x,
        "MB: handle": consume["peak_mb"],
    }


def subscriptions(embedded, x):
    embedded.topic("shared", 4)
    embedded.run("produce", topic="shared", count=1_000, size=100)
    consume = embedded.run("consume", topic="shared", count=1_000, subscriptions=x, idle=10)
    return {
        "CPU s: start, 1,000 messages each, commit": consume["cpu_s"],
        "CPU s: stop": consume["stop_cpu_s"],
        "CPU % idle": consume["idle_cpu"] * 100,
        "MB: at rest": consume["rss_mb"],
        "MB: handle": consume["peak_mb"],
    }


AXES = {
    "partitions": Axis("Partitions of one topic", "partitions", [1, 10, 100, 1_000, 10_000], partitions,
                       "One broker; one member owns all. Sent round robin, linger 5 ms."),
    "brokers": Axis("Brokers", "brokers", [1, 3, 9], brokers, "90 partitions, spread over them."),
    "size": Axis("Size of a message", "bytes", [0, 100, 1 << 10, 10 << 10, 100 << 10, 1 << 20, 10 << 20], size,
                 "4 partitions, not compressed, up to 200 MB in all."),
    "handlers": Axis("Handlers in flight", "handlers", [1, 10, 100, 1_000, 10_000, 100_000], handlers,
                     "20 partitions, no order; each handler sleeps, longer the more there are."),
    "subscriptions": Axis("Subscriptions in one process", "subscriptions", [1, 10, 50, 100, 500], subscriptions,
                          "Each a group of its own on one topic of 4 partitions, all on one dispatcher."),
}


def build(profile):
    if "SCALING_CMD" in os.environ:
        return {"dispatcher": os.environ["DISPATCHER_CMD"], "scaling": os.environ["SCALING_CMD"]}
    command = ["cargo", "build", "--profile", profile, "--features", "cli", "--bin", "dispatcher", "--bench", "scaling"]
    out = subprocess.run(command + ["--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = {}
    for line in out.splitlines():
        message = json.loads(line)
        if message.get("executable"):
            found[message["target"]["name"]] = message["executable"]
    return found


def slope(a, b):
    """Of the straight line between two points on log-log paper."""
    (x1, y1), (x2, y2) = a, b
    return math.log(y2 / y1) / math.log(x2 / x1)


def worse(name, points):
    """Where the cost grows worse than linearly."""
    floor = next(floor for unit, floor in FLOORS.items() if name.startswith(unit))
    told = [(max(x, 1), y) for x, y in points if y >= floor]
    return [(a, b) for a, b in zip(told, told[1:]) if slope(a, b) > WORST_SLOPE]


def plot(pyplot, key, axis, columns):
    figure, plots = pyplot.subplots(1, len(columns), figsize=(3.4 * len(columns), 3.2))
    for sub, (name, points) in zip(plots, columns.items()):
        shown = [(max(x, 1), max(y, 1e-3)) for x, y in points]
        xs, ys = zip(*shown)
        sub.loglog(xs, ys, "o-", label="measured")
        sub.loglog(xs, [ys[-1] * x / xs[-1] for x in xs], "--", color="grey", label="linear")
        sub.set_ylim(bottom=min(ys) / 2, top=max(ys) * 2)
        sub.set_title(name, fontsize=8)
        sub.set_xlabel(axis.label)
        sub.legend(fontsize=7)
    figure.suptitle(axis.title)
    figure.tight_layout()
    figure.savefig(HERE / "scale" / f"{key}.svg", metadata={"Date": None})
    pyplot.close(figure)


def number(y):
    return f"{y:,.0f}" if y >= 100 else f"{y:.3g}"


def section(key, axis, columns, bad):
    lines = [f"## {axis.title}", "", axis.notes, "", f"| {axis.label} | " + " | ".join(columns) + " |"]
    lines.append("|---|" + "---|" * len(columns))
    for row, x in enumerate(axis.sizes):
        lines.append(f"| {x:,} | " + " | ".join(number(points[row][1]) for points in columns.values()) + " |")
    steepest = []
    for name, points in columns.items():
        told = [(max(x, 1), y) for x, y in points if y >= next(f for unit, f in FLOORS.items() if name.startswith(unit))]
        slopes = [slope(a, b) for a, b in zip(told, told[1:])]
        steepest.append(f"{max(slopes):.2f}" if slopes else "–")
    lines.append("| steepest slope | " + " | ".join(steepest) + " |")
    lines += ["", f"![{axis.title}](scale/{key}.svg)", ""]
    for name, (a, b) in bad:
        lines.append(f"**Worse than linear**: {name}, from {number(a[1])} at {a[0]:,} to {number(b[1])} at {b[0]:,}.")
    return "\n".join(lines) + "\n"


def measure(tools, axis, key, rounds):
    """The least of some rounds: what other programs on the machine add is never negative."""
    seen = {}
    for number in range(rounds):
        for x in axis.sizes:
            embedded = Embedded(tools, x if key == "brokers" else 1)
            try:
                costs = axis.measure(embedded, x)
            finally:
                embedded.stop()
            print(key, f"round {number + 1}", x, {name: round(y, 3) for name, y in costs.items()}, flush=True)
            for name, y in costs.items():
                seen.setdefault(name, {}).setdefault(x, []).append(y)
    return {name: [(x, min(ys)) for x, ys in by_size.items()] for name, by_size in seen.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("axes", nargs="*", metavar="AXIS", help=", ".join(AXES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", default="release")
    options = parser.parse_args()
    if unknown := [name for name in options.axes if name not in AXES]:
        parser.error(f"no axis {unknown[0]}: use {', '.join(AXES)}")
    if Path(sys.prefix).resolve() != VENV.resolve():
        python = VENV / "bin/python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        if subprocess.run([python, "-c", "import matplotlib"], stderr=subprocess.DEVNULL).returncode:
            subprocess.run([python, "-m", "pip", "install", "-q", "matplotlib"], check=True)
        os.execv(python, [str(python), __file__, *sys.argv[1:]])
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "dispatcher", "svg.fonttype": "none"}
    from matplotlib import pyplot

    tools = build(options.profile)
    (HERE / "scale").mkdir(exist_ok=True)
    # Axes that are not asked for keep what was found before.
    kept = HERE / "scale/sections.json"
    sections = json.loads(kept.read_text()) if kept.exists() else {}
    fails = []
    for key in options.axes or AXES:
        axis = AXES[key]
        load = f"load average before {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
        columns = measure(tools, axis, key, options.rounds)
        bad = [(name, where) for name, points in columns.items() for where in worse(name, points)]
        fails += [f"{axis.title}: {name}" for name, _ in bad]
        plot(pyplot, key, axis, columns)
        made = f"{datetime.date.today()}, commit {versions.commit()}, least of {options.rounds} rounds, profile `{options.profile}`, {load}."
        sections[key] = section(key, axis, columns, bad).replace(axis.notes, f"{axis.notes} {made}")
    kept.write_text(json.dumps(sections, indent=1))
    cores, machine = os.cpu_count(), platform.machine()
    head = f"""# How cost grows

Made by `benches/scale.py` against the embedded cluster in a process of its own, client and cluster on the same {cores} cores ({machine}, Linux {platform.release().split('-')[0]}). CPU seconds and memory are those of the client's process. The dashed line in a plot is linear growth through the last point: a cost that grows worse than linearly comes from below it. The script fails where a cost grows between two neighbours faster than by their ratio to the power of {WORST_SLOPE}: less may be a step, such as memory that does not fit into a cache any more, or that is not kept to be used again.

"""
    (HERE / "SCALE.md").write_text(head + "\n".join(sections[key] for key in AXES if key in sections))
    for fail in fails:
        print(f"WORSE THAN LINEAR: {fail}", file=sys.stderr)
    sys.exit(1 if fails else 0)


if __name__ == "__main__":
    main()
