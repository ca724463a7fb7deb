"""The programs under comparison: how each is built and started. Nothing here measures."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable
from urllib.parse import urlsplit

from machine import free_port

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CACHE = Path(os.environ.get("WATCHBEAT_CACHE", Path.home() / ".cache/watchbeat")) / "peers/sink"
CORE = "1"  # of the program under test
HEAP = "3g"


@dataclass(frozen=True)
class Peer:
    """A program from a topic to a table."""

    name: str
    does: str
    command: Callable[["Job"], list[str]]
    reads: str = "rows"  # that are finished, or partials


@dataclass(frozen=True)
class Job:
    """One run of a peer, and its folder, which outlives a kill."""

    name: str
    brokers: str
    database_url: str
    topic: str  # of finished rows
    dir: Path


def connect(batch: int, url_options: str = "", **settings: str) -> Callable[[Job], list[str]]:
    """Kafka Connect with one worker and one connector. On one core the virtual machine takes its serial collector, which suits it best."""

    def command(job: Job) -> list[str]:
        database = urlsplit(job.database_url)
        worker = {
            "bootstrap.servers": job.brokers,
            "plugin.path": str(CACHE / "built/plugins"),
            "listeners": f"http://127.0.0.1:{free_port()}",
            "offset.storage.file.filename": str(job.dir / "offsets"),
        }
        sink = {
            "name": job.name,
            "topics": job.topic,
            "connection.url": f"jdbc:postgresql://{database.hostname}:{database.port}{database.path}{url_options}",
            "connection.username": database.username,
            "connection.password": "trusted",
            "batch.size": str(batch),
            "consumer.override.max.poll.records": str(batch),
            **settings,
        }
        files = [properties(job, "worker", worker), properties(job, "sink", sink)]
        flags = [f"-Xmx{HEAP}", "-XX:+UseSerialGC", f"-Dlog4j2.configurationFile={HERE}/connect/log4j2.properties"]
        return java("org.apache.kafka.connect.cli.ConnectStandalone", *flags) + files

    return command


def properties(job: Job, name: str, more: dict[str, str]) -> str:
    """A file of this folder with what depends on the run."""
    path = job.dir / f"{name}.properties"
    lines = [f"{key}={value}\n" for key, value in more.items()]
    path.write_text((HERE / f"connect/{name}.properties").read_text() + "".join(lines))
    return str(path)


def watchbeat(job: Job) -> list[str]:
    flags = {"--brokers": job.brokers, "--database-url": job.database_url, "--admin-listen": "127.0.0.1:0", "--log": "warn"}
    return [str(binary("watchbeat")), "sink", *(word for flag in flags.items() for word in flag)]


def java(main: str, *flags: str) -> list[str]:
    return ["java", *flags, "-cp", f"{CACHE}/built/sink-1.jar:{CACHE}/built/libs/*", main]


def binary(name: str) -> Path:
    """A release binary of this repository."""
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / name


def build() -> None:
    """Everything, into the cache; what is there and newer than its sources stays."""
    if "WATCHBEAT_AS_BUILT" not in os.environ:
        packages = ["--package", "watchbeat", "--package", "benches"]
        subprocess.run(["cargo", "build", "--release", "--locked", *packages], cwd=ROOT, check=True)
    built = CACHE / "built"
    sources = [HERE / "pom.xml", *HERE.glob("src/main/**/*.java")]
    if built.is_dir() and built.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix="built.", dir=CACHE))
    subprocess.run(["mvn", "-B", "-q", "-f", HERE / "pom.xml", "package", f"-Doutput={work}"], check=True)
    shutil.rmtree(built, ignore_errors=True)
    work.rename(built)
    built.touch()


UNNEST = {"dialect.postgres.unnest.insert.enabled": "true"}
REWRITTEN = "?reWriteBatchedInserts=true"
PEERS = [
    Peer("connect-unnest-2000", "Kafka Connect, a statement with arrays for 2,000 records", connect(2000, **UNNEST)),
    Peer("connect-unnest-500", "Kafka Connect, the same for 500, its default", connect(500, **UNNEST)),
    Peer("connect-batch-2000", "Kafka Connect, JDBC batches of 2,000 that the driver rewrites", connect(2000, REWRITTEN)),
    Peer("watchbeat", "watchbeat sink, nine tables", watchbeat, "partials"),
]
