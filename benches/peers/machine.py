"""What all comparisons ask of the machine, and of whoever starts them."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

OTHER_CORE = "0"  # of Kafka and the database; the program under test has core 1
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def number(name: str, usual: int) -> int:
    """A setting out of the environment. It is there afterwards, for the programs that read it themselves."""
    text = os.environ.setdefault(name, str(usual))
    if not re.fullmatch("[0-9]+", text):
        sys.exit(f"run: {name} is a whole number, as {usual}, not {text!r}")
    return int(text)


def pin(process: int) -> None:
    """Keeps a server off the core under test, and whatever it starts from now on."""
    command = ["taskset", "--all-tasks", "--cpu-list", "--pid", OTHER_CORE, str(process)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def pin_kafka(kafka_dir: str) -> None:
    pin(int(Path(kafka_dir, "kafka.pid").read_text()))


def cpu_seconds(process: int, with_ended_children: bool = False) -> float:
    """utime + stime of all its threads so far, also of those that have ended; nothing of a process that is gone."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return 0.0
    return sum(map(int, fields[11 : 15 if with_ended_children else 13])) / TICKS_PER_SECOND


def memory_mib(process: int, field: str = "VmHWM") -> int:
    """The most it has had, or another field of its status; nothing of a process that is gone."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return 0
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found[1]) // 1024 if found else 0


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]
