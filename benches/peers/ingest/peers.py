"""The gateways under comparison: how each is had, started and spoken to. Nothing here measures."""

import json
import os
import shutil
import string
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
CACHE = Path(os.environ.get("WATCHBEAT_CACHE", Path.home() / ".cache/watchbeat")) / "peers"
CORE = "1"  # of the gateway under test; Kafka and the load have core 0

TELEGRAF = "1.37.2"
OTELCOL = "0.155.0"
FLUME = "1.11.0"


@dataclass(frozen=True)
class Peer:
    """A gateway from HTTP to Kafka."""

    name: str
    version: str
    path: str  # where it takes reports
    shape: str  # of its bodies; load.lua knows the same ones
    fetch: Callable[[], None]  # puts it into the cache, once
    command: Callable[[Path, int, str, str], list[str]]  # of a scratch folder, port, brokers, topic

    @property
    def topic(self) -> str:
        return f"{self.name}_heartbeats"

    def body(self, report: str) -> str:
        if self.shape == "otlp":
            records = [{"body": {"stringValue": report}}]
            return json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": records}]}]})
        if self.shape == "flume":
            return json.dumps([{"headers": {}, "body": report}])
        return report

    def start(self, scratch: Path, port: int, brokers: str) -> subprocess.Popen:
        """Starts it on its core; it serves some time later."""
        command = self.command(scratch, port, brokers, self.topic)
        with open(scratch / f"{self.name}.log", "ab") as log:
            return subprocess.Popen(
                ["taskset", "--cpu-list", CORE, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=scratch
            )


def watchbeat() -> Path:
    """The release binary of this repository."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release/watchbeat"


def build_watchbeat() -> None:
    if "WATCHBEAT_AS_BUILT" not in os.environ:
        subprocess.run(["cargo", "build", "--release", "--locked", "--package", "watchbeat"], cwd=ROOT, check=True)


def watchbeat_command(scratch: Path, port: int, brokers: str, topic: str) -> list[str]:
    flags = {
        "--brokers": brokers,
        "--topic-prefix": topic.removesuffix("heartbeats"),
        "--listen": f"127.0.0.1:{port}",
        "--admin-listen": "127.0.0.1:0",
        "--log": "warn",
    }
    return [str(watchbeat()), "ingest", *(word for flag in flags.items() for word in flag)]


def fetch_telegraf() -> None:
    """Builds it with the plugins that are needed, as its documentation says."""
    tags = "custom,inputs.http_listener_v2,outputs.kafka,parsers.value,serializers.template"
    package = f"github.com/influxdata/telegraf/cmd/telegraf@v{TELEGRAF}"
    build_go(CACHE / f"telegraf-{TELEGRAF}", ["-tags", tags, package])


def telegraf_command(scratch: Path, port: int, brokers: str, topic: str) -> list[str]:
    configuration = filled("telegraf/telegraf.conf", scratch, port=port, brokers=brokers, topic=topic)
    return [str(CACHE / f"telegraf-{TELEGRAF}/telegraf"), "--config", configuration]


def fetch_otelcol() -> None:
    """Builds it with the project's own builder."""
    target = CACHE / f"otelcol-{OTELCOL}"
    if target.is_dir():
        return
    builder = CACHE / f"otelcol-builder-{OTELCOL}"
    build_go(builder, [f"go.opentelemetry.io/collector/cmd/builder@v{OTELCOL}"])
    work = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=CACHE))
    manifest = filled("otelcol/builder.yaml", work, output=work / "built", version=OTELCOL)
    subprocess.run([builder / "builder", "--config", manifest], cwd=work, check=True)
    (work / "built").rename(target)
    shutil.rmtree(work)


def otelcol_command(scratch: Path, port: int, brokers: str, topic: str) -> list[str]:
    configuration = filled("otelcol/config.yaml", scratch, port=port, brokers=brokers, topic=topic)
    return [str(CACHE / f"otelcol-{OTELCOL}/otelcol"), "--config", configuration]


def fetch_flume() -> None:
    target = CACHE / f"flume-{FLUME}"
    if target.is_dir():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=CACHE))
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={work}"]
    subprocess.run(["mvn", "-B", "-q", "-f", HERE / "flume/pom.xml", *copy], check=True)
    work.rename(target)


def flume_command(scratch: Path, port: int, brokers: str, topic: str) -> list[str]:
    configuration = filled("flume/flume.conf", scratch, port=port, brokers=brokers, topic=topic)
    virtual_machine = ["java", "-Xmx1g", "-Dlog4j2.level=ERROR", "-cp", f"{CACHE}/flume-{FLUME}/*"]
    return [*virtual_machine, "org.apache.flume.node.Application", "-n", "a", "-f", configuration, "--no-reload-conf"]


def build_go(target: Path, arguments: list[str]) -> None:
    """Installs a Go program into a folder of its own, once."""
    if target.is_dir():
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=CACHE))
    subprocess.run(["go", "install", *arguments], env=os.environ | {"GOBIN": str(work)}, check=True)
    work.rename(target)


def filled(name: str, scratch: Path, **values: object) -> str:
    """A configuration file of this folder with its `$name`s filled in; gives the path."""
    path = scratch / Path(name).name
    path.write_text(string.Template((HERE / name).read_text()).substitute(values))
    return str(path)


PEERS = [
    Peer("watchbeat", "this", "/v1/heartbeats", "plain", build_watchbeat, watchbeat_command),
    Peer("otelcol", OTELCOL, "/v1/logs", "otlp", fetch_otelcol, otelcol_command),
    Peer("flume", FLUME, "/", "flume", fetch_flume, flume_command),
    Peer("telegraf", TELEGRAF, "/report", "plain", fetch_telegraf, telegraf_command),
]
