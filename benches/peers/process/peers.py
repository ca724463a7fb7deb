"""The programs under comparison: how each is built and started. Nothing here measures."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from machine import number

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CACHE = Path(os.environ.get("WATCHBEAT_CACHE", Path.home() / ".cache/watchbeat")) / "peers/process"
CORE = "1"  # of the program under test; Kafka, the input and the judge have core 0
HEAP = "3g"
PARTITIONS = number("PARTITIONS", 4)  # of the input; the Java programs read it, too


@dataclass(frozen=True)
class Peer:
    """A program from the topic of heartbeats to tables."""

    name: str
    does: str
    command: Callable[["Job"], list[str]]
    output: str = "rows"  # or partials
    counts: str = "every"  # copy of a report, or once
    settle_seconds: int = 15  # above the interval between two commits: when nothing has come for so long, it is all there


@dataclass(frozen=True)
class Job:
    """One run of a peer: where it reads, where it writes, and its folder, which outlives a kill."""

    name: str
    brokers: str
    input_prefix: str  # its topic is that and `heartbeats`
    dir: Path

    @property
    def input(self) -> str:
        return f"{self.input_prefix}heartbeats"

    @property
    def prefix(self) -> str:
        """Of the topics it writes."""
        return f"{self.name}-"


def java(project: str, main: str, *flags: str) -> list[str]:
    """A program of this folder. On one core the virtual machine takes its serial collector, which suits it best."""
    path = f"{CACHE}/built/{project}/{project}-1.jar:{CACHE}/built/{project}/libs/*"
    log = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ["java", f"-Xmx{HEAP}", "-XX:+UseSerialGC", log, *flags, "-cp", path, f"watchbeat.peers.{main}"]


def streams(guarantee: str, kind: str) -> Callable[[Job], list[str]]:
    return lambda job: [*java("streams", "Sessions"), job.brokers, job.input, job.prefix, guarantee, kind, str(job.dir)]


# What Flink's own scripts give the virtual machine since Java 17.
FLINK_OPENS = [
    f"--add-{kind}={package}=ALL-UNNAMED"
    for kind, packages in {
        "exports": "java.rmi/sun.rmi.registry java.security.jgss/sun.security.krb5",
        "opens": "java.base/java.lang java.base/java.net java.base/java.io java.base/java.nio java.base/sun.nio.ch "
        "java.base/java.lang.reflect java.base/java.text java.base/java.time java.base/java.util "
        "java.base/java.util.concurrent java.base/java.util.concurrent.atomic java.base/java.util.concurrent.locks",
    }.items()
    for package in packages.split()
]


def flink(backend: str, kind: str) -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        settings = [f"state.backend.type={backend}", f"execution.checkpointing.dir=file://{job.dir}/checkpoints"]
        settings += [f"io.tmp.dirs={job.dir}"]
        complete = sorted(job.dir.glob("checkpoints/*/chk-*/_metadata"), key=lambda path: path.stat().st_mtime)
        if complete:  # after a kill it goes on from its last checkpoint
            settings += [f"execution.state-recovery.path=file://{complete[-1].parent}"]
        return [*java("flink", "Job", *FLINK_OPENS), job.brokers, job.input, job.prefix, kind, str(HERE / "flink"), *settings]

    return command


# What `watchbeat process` does beyond the job.
OTHER_VIEWS = ["watch_segments", "resume_positions", "title_hours", "video_retention", "ad_hours", "ad_reach"]


def watchbeat(*left_out: str) -> Callable[[Job], list[str]]:
    def command(job: Job) -> list[str]:
        flags = [
            ("--brokers", job.brokers),
            ("--topic-prefix", job.input_prefix),
            ("--pipeline", job.name),
            ("--snapshots", str(job.dir)),
            ("--admin-listen", "127.0.0.1:0"),
            ("--log", "warn"),
            *(("--without-view", view) for view in left_out),
        ]
        return [str(binary()), "process", *(word for flag in flags for word in flag)]

    return command


def binary() -> Path:
    """The release binary of this repository."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/watchbeat"


def build() -> None:
    """Everything, into the cache; what is there and newer than its sources stays."""
    if "WATCHBEAT_AS_BUILT" not in os.environ:
        subprocess.run(["cargo", "build", "--release", "--locked", "--package", "watchbeat"], cwd=ROOT, check=True)
    built = CACHE / "built"
    patterns = ["pom.xml", "*/pom.xml", "*/src/main/**/*.java", "*/src/main/**/*.proto"]
    sources = [path for pattern in patterns for path in HERE.glob(pattern)]
    sources += [ROOT / "playback/heartbeats.proto", ROOT / "sql/partial.proto"]
    if built.is_dir() and built.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="built.", dir=CACHE))
    goal = ["package", f"-Doutput={work}", f"-Drepository={ROOT}"]
    subprocess.run(["mvn", "-B", "-q", "-f", HERE / "pom.xml", *goal], check=True)
    shutil.rmtree(built, ignore_errors=True)
    work.rename(built)
    built.touch()


EOS, ALO = "exactly_once_v2", "at_least_once"
PEERS = [
    Peer("streams-eos", "Kafka Streams, exactly once", streams(EOS, "plain")),
    Peer("streams-alo", "Kafka Streams, at least once", streams(ALO, "plain")),
    Peer("streams-eos-dedup", "Kafka Streams, exactly once, first copies only", streams(EOS, "dedup"), counts="once"),
    Peer("flink-heap", "Flink SQL, state on the heap", flink("hashmap", "plain")),
    Peer("flink-rocksdb", "Flink SQL, state in RocksDB", flink("rocksdb", "plain")),
    Peer("flink-heap-dedup", "Flink SQL, state on the heap, first copies only", flink("hashmap", "dedup"), counts="once"),
    Peer("watchbeat", "watchbeat process, nine views", watchbeat(), "partials", "once", settle_seconds=5),
    Peer("watchbeat-job", "the job's two views and the ledger", watchbeat(*OTHER_VIEWS), "partials", "once", settle_seconds=5),
]
