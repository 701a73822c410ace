"""Kafka for the runs: started by kafka/start.sh, its topics made by dispatcher, its ends told by Kafka's own tool."""

import os
import signal
import subprocess
import sys
import time

from .paths import HERE, LIBS, OUT, TOOL


class Cluster:
    """`brokers` is the plaintext listener; `tls` what peers are told for TLS."""

    def __init__(self, brokers, n, base):
        self.pids, self.brokers, self.tls = [], brokers, None
        if brokers:
            return
        folder = OUT / "kafka"
        started = subprocess.run([str(HERE / "kafka/start.sh"), str(n), str(folder), str(base)], capture_output=True,
                                 text=True, env=dict(os.environ, TLS="1" if n == 1 else "0"))
        self.pids = [int(pid.read_text()) for pid in sorted(folder.glob("*.pid"))]
        if started.returncode:
            self.stop()
            sys.exit(started.stderr)
        at = lambda base: ",".join(f"127.0.0.1:{base + i}" for i in range(n))
        self.brokers = at(base)
        self.tls = dict(brokers=at(base + 2000), ca=str(folder / "ca.pem")) if n == 1 else None
        # Makes the brokers' topic of offsets, and finds them at work: or whoever comes first would wait for that.
        self.fill(self.topic("warm-up", 1), 1000, 0)
        self.tool("bench", "consume", "--topic", "warm-up", "--messages", "1000")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def told(self, tls):
        """The keys by which a peer finds the brokers."""
        if tls and not self.tls:
            sys.exit("TLS needs a broker that is started here: leave --brokers out")
        return dict(self.tls) if tls else dict(brokers=self.brokers)

    def tool(self, *words, stdin=None):
        return subprocess.run([str(TOOL), "-b", self.brokers, *words], input=stdin, text=True, check=True, capture_output=True)

    def topic(self, name, partitions, **config):
        settings = [word for key, value in config.items() for word in ("--config", f"{key.replace('_', '.')}={value}")]
        self.tool("topics", "create", name, "--partitions", str(partitions), "--replicas", "1", *settings)
        return name

    def delete(self, name):
        self.tool("topics", "delete", name, "--yes")

    def records(self, topic):
        """How many were ever written to it: the sum of its partitions' ends, by Kafka's own tool."""
        tool = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{LIBS}/*", "org.apache.kafka.tools.GetOffsetShell"]
        done = subprocess.run([*tool, "--bootstrap-server", self.brokers.split(",")[0], "--topic", topic],
                              capture_output=True, text=True)
        ends = [line.split(":") for line in done.stdout.splitlines() if line.startswith(topic + ":")]
        return sum(int(end) for _, _, end in ends) if ends else None

    def fill(self, topic, count, keys):
        """Writes `count` records of 100 B to a topic of one partition, record i with the key `k<i mod keys>`."""
        lines = "".join((f"k{i % keys}\t" if keys else "") + f"{i:0100d}\n" for i in range(count))
        self.tool("send", topic, "--envelope", "raw", *(["--key-delimiter", "\\t"] if keys else []), stdin=lines)

    def stop(self):
        for pid in self.pids:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        for pid in self.pids:
            # They are not our children: the script's.
            for _ in range(100):
                if not os.path.exists(f"/proc/{pid}"):
                    break
                time.sleep(0.1)
        self.pids = []
