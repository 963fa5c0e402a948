#!/usr/bin/env python3
"""Compares the block types of the paper's table 2: prints a table, and plots accuracy by speed.

    pip install matplotlib
    docs/results/plot_blocks.py RUNS SPEEDS CHART.png

RUNS is a directory whose subdirectories are runs, as a sweep makes it. SPEEDS has the output of `wrn-dist benchmark step --json` for the
same networks, one line per measurement. The accuracies are those of each run's last evaluation.
"""

import collections
import json
import pathlib
import re
import statistics
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

# The errors of the paper's table 2, the median of five runs of 200 epochs, in percent.
PAPER = {"1,3,1": 6.06, "3,1": 5.78, "1,3": 6.42, "3,1,1": 5.86, "3,3": 5.73, "3,1,3": 5.78}


def main() -> None:
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    runs, speeds_path, chart = sys.argv[1:]
    speeds = collections.defaultdict(list)
    for line in open(speeds_path):
        found = json.loads(line)
        speeds[found["network"]].append(found["images_per_second"])
    rows = []
    for run in sorted(pathlib.Path(runs).iterdir()):
        if not (run / "metrics.jsonl").exists():
            continue
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        accuracy = [line["accuracy"] for line in lines if line["kind"] == "eval"][-1]
        losses = [line["loss"] for line in lines if line["kind"] == "train"]
        settings = dict(re.findall(r"^([\w-]+): *'?\"?([^'\"\n]*)", (run / "config.yaml").read_text(), re.MULTILINE))
        block, depth, k = settings["block"], settings["depth"], settings["widen-factor"]
        name = f"WRN-{depth}-{k}" + ("" if block == "3,3" else f"-B({block})")
        rows.append((100 * accuracy, block, depth, name, statistics.mean(losses[-390:]), statistics.median(speeds[name])))
    rows.sort(reverse=True)

    print("| block | depth | test accuracy | loss of the last epoch | img/s | error in the paper |")
    print("|---|---|---|---|---|---|")
    for accuracy, block, depth, _, loss, speed in rows:
        print(f"| B({block}) | {depth} | {accuracy:.2f} % | {loss:.4f} | {speed:.0f} | {PAPER[block]:.2f} % |")

    figure, axes = plt.subplots(figsize=(6.4, 4.2))
    for accuracy, block, _, _, _, speed in rows:
        axes.plot(speed, accuracy, "o", color="C0")
        axes.annotate(f"B({block})", (speed, accuracy), textcoords="offset points", xytext=(7, -3))
    axes.set_xlabel("training images per second")
    axes.set_ylabel("test accuracy, %")
    axes.margins(x=0.2, y=0.15)
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(chart, dpi=120)


if __name__ == "__main__":
    main()
