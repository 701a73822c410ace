"""What ran on what: the machine, the tools, and each peer's version as its lock file or manifest has it."""

import hashlib
import os
import platform
import re
import subprocess
import tomllib

from .paths import HERE, LIBS, ROOT, RUST


def output(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip()


def commit():
    """The commit that is measured; behind it, if files differ from it that matter, `-changed-` and a digest of how."""
    head = output("git", "rev-parse", "--short=10", "HEAD")
    matter = ("--", "src", "Cargo.toml", "Cargo.lock", "benches/peers", ":!*.md")
    changed = output("git", "diff", "HEAD", *matter)
    new = output("git", "ls-files", "--others", "--exclude-standard", *matter).splitlines()
    if not changed and not new:
        return head
    digest = hashlib.sha256(changed.encode())
    for name in new:
        digest.update(name.encode() + (ROOT / name).read_bytes())
    return f"{head}-changed-{digest.hexdigest()[:6]}"


def locked(folder):
    packages = tomllib.loads((folder / "Cargo.lock").read_text())["package"]
    return {package["name"]: package["version"] for package in packages}


def first(pattern, text):
    found = re.search(pattern, text, re.S)
    return found.group(1) if found else "?"


def peers():
    crates = locked(HERE / "rust")
    go = (HERE / "go/go.mod").read_text()
    java = (HERE / "java/pom.xml").read_text()
    kafka = sorted(LIBS.glob("kafka-clients-*.jar"))
    artifact = lambda name: first(rf"<artifactId>{name}</artifactId>\s*<version>([^<]+)<", java)
    bindings, _, librdkafka = crates["rdkafka-sys"].partition("+")
    openssl = "openssl" in output("ldd", str(RUST)) or "libssl" in output("ldd", str(RUST))
    return {
        "Apache Kafka (broker)": kafka[0].stem.removeprefix("kafka-clients-") if kafka else "?",
        "librdkafka": f"{librdkafka} (rdkafka {crates['rdkafka']}, rdkafka-sys {bindings})",
        "OpenSSL, for librdkafka": output("openssl", "version") if openssl else "not linked",
        "krafka": crates["krafka"],
        "rskafka": crates["rskafka"],
        "franz-go": first(r"twmb/franz-go v(\S+)", go),
        "sarama": first(r"IBM/sarama v(\S+)", go),
        "Java client": first(r"<kafka.version>([^<]+)<", java),
        "Parallel Consumer": artifact("parallel-consumer-core"),
        "Spring Kafka": artifact("spring-kafka"),
        "dispatcher": tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"],
    }


def machine():
    processor = first(r"model name\s*:\s*([^\n]+)", open("/proc/cpuinfo").read())
    memory = int(first(r"MemTotal:\s+(\d+)", open("/proc/meminfo").read())) / 1024 / 1024
    return {
        "processor": f"{processor}, {os.cpu_count()} cores",
        "memory": f"{memory:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().split('-')[0]}",
        "rustc": output("rustc", "--version"),
        "go": output("go", "version").removeprefix("go version "),
        "java": output("java", "-version").splitlines()[0] if output("java", "-version") else "?",
        **peers(),
    }
