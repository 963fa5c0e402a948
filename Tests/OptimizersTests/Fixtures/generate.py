#!/usr/bin/env python3
"""Writes sgd.txt, schedules.txt and clipping.txt: what PyTorch's optimizers and schedulers compute in float64.

    pip install torch numpy
    Tests/OptimizersTests/Fixtures/generate.py

Weights and gradients are given by a formula (see PyTorchFixture.swift): 7 elements of a bias, then 12 of a weight. The average
of weights is plain Python: PyTorch has none that starts at a later step.
"""

import os

import numpy as np
import torch
from torch.optim import lr_scheduler

FOLDER = os.path.dirname(os.path.abspath(__file__))
BIAS, COUNT, STEPS = 7, 19, 10
DEFAULTS = {
    "momentum": 0.9, "nesterov": 1, "weight-decay": 5e-4, "clip-norm": 0, "average-decay": 0, "average-every": 1,
    "decays-biases": 1, "bias-factor": 1, "one-cycle": 0,
}
CASES = {
    "nesterov": {},
    "heavy-ball": {"nesterov": 0, "weight-decay": 1e-2},
    "without-decay": {"weight-decay": 0},
    "without-momentum": {"momentum": 0, "nesterov": 0},
    "clipped": {"clip-norm": 2.5},
    "groups": {"decays-biases": 0, "bias-factor": 4, "weight-decay": 5e-2},
    "averaged": {"average-decay": 0.75, "average-every": 3, "one-cycle": 1},
}
PEAK = 0.1


def formula(i: int) -> np.ndarray:
    """Returns the array i: multiples of 1/32768 in [-1, 1), exact in fp32."""
    j = np.arange(COUNT, dtype=np.uint64)
    h = (j * np.uint64(2654435761) + np.uint64(40503 * i + 12345)) % np.uint64(65536)
    return h.astype(np.float64) / 32768 - 1


def text(values) -> str:
    return " ".join("%.12e" % v for v in values)


def descend(name: str, changes: dict) -> list:
    """Returns the lines of a run of SGD."""
    case = DEFAULTS | changes
    bias, weight = (torch.nn.Parameter(torch.from_numpy(v.copy())) for v in np.split(formula(0), [BIAS]))
    optimizer = torch.optim.SGD([
        {"params": [bias], "lr": PEAK * case["bias-factor"], "weight_decay": case["weight-decay"] * case["decays-biases"]},
        {"params": [weight]},
    ], lr=PEAK, momentum=case["momentum"], weight_decay=case["weight-decay"], nesterov=bool(case["nesterov"]))
    scheduler = lr_scheduler.OneCycleLR(
        optimizer, max_lr=PEAK, total_steps=STEPS, cycle_momentum=False) if case["one-cycle"] else None
    lines = [f"case {name} " + " ".join(f"{key}={value}" for key, value in case.items())]
    average = None
    for step in range(1, STEPS + 1):
        for parameter, gradient in zip((bias, weight), np.split(formula(step), [BIAS])):
            parameter.grad = torch.from_numpy(gradient.copy())
        if case["clip-norm"]:
            torch.nn.utils.clip_grad_norm_([bias, weight], case["clip-norm"])
        optimizer.step()
        if scheduler and step < STEPS:
            scheduler.step()
        weights = np.concatenate([bias.detach().numpy(), weight.detach().numpy()])
        lines.append(f"weights {step} {text(weights)}")
        if case["momentum"]:
            buffers = [optimizer.state[p]["momentum_buffer"].numpy() for p in (bias, weight)]
            lines.append(f"momentum {step} {text(np.concatenate(buffers))}")
        if case["average-decay"] and step % case["average-every"] == 0:
            decay = case["average-decay"]
            average = weights if average is None else decay * average + (1 - decay) * weights
            lines.append(f"average {step} {text(average)}")
    return lines


def rates(peak: float, steps: int, make, steps_per_call: int = 1) -> list:
    """Returns the learning rate of every step of a scheduler that is stepped every `steps_per_call` steps."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = make(optimizer)
    found = []
    for step in range(1, steps + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step % steps_per_call == 0 and step < steps:
            scheduler.step()
    return found


def schedules() -> list:
    found = {
        "one-cycle-90": rates(0.4, 90, lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.4, total_steps=90)),
        "one-cycle-7": rates(0.4, 7, lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.4, total_steps=7)),
        "milestones": rates(0.1, 96, lambda o: lr_scheduler.MultiStepLR(o, [3, 5, 6], gamma=0.2), 12),
        "cosine": rates(0.3, 90, lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=90)),
        # A warm-up over 20 steps: factors 1/20, 2/20, … 1.
        "warm-up-cosine": rates(0.3, 90, lambda o: lr_scheduler.ChainedScheduler([
            lr_scheduler.LinearLR(o, start_factor=1 / 20, total_iters=19), lr_scheduler.CosineAnnealingLR(o, T_max=90)])),
        "points": [0.6 * np.interp(s / 11, [0, 2, 5, 8], [0.2, 1, 0.5, 0]) for s in range(88)],
    }
    return [f"schedule {name} " + " ".join("%.17g" % v for v in values) for name, values in found.items()]


def clipping() -> list:
    """Returns maximum, norm and clipped gradient of some maxima: above, at and below the norm; and of a zero gradient."""
    lines = []
    norm = float(np.linalg.norm(formula(1)))
    for maximum, factor in [(1e9, 1), (norm * 1.01, 1), (norm, 1), (1, 1), (1e-3, 1), (1, 0)]:
        parameter = torch.nn.Parameter(torch.zeros(COUNT, dtype=torch.float64))
        parameter.grad = torch.from_numpy(formula(1) * factor)
        found = torch.nn.utils.clip_grad_norm_([parameter], maximum).item()
        lines.append(f"clip {maximum:.17g} {found:.17g} {text(parameter.grad.numpy())}")
    return lines


def main() -> None:
    header = f"# torch {torch.__version__}, numpy {np.__version__}, float64; written by generate.py"
    files = {
        "sgd.txt": [line for name, changes in CASES.items() for line in descend(name, changes)],
        "schedules.txt": schedules(),
        "clipping.txt": clipping(),
    }
    for name, lines in files.items():
        with open(os.path.join(FOLDER, name), "w") as file:
            file.write("\n".join([header, *lines]) + "\n")
        print(f"{name}: {os.path.getsize(os.path.join(FOLDER, name))} bytes")


if __name__ == "__main__":
    main()
