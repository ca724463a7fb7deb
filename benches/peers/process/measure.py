"""What is measured of one program: its speed and cost on one core, its way back after `kill -9`, and its rows against what the input
really says. It judges nothing: `run` prints what is found here."""

import bisect
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from machine import cpu_seconds, memory_mib, number
from peers import CORE, PARTITIONS, Job, Peer, binary, java

HEARTBEATS = number("HEARTBEATS", 4_000_000)
SHORT_HEARTBEATS = HEARTBEATS // 4  # what is beyond a run of so many counts as steady
KILL_HEARTBEATS = number("KILL_HEARTBEATS", HEARTBEATS // 2)
VIEWERS = number("VIEWERS", 100_000)
SEED = number("SEED", 1)
BEAT_SECONDS = 5
KILL_SHARE = 0.3  # of the results are out, then
KILL_AFTER_SECONDS = 1  # it is killed, in the middle of the next piece of work
KILL_PAUSE_SECONDS = 1  # so that nothing from before it can be taken for the first result after it
LOOK_SECONDS = 0.1


@dataclass
class Sample:
    """How far it was at a moment: when the rows were appended, whenever the judge came to read them."""

    at: float
    done: int


class Run:
    """A program while it is measured, and beside it the judge (`Watch`), who knows the input."""

    def __init__(self, peer: Peer, job: Job):
        self.peer, self.job = peer, job
        self.samples: list[Sample] = []
        self.judged: dict = {}
        self.costs: list[tuple[float, float]] = []  # CPU seconds by time
        self.peak_mib = 0
        self.changed = threading.Condition()
        self.log = open(job.dir.with_suffix(".log"), "ab")
        command = [*java("input", "Watch"), job.brokers, job.input, peer.output]
        prefix = job.input_prefix if peer.output == "partials" else job.prefix
        command += [prefix, peer.counts, str(peer.settle_seconds), job.name]
        self.judge = subprocess.Popen(
            ["taskset", "--cpu-list", "0", *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.process: subprocess.Popen | None = None
        self.input = json.loads(self.judge.stdout.readline())  # when it knows what the input says
        self.expected = 0

    def start(self) -> None:
        command = ["taskset", "--cpu-list", CORE, *self.peer.command(self.job)]
        self.started = time.time()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=self.job.dir)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()

    def follow(self) -> None:
        """Looks at what it costs, and at what the judge says, until that has judged."""
        judged = threading.Event()
        looking = threading.Thread(target=self.look, args=(judged,))
        looking.start()
        try:
            self.listen()
        finally:
            judged.set()
            looking.join()

    def look(self, judged: threading.Event) -> None:
        while not judged.wait(LOOK_SECONDS):
            cpu_seconds = self.cpu_seconds()
            self.costs.append((time.time(), cpu_seconds))
            self.peak_mib = max(self.peak_mib, memory_mib(self.process.pid) if self.process else 0)

    def cpu_seconds_at(self, at: float) -> float:
        """At the first look from then on."""
        return self.costs[min(bisect.bisect_left(self.costs, (at, 0.0)), len(self.costs) - 1)][1]

    def listen(self) -> None:
        for line in self.judge.stdout:
            found = json.loads(line)
            with self.changed:
                if "judged" in found:
                    self.judged = found["judged"]
                else:
                    self.samples.append(Sample(found["at_ms"] / 1000, found["done"]))
                    self.expected = found["expected"]
                self.changed.notify_all()
        self.judge.wait()

    def end(self) -> None:
        """Ends both, and says what is known of a run that came to nothing."""
        self.kill()
        self.judge.kill()
        self.judge.wait()
        self.log.close()
        if not self.samples or self.samples[-1].done < self.expected:
            end = Path(self.log.name).read_text(errors="replace")[-2000:]
            print(f"{self.job.name} is not complete; the end of its log:\n{end}", file=sys.stderr, flush=True)
        shutil.rmtree(self.job.dir)

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid) if self.process else 0.0


def write_input(brokers: str, prefix: str, heartbeats: int) -> None:
    """Makes the topic of heartbeats, and fills it; one that is filled stays as it is."""
    make_topics(brokers, prefix, "main")
    marker = Path(os.environ["WATCHBEAT_TEST_KAFKA_DIR"]) / f"{prefix}input"
    wanted = f"{heartbeats} {VIEWERS} {SEED}"
    if marker.exists() and marker.read_text() == wanted:
        return
    beats = heartbeats // VIEWERS + 1
    start_ms = (int(time.time()) // 60 * 60 - (beats + 12) * BEAT_SECONDS) * 1000
    arguments = [brokers, f"{prefix}heartbeats", str(heartbeats), str(VIEWERS), str(SEED), str(start_ms)]
    subprocess.run([*java("input", "Input"), *arguments], check=True)
    marker.write_text(wanted)


def make_topics(brokers: str, prefix: str, pipeline: str) -> None:
    """Makes the topics of a pipeline of Watchbeat that are not there."""
    flags = ["--topic-prefix", prefix, "--pipeline", pipeline, "--partitions", str(PARTITIONS), "--replication", "1", "--log", "warn"]
    where = ["--brokers", brokers, "--database-url", os.environ["WATCHBEAT_TEST_DATABASE_URL"]]
    subprocess.run([binary(), "migrate", *flags, *where], check=True)


def speed(peer: Peer, brokers: str, prefix: str, scratch: Path) -> dict:
    """One run over the whole topic."""
    run = begin(peer, brokers, prefix, scratch, "speed")
    try:
        run.start()
        run.follow()
    finally:
        run.end()
    if not any(sample.done for sample in run.samples):
        return {"is_complete": False, "judged": run.judged}
    last = run.samples[-1]
    cpu_seconds = run.cpu_seconds_at(last.at)
    records = run.input["records"]
    seconds = last.at - run.started
    return {
        "heartbeats": records,
        "first_result_seconds": round(next(sample.at for sample in run.samples if sample.done) - run.started, 1),
        "seconds": round(seconds, 1),
        "heartbeats_per_second": round(records / seconds),
        "cpu_seconds": cpu_seconds,
        "cpu_seconds_per_million": round(cpu_seconds / records * 1e6, 2),
        "core_busy": round(cpu_seconds / seconds, 2),
        "peak_mib": run.peak_mib,
        "is_complete": last.done >= run.expected,
        "judged": run.judged,
    }


def steady(short: dict, whole: dict) -> dict:
    """What the heartbeats beyond those of a short run took: in the difference of two runs there is no start of a virtual machine, little
    compilation of its code, and no waiting for its first results. None of it where a run is not complete, or too short to differ."""
    unknown = {"steady_cpu_seconds_per_million": None, "steady_heartbeats_per_second": None}
    if not (short["is_complete"] and whole["is_complete"]):
        return unknown
    heartbeats = whole["heartbeats"] - short["heartbeats"]
    cpu_seconds, seconds = whole["cpu_seconds"] - short["cpu_seconds"], whole["seconds"] - short["seconds"]
    if cpu_seconds <= 0 or seconds <= 0:
        print(f"run: {heartbeats} heartbeats more took no time that can be measured: raise HEARTBEATS", file=sys.stderr, flush=True)
        return unknown
    return {
        "steady_cpu_seconds_per_million": round(cpu_seconds / heartbeats * 1e6, 2),
        "steady_heartbeats_per_second": round(heartbeats / seconds),
    }


def kill(peer: Peer, brokers: str, prefix: str, scratch: Path) -> dict:
    """`kill -9` in the middle, and its way back."""
    run = begin(peer, brokers, prefix, scratch, "kill")
    try:
        run.start()
        following = threading.Thread(target=run.follow)
        following.start()
        with run.changed:
            run.changed.wait_for(lambda: run.judged or run.samples and run.samples[-1].done >= KILL_SHARE * run.expected)
        time.sleep(KILL_AFTER_SECONDS)  # the moment of the kill, not a wait for something
        run.kill()
        time.sleep(KILL_PAUSE_SECONDS)
        at_kill = run.samples[-1].done
        run.start()
        restarted = run.started
        following.join()
    finally:
        run.end()
    after = [sample for sample in run.samples if sample.at >= restarted]
    return {
        "done_at_kill": round(at_kill / run.expected, 2),
        "first_result_seconds": round(after[0].at - restarted, 1) if after else None,
        "seconds": round(after[-1].at - restarted, 1) if after else None,
        "is_complete": run.samples[-1].done >= run.expected,
        "judged": run.judged,
    }


def begin(peer: Peer, brokers: str, prefix: str, scratch: Path, what: str) -> Run:
    name = f"{peer.name}-{what}-{time.time_ns() // 1_000_000}"
    directory = scratch / name
    directory.mkdir()
    if peer.output == "partials":
        make_topics(brokers, prefix, name)
    return Run(peer, Job(name, brokers, prefix, directory))
