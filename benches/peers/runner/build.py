"""Builds every peer, dispatcher itself, and fetches Kafka's jars; all from package registries."""

import os
import shutil
import subprocess

from .paths import GO, HERE, JAVA, LIBS, OUT, ROOT, TARGET


def build(tls):
    OUT.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ, CARGO_TARGET_DIR=str(TARGET))

    def run(*command, cwd):
        print("+", *command, flush=True)
        subprocess.run(command, cwd=cwd, env=env, check=True)

    openssl = ["--features", "tls"] if tls else []
    run("cargo", "build", "--locked", "--release", *openssl, cwd=HERE / "rust")
    run("cargo", "build", "--locked", "--release", "--features", "cli", "--bin", "dispatcher", cwd=ROOT)
    # With the dependencies that the library is locked to.
    shutil.copy(ROOT / "Cargo.lock", HERE / "ours/Cargo.lock")
    run("cargo", "build", "--release", cwd=HERE / "ours")
    run("go", "build", "-o", str(GO), ".", cwd=HERE / "go")
    run("mvn", "-q", "-B", f"-DbuildDirectory={JAVA}", "package", "dependency:copy-dependencies",
        f"-DoutputDirectory={JAVA}/lib", cwd=HERE / "java")
    if not LIBS.exists():
        run("mvn", "-q", "-B", "-f", "kafka/pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={LIBS}", cwd=HERE)
