"""How each peer is called, and one run of it."""

import json
import shlex
import subprocess
import sys
import threading

from .paths import GO, HERE, JAVA, OUT, OURS, RUST

JVM = ["java", "-Xms256m", "-Xmx512m", "-cp", f"{JAVA}/classes:{JAVA}/lib/*"]
OF_JAVA = {"java": "peers.Java", "pc": "peers.Parallel", "spring": "peers.Spring"}
# What `dispatcher bench` measures; the rest is in ours/.
OF_THE_TOOL = ("p1", "p2", "p3", "p5")


def program(peer, workload):
    if peer.split("-")[0] in ("rdkafka", "krafka", "rskafka", "floor"):
        return [str(RUST), peer, workload]
    if peer in ("franz", "sarama"):
        return [str(GO), peer, workload]
    if peer in OF_JAVA:
        return [*JVM, OF_JAVA[peer], workload]
    if peer.split("-")[0] == "ours":
        if workload in OF_THE_TOOL:
            return [sys.executable, str(HERE / "ours.py"), workload]
        return [str(OURS), peer, workload]
    sys.exit(f"unknown peer {peer}")


def command(peer, workload, keys, extra):
    pairs = [f"{key}={value}" for key, value in keys.items()]
    if peer not in extra:
        return program(peer, workload) + pairs
    text = extra[peer].replace("{workload}", workload).replace("{args}", " ".join(pairs))
    for key, value in keys.items():
        text = text.replace("{" + key + "}", str(value))
    return shlex.split(text)


def run(peer, workload, keys, extra, timeout):
    """One run: the line it printed, or what went wrong."""
    log = OUT / "last-stderr.log"
    with open(log, "w") as errors:
        process = subprocess.Popen(command(peer, workload, keys, extra), stdout=subprocess.PIPE, stderr=errors, text=True)
        killer = threading.Timer(timeout, process.kill)
        killer.start()
        out = process.stdout.read()
        process.wait()
        killer.cancel()
    lines = [line for line in out.splitlines() if line.startswith("{")]
    if lines:
        found = json.loads(lines[-1])
    else:
        found = {"ok": False, "error": f"exit {process.returncode}: {log.read_text()[-300:]}"}
    for known in ("peer", "workload", "params", "v"):
        found.pop(known, None)
    return found
