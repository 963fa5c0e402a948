"""The faults of launch/chaos: started jobs and their processes, disks that fill, signals, and the program's own faults."""

import dataclasses
import os
import pathlib
import random
import signal
import subprocess
import time

TIMED_OUT = -999
PHASES = ["data", "forward", "backward", "update"]
OUTSIDE = ["kill rank", "kill rank", "stop rank", "kill mpirun", "suspend mpirun", "suspend rank"]


class Job:
    """A started command, its directory and the processes that belong to it."""

    def __init__(self, words: list[str], directory: pathlib.Path, environment: dict[str, str] | None = None):
        self.mark = str(directory)
        # Faults name ranks, so all ranks compute, however few cores there are.
        variables = {
            **os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "WRN_RESTART_SECONDS": "1",
            "WRN_SHARED_CORES": "compute", "CHAOS_JOB": self.mark, **(environment or {})}
        self.output = directory / "output"
        with open(self.output, "w") as output:
            self.process = subprocess.Popen(
                words, cwd=directory, env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    @property
    def has_ended(self) -> bool:
        """Whether the command itself has ended."""
        return self.process.poll() is not None

    @property
    def text(self) -> str:
        """What the command and its processes have printed so far."""
        return self.output.read_text(errors="replace")

    def processes(self, role: str | None = None) -> list[int]:
        """Returns the process IDs of a role: rank, mpirun or daemon; of all if it is None."""
        names = {"rank": ["wrn-dist"], "mpirun": ["mpirun", "prterun"], "daemon": ["orted", "prted"]}
        found = []
        for directory in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                variables = (directory / "environ").read_bytes().split(b"\0")
                name = (directory / "comm").read_text().strip()
            except OSError:
                continue
            # Other commands of the program, such as doctor, are no ranks.
            is_rank = any(variable.startswith(b"OMPI_COMM_WORLD_RANK=") for variable in variables)
            if f"CHAOS_JOB={self.mark}".encode() not in variables:
                continue
            if role is None or name in names[role] and (role != "rank" or is_rank):
                found.append(int(directory.name))
        return sorted(found)

    def wait(self, limit: float) -> int:
        """Returns the exit code; TIMED_OUT if the job had to be killed after `limit` seconds."""
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill_all()
            self.process.wait()
            return TIMED_OUT

    def kill_all(self) -> None:
        """Kills every process of the job."""
        for process in self.processes():
            send(process, signal.SIGKILL)

    def orphans(self, seconds: float = 5) -> list[int]:
        """Returns the processes that are left after some seconds, and kills them."""
        end = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < end:
            time.sleep(0.1)
        self.kill_all()
        return left


def send(process: int, number: signal.Signals) -> bool:
    """Sends a signal; returns False if the process has ended."""
    try:
        os.kill(process, number)
        return True
    except ProcessLookupError:
        return False


@dataclasses.dataclass
class Disk:
    """A small file system of a run's own, which faults fill; without root an ordinary directory, and no such faults."""

    path: pathlib.Path
    is_mounted: bool = False

    def mount(self) -> None:
        """Makes the directory, and mounts 24 MiB of memory there if this process may."""
        self.path.mkdir()
        if os.geteuid() == 0:
            words = ["mount", "-t", "tmpfs", "-o", "size=24m", "chaos", str(self.path)]
            self.is_mounted = subprocess.run(words, capture_output=True).returncode == 0

    def unmount(self) -> None:
        """Unmounts it, also while files are open."""
        if os.path.ismount(self.path):
            subprocess.run(["umount", "--lazy", str(self.path)], capture_output=True)

    def fill(self, seconds: float) -> None:
        """Leaves no byte free for some seconds."""
        filler = self.path / "filler"
        try:
            with open(filler, "wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 16))
        except OSError:
            pass  # The disk is full.
        time.sleep(seconds)
        filler.unlink(missing_ok=True)


def strike(kind: str, job: Job, disk: Disk, dice: random.Random) -> bool:
    """Injects a fault from outside; returns False if the run ended before."""
    if kind == "full disk":
        if job.has_ended:
            return False
        disk.fill(dice.uniform(0.5, 3))
        return True
    action, role = kind.split()
    end = time.monotonic() + 60
    while not job.has_ended and time.monotonic() < end:
        targets = job.processes(role)
        if action == "stop" and len(targets) == 1:
            # No rank waits for a single one.
            action = "kill"
        if targets and send(target := dice.choice(targets), signal.SIGKILL if action == "kill" else signal.SIGSTOP):
            if action == "suspend":
                # As a batch system suspends a job.
                time.sleep(dice.uniform(0.5, 4))
                send(target, signal.SIGCONT)
            return True
        time.sleep(0.05)
    return False


def inside(dice: random.Random, ranks: int, last_step: int) -> tuple[str, str]:
    """Returns the kind of a fault that the program injects into itself once, and its WRN_FAULT."""
    step = dice.randrange(20, last_step)
    checkpoint = step // 10 * 10
    kind = dice.choice(["exit", "hang", "enospc", "eio", "crash in checkpoint"])
    if kind == "hang" and ranks == 1:
        kind = "exit"
    if kind in ["exit", "hang"]:
        return kind, f"rank={dice.randrange(ranks)},step={step},phase={dice.choice(PHASES)},act={kind}"
    if kind == "crash in checkpoint":
        point = dice.choice(["create", "write", "state", "sync", "verify", "rename", "latest", "prune"])
        return kind, f"step={checkpoint},act=crash-at={point}"
    return kind, f"step={checkpoint},act={kind}"
