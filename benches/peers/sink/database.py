"""The database that all programs write: what is asked of it, and what it costs."""

import os
import subprocess
from pathlib import Path

from machine import OTHER_CORE, cpu_seconds, pin

# Empty tables again, as after `watchbeat migrate`.
EMPTY = """do $$ declare name text; begin
    for name in select tablename from pg_tables where schemaname = 'watchbeat' and tablename not in ('migrations', 'videos')
    loop execute format('truncate watchbeat.%I', name); end loop; end $$"""
WRITTEN = """select coalesce(sum(n_tup_ins), 0), coalesce(sum(n_tup_upd), 0) from pg_stat_user_tables
    where schemaname = 'watchbeat' and relname <> 'progress'"""


class Database:
    """One session. It is asked with `psql`, which the tests need anyway."""

    END = "=end="

    def __init__(self, url: str):
        command = ["taskset", "--cpu-list", OTHER_CORE, "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]
        command += ["--set", "ON_ERROR_STOP=1", url]
        self.psql = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ask("set client_min_messages = warning")
        self.ask("create schema if not exists peers")  # what is known here beside the tables
        self.server = int(self.ask("select pg_read_file('postmaster.pid')")[0][0])

    def ask(self, statement: str) -> list[list[str]]:
        self.psql.stdin.write(f"{statement.rstrip().rstrip(';')};\n\\echo {self.END}\n")
        self.psql.stdin.flush()
        rows = []
        for line in self.psql.stdout:
            if line.strip() == self.END:
                return rows
            rows.append(line.rstrip("\n").split("|"))
        raise SystemExit(f"the database refuses: {statement}")

    def empty(self) -> None:
        """As before a run; nothing of the last one is left to be written."""
        self.ask(EMPTY)
        self.ask("checkpoint")
        os.sync()  # of Kafka's log, too: a commit would wait for it
        self.ask("select pg_stat_reset()")

    def written(self) -> tuple[int, int]:
        """Inserts and updates, as it counts them when a session has ended."""
        self.ask("select pg_stat_clear_snapshot(), pg_sleep(1)")
        inserts, updates = self.ask(WRITTEN)[0]
        return int(inserts), int(updates)

    def processes(self) -> list[int]:
        children = Path(f"/proc/{self.server}/task/{self.server}/children").read_text()
        return [self.server, *map(int, children.split())]

    def pin(self) -> None:
        for process in self.processes():
            pin(process)

    def cpu_seconds(self) -> float:
        """Of the server, of its processes that have ended, and of those that run."""
        return sum(cpu_seconds(process, with_ended_children=process == self.server) for process in self.processes())
