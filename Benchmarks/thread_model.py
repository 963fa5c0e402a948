"""A model of one training step on many threads, for simulate_threads.

A step is a list of parallel loops and serial work. The items of a loop are claimed one at a time, in order, by the first free thread, as
WorkerPool does. An item takes the longer of two times: that on one thread, times a factor for the caches and the clock that cores share,
and that of its bytes at its share of the memory bandwidth. A loop ends with a barrier. Ranks wait for each other at the end of every loop,
because batch norm reduces its sums there.
"""

import heapq
import math
import random
from dataclasses import dataclass, field

# The reasons for which a step takes longer than its work divided by the cores.
MICROBATCHES = "microbatches"
PARAMETERS = "parameter loops"
SERIAL = "serial"
BALANCE = "balance"
BANDWIDTH = "bandwidth"
BARRIERS = "barriers"
MESSAGES = "messages"


@dataclass
class Loop:
    """A parallel loop with equal items."""

    kind: str  # MICROBATCHES or PARAMETERS: what its items are.
    count: int
    seconds: float  # Per item, alone on one thread.
    bytes: float  # Per item, to and from memory.


@dataclass
class Machine:
    """What all threads share."""

    bandwidth: float  # Bytes per second of all threads together.
    dispatch: float  # Seconds of a loop of two threads, apart from its items.
    claim: float  # Seconds for which one thread has the counter of the items.
    jitter: float  # The relative standard deviation of an item's time.
    latency: float = 0.0  # Seconds of a message between two ranks.
    contention: float = 1.0  # The time of an item while other cores compute, relative to that of an item alone.

    def barrier(self, threads: int, count: int) -> float:
        """Returns the cost of a loop: each thread more claims an item, finds none left, and reports that it has finished."""
        return 0.0 if threads == 1 or count < 2 else self.dispatch + (threads - 2) * 3 * self.claim

    def messages(self, ranks: int, reductions: int, byte_count: int) -> float:
        """Returns the time of small reductions, and of the all-reduce of a gradient, each byte of which is copied twice."""
        if ranks == 1:
            return 0.0
        return reductions * 2 * math.ceil(math.log2(ranks)) * self.latency + 2 * (ranks - 1) * 4 * byte_count / self.bandwidth


@dataclass
class Step:
    """A step's loops on one rank, and what else it does."""

    loops: list[Loop]
    serial: float
    reductions: int = 0  # Small all-reduces per step.
    gradient_bytes: int = 0

    def work(self, kind: str) -> float:
        """Returns the time of one kind of loops on one thread."""
        return sum(loop.count * loop.seconds for loop in self.loops if loop.kind == kind)


@dataclass
class Result:
    """A simulated step: seconds, and the seconds lost for each reason."""

    seconds: float
    losses: dict[str, float] = field(default_factory=dict)

    @property
    def limit(self) -> str:
        """The largest reason."""
        return max(self.losses, key=self.losses.__getitem__)


def schedule(items: list[float], threads: int) -> float:
    """Returns the end of the last item, if the first free thread claims the next one."""
    if threads >= len(items):
        return max(items, default=0.0)
    ends = items[:threads]
    heapq.heapify(ends)
    for item in items[threads:]:
        heapq.heapreplace(ends, ends[0] + item)
    return max(ends)


def simulate(step: Step, machine: Machine, threads: int, ranks: int = 1, reference: Step | None = None, samples: int = 5) -> Result:
    """Simulates a step.

    `step` is one rank's; losses are relative to the work of `reference`, a whole batch's, divided by all cores. Times are means of
    `samples` seeded runs.
    """
    stream = random.Random(0)
    cores, base = threads * ranks, reference or step
    losses = dict.fromkeys([MICROBATCHES, PARAMETERS, SERIAL, BALANCE, BANDWIDTH, BARRIERS, MESSAGES], 0.0)
    for loop in step.loops:
        active = min(threads, loop.count) * ranks
        slow = max(loop.seconds * (machine.contention if active > 1 else 1), loop.bytes * active / machine.bandwidth)
        even = schedule([loop.seconds] * loop.count, threads)
        limited = schedule([slow] * loop.count, threads)
        uneven = limited
        if machine.jitter > 0:
            ends = [
                max(schedule([slow * max(0.5, stream.gauss(1, machine.jitter)) for _ in range(loop.count)], threads) for _ in range(ranks))
                for _ in range(samples)]
            uneven = sum(ends) / samples
        losses[loop.kind] += even
        losses[BANDWIDTH] += limited - even
        losses[BALANCE] += uneven - limited
        losses[BARRIERS] += machine.barrier(threads, loop.count)
    losses[SERIAL] = step.serial
    losses[MESSAGES] = machine.messages(ranks, step.reductions, step.gradient_bytes)
    seconds = sum(losses.values())
    for kind in (MICROBATCHES, PARAMETERS):
        losses[kind] -= base.work(kind) / cores
    losses[SERIAL] -= base.serial / cores
    return Result(seconds, losses)
