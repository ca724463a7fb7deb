"""What is measured of one program: its speed and cost on one core, its way back after `kill -9`, and whether the tables are right then.
It judges nothing: `run` prints what is found here."""

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from database import Database
from inputs import Partials, Rows
from machine import cpu_seconds, memory_mib
from peers import CORE, Job, Peer

KILL_SHARE = 0.4  # of the input can be seen in the tables, then
KILL_PAUSE_SECONDS = 1
STEADY_SHARE = 0.2  # from then on a run counts as steady
STEADY_STEPS = 20  # if it gets there in so many or more, and not in a few large transactions
LOOK_SECONDS = 0.1
STALLED_SECONDS = 30  # without progress: it will not come to an end


@dataclass
class Look:
    """How far it was at a moment, and what it had cost."""

    at: float
    share: float
    cpu_seconds: float
    database_cpu_seconds: float


class Run:
    """A program while it is measured."""

    def __init__(self, peer: Peer, job: Job, input: Rows | Partials, database: Database):
        self.peer, self.job, self.input, self.database = peer, job, input, database
        self.looks: list[Look] = []
        self.peak_mib = 0
        self.log = open(job.dir.with_suffix(".log"), "ab")
        database.empty()

    def start(self) -> None:
        command = ["taskset", "--cpu-list", CORE, *self.peer.command(self.job)]
        self.database_cpu_seconds = self.database.cpu_seconds()
        self.started = time.time()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=self.job.dir)

    def follow(self, share: float) -> None:
        """Looks until so much can be seen."""
        moved = time.time()
        while not self.looks or self.looks[-1].share < share:
            self.look()
            if len(self.looks) < 2 or self.looks[-1].share != self.looks[-2].share:
                moved = self.looks[-1].at
            if self.process.poll() is not None or time.time() - moved > STALLED_SECONDS:
                break
            time.sleep(LOOK_SECONDS)

    def look(self) -> None:
        share = self.input.share()
        self.peak_mib = max(self.peak_mib, memory_mib(self.process.pid))
        spent = self.database.cpu_seconds() - self.database_cpu_seconds
        self.looks.append(Look(time.time(), share, cpu_seconds(self.process.pid), spent))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def is_complete(self) -> bool:
        return self.looks[-1].share >= 1

    def end(self) -> None:
        """Ends it, and says what is known of a run that came to nothing."""
        self.kill()
        self.log.close()
        if not self.looks or not self.is_complete():
            end = Path(self.log.name).read_text(errors="replace")[-4000:]
            print(f"{self.job.name} is not complete; the end of its log:\n{end}", file=sys.stderr, flush=True)
        shutil.rmtree(self.job.dir)


def speed(run: Run) -> dict:
    """The whole input, undisturbed."""
    try:
        run.start()
        run.follow(1)
    finally:
        run.end()
    inserts, updates = run.database.written()
    rows = run.input.count or inserts + updates
    first = next((look for look in run.looks if look.share > 0), run.looks[-1])
    last = run.looks[-1]
    if not run.is_complete():
        return {"is_complete": False, "share": last.share}
    steady = next(look for look in run.looks if look.share >= STEADY_SHARE)
    is_steady = len({look.share for look in run.looks}) >= STEADY_STEPS
    steady_cpu_seconds, steady_rows = last.cpu_seconds - steady.cpu_seconds, rows * (last.share - steady.share)
    return {
        "is_complete": True,
        "rows": rows,
        "rows_per_second": rate(rows, first, last),
        "rows_per_second_steady": rate(rows, steady, last) if is_steady else None,
        "rows_per_second_whole_run": round(rows / (last.at - run.started)),
        "first_row_seconds": round(first.at - run.started, 1),
        "seconds": round(last.at - run.started, 1),
        "cpu_seconds": last.cpu_seconds,
        "us_per_row": round(last.cpu_seconds * 1e6 / rows, 2),
        "us_per_row_steady": round(steady_cpu_seconds * 1e6 / steady_rows, 2) if is_steady else None,
        "core_busy": round(last.cpu_seconds / (last.at - run.started), 2),
        "database_us_per_row": round(last.database_cpu_seconds * 1e6 / rows, 2),
        "database_core_busy": round(last.database_cpu_seconds / (last.at - run.started), 2),
        "peak_mib": run.peak_mib,
        "inserts": inserts,
        "updates": updates,
        "rows_in_tables": run.input.rows(),
        "rows_wrong": run.input.wrong(),
    }


def rate(rows: int, since: Look, until: Look) -> int | None:
    seconds = until.at - since.at
    return round(rows * (until.share - since.share) / seconds) if seconds else None


def kill(run: Run) -> dict:
    """`kill -9` in the middle, and its way back."""
    try:
        run.start()
        run.follow(KILL_SHARE)
        run.kill()
        run.look()  # the last transaction may have been committed meanwhile
        at_kill = run.looks[-1].share
        time.sleep(KILL_PAUSE_SECONDS)
        run.start()
        run.follow(1)
    finally:
        run.end()
    after = [look for look in run.looks if look.at > run.started and look.share > at_kill]
    return {
        "is_complete": run.is_complete(),
        "share_at_kill": round(at_kill, 2),
        "first_row_seconds": round(after[0].at - run.started, 1) if after else None,
        "seconds": round(run.looks[-1].at - run.started, 1),
        "share_gone_back": round(at_kill - min(look.share for look in run.looks if look.at > run.started), 3),
        "rows_in_tables": run.input.rows(),
        "rows_wrong": run.input.wrong(),
    }
