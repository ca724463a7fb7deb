"""The two inputs: finished rows for those who can only put a row in the place of another, partials for Watchbeat. What each is, how far
it has come into the tables, and whether they are right."""

import subprocess

from database import Database
from machine import number
from peers import HERE, binary, java

PARTITIONS = number("PARTITIONS", 64)  # the benchmark reads it, too
SESSIONS = number("SESSIONS", 400_000)
VERSIONS = number("VERSIONS", 3)  # of each row: how often it changed
HEARTBEATS = number("HEARTBEATS", 24_000_000)
VIEWERS = number("VIEWERS", 100_000)
SAMPLE_STEP = 293  # has no factor in common with a usual number of partitions, so that each has rows in the sample
KEY = "site, user_id, session_id, video_id"


class Rows:
    """`watch_sessions` as a stream job publishes it: each row by its key, again whenever it changed. Says `rows.sql`."""

    topic = "finished_rows"
    count = SESSIONS * VERSIONS

    def __init__(self, database: Database):
        self.database = database

    def write(self, brokers: str, url: str) -> None:
        self.database.ask((HERE / "rows.sql").read_text())
        # The rows to look at while a program writes: some of all, and the last ones of each partition.
        number = "right(user_id, 8)::bigint"
        chosen = f"{number} >= {SESSIONS - PARTITIONS} or {number} % {SAMPLE_STEP} = 0"
        sample = f"select {KEY}, heartbeats as due from peers.rows({SESSIONS}, {VERSIONS}) where {chosen}"
        self.database.ask(f"create table peers.sample as {sample}")
        self.database.ask("analyze peers.sample")
        writer = subprocess.Popen([*java("watchbeat.peers.Lines"), brokers, self.topic, str(PARTITIONS)], stdin=subprocess.PIPE)
        for version in range(1, VERSIONS + 1):
            lines = f"copy (select * from peers.records({SESSIONS}, {version}, {PARTITIONS})) to stdout"
            subprocess.run(["psql", "--no-psqlrc", "--quiet", "--command", lines, url], stdout=writer.stdin, check=True)
        writer.stdin.close()
        if writer.wait():
            raise SystemExit("the input could not be written")

    def share(self) -> float:
        """Of the records whose rows, or later ones, can be seen. A partition is taken in its order, so its last row tells of all."""
        table = f"peers.sample left join watchbeat.watch_sessions as t using ({KEY})"
        done, due = self.database.ask(f"select coalesce(sum(heartbeats), 0), sum(due) from {table}")[0]
        return int(done) / int(due)

    def wrong(self) -> int:
        """Rows that are not as their last record says, or not there, or should not be."""
        truth, table = f"select * from peers.rows({SESSIONS}, {VERSIONS})", "select * from watchbeat.watch_sessions"
        return int(self.database.ask(f"select count(distinct ({KEY})) from {differences(truth, table)}")[0][0])

    def rows(self) -> int:
        return int(self.database.ask("select count(*) from watchbeat.watch_sessions")[0][0])

    def keep(self) -> None:
        """What is right is known."""


class Partials:
    """The partial sums that the processor makes of a backlog of heartbeats, all nine views: the input of `cargo bench-sink`."""

    count = None  # rows: as many as are written

    def __init__(self, database: Database):
        self.database = database
        self.tables: list[str] = []

    def write(self, brokers: str, url: str) -> None:
        subprocess.run([binary("bench"), "process"], check=True, stdout=subprocess.DEVNULL)

    def share(self) -> float:
        """Of the heartbeats whose rows can be seen: the sink says so in the same transaction."""
        done = "select coalesce(sum(next_offset - ticks), 0)::bigint from watchbeat.progress"
        return int(self.database.ask(done)[0][0]) / HEARTBEATS

    def wrong(self) -> int:
        """Viewers who do not have in their sessions what they sent; and, with the tables of another run kept, each row that only one has."""
        sent = f"(({HEARTBEATS} - viewer + {VIEWERS} - 1) / {VIEWERS})::numeric"
        user = "'user-' || lpad(viewer::text, 8, '0') as user_id"
        truth = f"select {user}, {sent}, {sent} * 5000 from generate_series(0, {VIEWERS} - 1) as viewer"
        table = "select user_id, sum(heartbeats), sum(gross_ms) from watchbeat.watch_sessions group by user_id"
        wrong = int(self.database.ask(f"select count(distinct user_id) from {differences(truth, table)}")[0][0])
        for table in self.tables:
            kept, new = f"select * from peers.{table}", f"select * from watchbeat.{table}"
            wrong += int(self.database.ask(f"select count(*) from {differences(kept, new)}")[0][0])
        return wrong

    def rows(self) -> int:
        return sum(int(self.database.ask(f"select count(*) from watchbeat.{table}")[0][0]) for table in self.names())

    def keep(self) -> None:
        """Keeps the tables of a run that nothing disturbed: those of a disturbed one must be the same."""
        for table in self.names():
            self.database.ask(f"drop table if exists peers.{table}")
            self.database.ask(f"create table peers.{table} as table watchbeat.{table}")
        self.tables = self.names()

    def names(self) -> list[str]:
        tables = "select tablename from pg_tables where schemaname = 'watchbeat' and tablename not in"
        return [name for [name] in self.database.ask(f"{tables} ('progress', 'migrations', 'migration_lock', 'videos')")]


def differences(one: str, other: str) -> str:
    return f"(({one} except {other}) union all ({other} except {one})) as different"
