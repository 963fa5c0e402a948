"""Shared functions of the benchmarks in this directory: start wrn-dist, and report the conditions of a measurement."""

import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
from datetime import date

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAM = os.path.join(ROOT, ".build/release/wrn-dist")


def run(words: list[str], environment: dict[str, str] | None = None) -> str:
    """Runs a command and returns its output; exits with its message if it fails."""
    finished = subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **(environment or {})})
    if finished.returncode != 0:
        sys.exit(f"{shlex.join(words)} failed with exit code {finished.returncode}:\n{finished.stderr or finished.stdout}")
    return finished.stdout


def json_line(text: str) -> dict:
    """Returns the last JSON object among the lines of an output."""
    return json.loads([line for line in text.splitlines() if line.startswith("{")][-1])


def emulated(command: str, flags: list[str], *options: str, environment: dict[str, str] | None = None) -> dict:
    """Runs a benchmark on emulated hosts with one rank each."""
    words = [os.path.join(ROOT, "launch/emulate-hosts"), "--slots", "1", *options, "--command", command, "--"]
    return json_line(run(words + flags + ["--json"], environment))


def launched(command: str, flags: list[str], *options: str) -> dict:
    """Runs a benchmark on this host with the CPU affinity of launch/train."""
    words = [os.path.join(ROOT, "launch/train"), *options, "--command", command, "--"]
    return json_line(run(words + flags + ["--json"]))


def table(head: list[str], rows: list[list[str]]) -> str:
    """Returns a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: list[float], digits: int = 0) -> str:
    """Returns the median (minimum to maximum)."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def cpu_kind(model: str) -> str:
    """Returns the CPU's model with its family and number on x86, because servers of several generations have one name."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        fields = dict(re.findall(r"^(cpu family|model)\s*: (\d+)$", file.read(), re.MULTILINE))
    return f"{model}, family {fields['cpu family']}, model {fields['model']}" if len(fields) == 2 else model


def footing(found: dict) -> str:
    """Returns the date, machine and program versions of a measurement."""
    mpirun = run(["mpirun", "--version"]).splitlines()[0].replace("mpirun (Open MPI)", "Open MPI").strip()
    version = run([PROGRAM, "--version"]).splitlines()[0]
    revision = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    version = f"{version} at {revision}" if revision else version
    cores = len(os.sched_getaffinity(0))
    kernel = re.match(r"[\d.]+", platform.release())
    return (
        f"Measured on {date.today()}: {cores} cores of {found['cpu']}, engine {found.get('engine', 'native')} "
        f"({found.get('isa', '')}), wrn-dist {version}, {mpirun}, Linux {kernel[0] if kernel else platform.release()}.")
