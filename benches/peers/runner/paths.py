"""Where things are."""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
OUT = Path(os.environ.get("BENCH_DIR", HERE / ".bench")).resolve()
TARGET = OUT / "target"
RUST = TARGET / "release/peers"
OURS = TARGET / "release/ours"
TOOL = TARGET / "release/dispatcher"
GO = OUT / "bin/peers-go"
JAVA = OUT / "java"
LIBS = Path(os.environ.setdefault("KAFKA_LIBS", str(OUT / "kafka-libs")))
# Which commit the above were built of.
BUILT = OUT / "built"
RESULTS = HERE.parent / "RESULTS.md"
