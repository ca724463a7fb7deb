"""What is measured of one gateway: its speed and cost under load, its answers while Kafka is away, and what is left of the
acknowledged reports after `kill -9`. It judges nothing: `run` prints what is found here."""

import http.client
import json
import os
import re
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

from machine import free_port, number, pin_kafka
from peers import ROOT, Peer, watchbeat

SECONDS = number("SECONDS", 10)
WARM_SECONDS = number("WARM_SECONDS", 5)
CONNECTIONS = [64, 256]
START_SECONDS = 60  # a JVM on one busy core takes ten
OUTAGE_SECONDS = 20  # a player that has waited this long has given up
OUTAGE_REPORTS = 16
LOST_SECONDS = 30  # what is not in the topic by then is lost
UNCHANGED_SECONDS = 5  # many times the slowest gateway's interval between two writes
PARTITIONS = 4
KILL_CLIENTS = 32
KILL_SECONDS = 3
ID = re.compile(rb"0190a2b4-77c3-7d11-9e2f-(\d{12})")
READINESS_ID = 0  # of the reports that ask whether a gateway serves yet; they count nowhere


class Gateway:
    """A gateway while it is measured: its process, its port, and the reports it has been sent."""

    def __init__(self, peer: Peer, scratch: Path, brokers: str, kafka_dir: str):
        self.peer, self.scratch, self.brokers, self.kafka_dir = peer, scratch, brokers, kafka_dir
        self.port = free_port()
        self.next_id = 1
        self.process: subprocess.Popen | None = None

    def create_topic(self) -> None:
        """Its topic is one of a pipeline's, with a prefix."""
        flags = ["--topic-prefix", self.peer.topic.removesuffix("heartbeats"), "--partitions", str(PARTITIONS), "--replication", "1"]
        database = ["--brokers", self.brokers, "--database-url", os.environ["WATCHBEAT_TEST_DATABASE_URL"]]
        subprocess.run([watchbeat(), "migrate", *flags, *database, "--log", "warn"], check=True)

    def start(self) -> None:
        self.process = self.peer.start(self.scratch, self.port, self.brokers)
        self.wait_until_it_serves()

    def wait_until_it_serves(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not self.accepts(READINESS_ID):
            if self.process.poll() is not None or time.monotonic() > deadline:
                log = (self.scratch / f"{self.peer.name}.log").read_text(errors="replace")
                raise RuntimeError(f"{self.peer.name} does not serve; the end of its log:\n{log[-2000:]}")
            time.sleep(0.2)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def send(self, ident: int, connection: http.client.HTTPConnection) -> int:
        """Sends one report; gives the status of the answer."""
        report = (
            f'{{"session_id":"0190a2b4-77c3-7d11-9e2f-{ident:012}","seq":0,"user_id":"user-{ident % 100000:08}",'
            f'"video_id":"title-00042","event_time":{now_ms()},"from_ms":0,"position_ms":5000,"played_ms":5000,'
            '"territory":"DE","device":"tv"}'
        )
        connection.request("POST", self.peer.path, self.peer.body(report), {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        return response.status

    def accepts(self, ident: int) -> bool:
        """Sends one report over a connection of its own; says whether it was acknowledged."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=OUTAGE_SECONDS)
        try:
            return self.send(ident, connection) // 100 == 2
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def take_ids(self, count: int) -> range:
        self.next_id += count
        return range(self.next_id - count, self.next_id)

    def load(self, connections: int, seconds: int) -> dict:
        """As many reports as it answers, each connection one after another."""
        first = self.take_ids(10**9).start
        arguments = ["-t", "1", "-c", str(connections), "-d", f"{seconds}s", "--timeout", "30s"]
        url = f"http://127.0.0.1:{self.port}{self.peer.path}"
        script = ["-s", str(Path(__file__).with_name("load.lua")), url, "--", self.peer.shape, str(first), str(now_ms())]
        output = subprocess.run(
            ["taskset", "--cpu-list", "0", "wrk", *arguments, *script], check=True, capture_output=True, text=True
        ).stdout
        return json.loads(output.splitlines()[-1])

    def cpu_seconds(self) -> float:
        """What its threads have run so far, to the nanosecond."""
        spent = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                spent += int((task / "schedstat").read_text().split()[0])
            except FileNotFoundError:  # it has just ended
                pass
        return spent / 1e9

    def memory_mib(self, field: str) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+) kB", status)[1]) // 1024

    def appended(self, expected: set[int], since_ms: int) -> Counter:
        """How often each report is in the topic since a time, once all that are expected are there or enough was waited."""
        deadline = time.monotonic() + LOST_SECONDS
        since = ["-o", f"s@{since_ms}"]
        while True:
            command = ["kcat", "-C", "-q", "-e", *since, "-b", self.brokers, "-t", self.peer.topic]
            records = subprocess.run(command, check=True, capture_output=True).stdout
            times = Counter(int(ident) for ident in ID.findall(records))
            if expected <= times.keys() or time.monotonic() > deadline:
                return times
            time.sleep(1)

    def wait_for(self, records: int) -> int:
        """Waits until the topic has so many records, or gets none any more; gives how many it has."""
        seen, unchanged_since = -1, time.monotonic()
        while (now := self.records()) < records:
            if now != seen:
                seen, unchanged_since = now, time.monotonic()
            elif time.monotonic() > unchanged_since + UNCHANGED_SECONDS:
                break
            time.sleep(0.5)
        return now

    def records(self) -> int:
        """How many records the topic has; asked again while Kafka is still finding its feet."""
        deadline = time.monotonic() + START_SECONDS
        ends = [word for partition in range(PARTITIONS) for word in ("-t", f"{self.peer.topic}:{partition}:-1")]
        while True:
            answer = subprocess.run(["kcat", "-Q", "-b", self.brokers, *ends], capture_output=True, text=True)
            if answer.returncode == 0:
                return sum(int(offset) for offset in re.findall(r"offset (\d+)", answer.stdout))
            if time.monotonic() > deadline:
                raise RuntimeError(f"kcat cannot ask for the end of {self.peer.topic}: {answer.stderr}")
            time.sleep(0.5)


def speed(gateway: Gateway) -> dict:
    """Requests per second and their cost, at each number of connections."""
    figures = {}
    for connections in CONNECTIONS:
        records_before = gateway.records()
        warm = gateway.load(connections, WARM_SECONDS)
        before = gateway.cpu_seconds()
        load = gateway.load(connections, SECONDS)
        cpu = gateway.cpu_seconds() - before
        accepted = load["answers"] - load["refused"]
        figures[f"connections_{connections}"] = {
            "requests_per_second": round(accepted / load["seconds"]),
            "cpu_us_per_request": round(cpu * 1e6 / max(accepted, 1), 2),
            "core_busy": round(cpu / load["seconds"], 2),
            "p50_ms": load["p50_ms"],
            "p99_ms": load["p99_ms"],
            "refused": load["refused"],
            "broken": load["broken"],
            "resident_mib": gateway.memory_mib("VmRSS"),
        }
        # What was acknowledged under load must be in the topic; unanswered requests of the end may be there as well.
        acknowledged = accepted + warm["answers"] - warm["refused"]
        there = gateway.wait_for(records_before + acknowledged) - records_before
        figures[f"connections_{connections}"]["missing_after_load"] = max(acknowledged - there, 0)
    return figures


def kill(gateway: Gateway) -> dict:
    """Kills the gateway under load and starts it again; clients send again what got no answer, as players do."""
    acknowledged, unanswered = set(), set()
    since_ms = now_ms()
    stop = threading.Event()
    guard = threading.Lock()

    def play(idents: range) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=OUTAGE_SECONDS)
        for ident in idents:
            if stop.is_set():
                break
            try:
                taken = gateway.send(ident, connection) // 100 == 2
            except (OSError, http.client.HTTPException):
                taken = False
                connection.close()
            with guard:
                (acknowledged if taken else unanswered).add(ident)
            if not taken:
                break  # the gateway is gone
        connection.close()

    clients = [threading.Thread(target=play, args=(gateway.take_ids(100_000),)) for _ in range(KILL_CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(KILL_SECONDS)  # the length of the load, not a wait for something
    gateway.kill()
    stop.set()
    for client in clients:
        client.join()
    before = len(acknowledged)
    gateway.start()
    acknowledged |= {ident for ident in unanswered if gateway.accepts(ident)}
    times = gateway.appended(acknowledged, since_ms)
    return {
        "acknowledged_before": before,
        "sent_again": len(unanswered),
        "lost": sum(times[ident] == 0 for ident in acknowledged),
        "twice": sum(times[ident] > 1 for ident in acknowledged),
    }


def outage(gateway: Gateway) -> dict:
    """What it answers while Kafka is gone, and whether it serves again by itself."""
    scripts = ROOT / "scripts"
    answers: dict[int, tuple[str, float]] = {}

    def report(ident: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=OUTAGE_SECONDS)
        begun = time.monotonic()
        try:
            answer = str(gateway.send(ident, connection))
        except TimeoutError:
            answer = "none"
        except (OSError, http.client.HTTPException):
            answer = "closed"
        connection.close()
        answers[ident] = (answer, time.monotonic() - begun)

    since_ms = now_ms()
    subprocess.run([scripts / "kafka-stop", gateway.kafka_dir, "--kill"], check=True)
    clients = [threading.Thread(target=report, args=(ident,)) for ident in gateway.take_ids(OUTAGE_REPORTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    start_kafka(gateway.kafka_dir)
    back = time.monotonic()
    gateway.wait_until_it_serves()
    served_again = time.monotonic() - back
    acknowledged = {ident for ident, (answer, _) in answers.items() if answer.startswith("2")}
    gateway.records()  # Kafka answers again
    times = gateway.appended(acknowledged, since_ms)
    return {
        "answers": dict(Counter(answer for answer, _ in answers.values())),
        "answered_after_seconds": round(max(seconds for _, seconds in answers.values()), 2),
        "lost": sum(times[ident] == 0 for ident in acknowledged),
        "serves_again_after_seconds": round(served_again, 2),
    }


def start_kafka(kafka_dir: str) -> None:
    """Starts Kafka again where it was, on its core."""
    output = Path(kafka_dir).with_suffix(".out")  # not a pipe: the broker would hold it open
    with open(output, "w") as out:
        subprocess.run([ROOT / "scripts/kafka-start", kafka_dir], check=True, stdout=out)
    pin_kafka(kafka_dir)


def now_ms() -> int:
    return time.time_ns() // 1_000_000
