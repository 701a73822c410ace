"""Builds every peer, dispatcher itself, and fetches Kafka's jars; all from package registries. Writes down of which commit,
so that no results are told of another."""

import os
import shutil
import subprocess
import sys

from . import versions
from .paths import BUILT, GO, HERE, JAVA, LIBS, OUT, ROOT, TARGET


def build(tls):
    OUT.mkdir(parents=True, exist_ok=True)
    BUILT.unlink(missing_ok=True)
    commit = versions.commit()
    env = dict(os.environ, CARGO_TARGET_DIR=str(TARGET))

    def run(*command, cwd):
        print("+", *command, flush=True)
        subprocess.run(command, cwd=cwd, env=env, check=True)

    openssl = ["--features", "tls"] if tls else []
    run("cargo", "build", "--locked", "--release", *openssl, cwd=HERE / "rust")
    run("cargo", "build", "--locked", "--release", "--features", "cli,rskafka", "--bin", "dispatcher", cwd=ROOT)
    # With the dependencies that the library is locked to.
    shutil.copy(ROOT / "Cargo.lock", HERE / "ours/Cargo.lock")
    run("cargo", "build", "--release", cwd=HERE / "ours")
    run("go", "build", "-o", str(GO), ".", cwd=HERE / "go")
    run("mvn", "-q", "-B", f"-DbuildDirectory={JAVA}", "package", "dependency:copy-dependencies",
        f"-DoutputDirectory={JAVA}/lib", cwd=HERE / "java")
    if not LIBS.exists():
        run("mvn", "-q", "-B", "-f", "kafka/pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={LIBS}", cwd=HERE)
    if versions.commit() != commit:
        sys.exit("files were changed while they were built: run `./run.py build` again")
    BUILT.write_text(commit)


def differs(commit):
    """None if what there is was built of this commit; else what to do."""
    built = BUILT.read_text().strip() if BUILT.exists() else "an unknown commit"
    if built == commit:
        return None
    return f"what is in {OUT} was built of {built}, this is {commit}: run `./run.py build`, with --tls for librdkafka with TLS"
