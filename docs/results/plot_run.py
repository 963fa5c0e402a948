#!/usr/bin/env python3
"""Plots a run of WRN-22-1 with Trax's published curves, and prints the distances.

    pip install numpy matplotlib
    docs/results/plot_run.py RUN CHART.png

RUN is the output directory of `wrn-dist train` with 1,000 steps between evaluations. Trax's values are those of the notebook "Train a
WideResnet" (run A) and of the article based on it (run B): mean training loss per 1,000 steps, and test accuracy on 1,280 images. Exits
with 1 if the loss of a window is more than 5 % from the nearer of the two.
"""

import json
import os
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

STEPS = [1000, 2000, 3000, 4000, 5000]
TRAX_LOSS = {
    "Trax, run A": [1.56840193, 1.17271507, 1.00170410, 0.89905792, 0.82710254],
    "Trax, run B": [1.51696503, 1.14578664, 0.98207539, 0.87311232, 0.79590148],
}
TRAX_ACCURACY = {
    "Trax, run A": [0.51484375, 0.59843750, 0.63593750, 0.69140625, 0.66640625],
    "Trax, run B": [0.55156250, 0.60625000, 0.66406250, 0.71328125, 0.67968750],
}


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    run, chart = sys.argv[1:]
    with open(os.path.join(run, "metrics.jsonl")) as file:
        lines = [json.loads(line) for line in file]
    loss = np.array([line["loss"] for line in lines if line["kind"] == "train"])
    evals = [line for line in lines if line["kind"] == "eval"]

    print("| step | train loss, window mean | Trax A | Trax B | distance to the nearer | test loss | test accuracy |")
    print("|---|---|---|---|---|---|---|")
    largest = 0.0
    for i, step in enumerate(STEPS):
        if step > len(loss):
            break
        # Trax reports step 1 separately, so the first window begins at step 2.
        mean = loss[max(1, step - 1000):step].mean()
        references = [values[i] for values in TRAX_LOSS.values()]
        off = min((mean / reference - 1 for reference in references), key=abs)
        largest = max(largest, abs(off))
        evaluation = next(line for line in evals if line["step"] == step)
        print("| %d | %.4f | %.4f | %.4f | %+.1f %% | %.4f | %.2f %% |" % (
            step, mean, *references, 100 * off, evaluation["loss"], 100 * evaluation["accuracy"]))

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
    window = 100
    smooth = loss[:len(loss) // window * window].reshape(-1, window).mean(1)
    left.plot(window * (np.arange(len(smooth)) + 0.5), smooth, label="wrn-dist, mean of 100 steps", color="C0")
    right.plot([line["step"] for line in evals], [100 * line["accuracy"] for line in evals], "o-", label="wrn-dist", color="C0")
    for (name, values), marker in zip(TRAX_LOSS.items(), "sD"):
        left.plot(np.array(STEPS) - 500, values, marker, label=f"{name}, mean of 1,000 steps", fillstyle="none", color="C1")
        right.plot(STEPS, [100 * a for a in TRAX_ACCURACY[name]], marker, label=name, fillstyle="none", color="C1")
    left.set(xlabel="step", ylabel="training loss", title="Training loss", ylim=(0.6, 2.4))
    right.set(xlabel="step", ylabel="test accuracy in %", title="Test accuracy, 1,280 images, batch statistics")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle("WRN-22-1 on CIFAR-10, batch 64, Adam at 0.01")
    figure.tight_layout()
    figure.savefig(chart, dpi=110)
    print(f"largest distance {100 * largest:.1f} %")
    if largest > 0.05:
        sys.exit(1)


if __name__ == "__main__":
    main()
