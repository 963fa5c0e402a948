#!/usr/bin/env python3
"""Prints the mean training losses of several runs per window of steps, as a Markdown table.

    docs/results/compare_runs.py [--window 250] [--steps 2000] NAME=RUN NAME=RUN …

RUN is the output directory of `wrn-dist train`. Steps after --steps are ignored. A resumed run counts as one.
"""

import argparse
import json
import os
import statistics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--window", type=int, default=250)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    arguments = parser.parse_args()
    names = [run.split("=", 1)[0] for run in arguments.runs]
    losses = [read(run.split("=", 1)[1], arguments.steps) for run in arguments.runs]
    print("| steps | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for first in range(0, arguments.steps, arguments.window):
        last = first + arguments.window
        means = [statistics.fmean(loss[first:last]) for loss in losses]
        print(f"| {first + 1} to {last} | " + " | ".join(f"{mean:.4f}" for mean in means) + " |")


def read(directory: str, steps: int) -> list[float]:
    """Returns the losses of steps 1, 2, …"""
    found: dict[int, float] = {}
    with open(os.path.join(directory, "metrics.jsonl")) as file:
        for line in map(json.loads, file):
            if line["kind"] == "train":
                found[line["step"]] = line["loss"]
    return [found[step] for step in range(1, steps + 1)]


if __name__ == "__main__":
    main()
