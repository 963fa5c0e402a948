#!/usr/bin/env python3
"""Writes the reference vectors paper-b33-1.txt … paper-b313-2.txt: what PyTorch computes in float64 for every block type of the paper's
Table 2 on the deterministic batch. Checks the published parameter counts first.

    pip install torch numpy
    Tests/ReferenceVectorTests/Fixtures/generate_paper.py [--search]

The network is the twin in Examples/pytorch. Pixels, labels, the format of the files and the chosen elements of gradients are those of
generate.py, in the flat order of PreActivationWideResNet and the layouts in memory (RSCK; inputs, outputs). Running variances are
biased, as wrn-dist keeps them; PyTorch's own are not. The losses are those at the start and after each of five updates of SGD with
Nesterov momentum.

The gradient jumps where ReLU reads 0, so a value that rounding moves across 0 changes fp32 gradients by percents, and losses after
some updates by as much. Three measures keep such values out. Images are the upper left corners of those of generate.py. Networks have
one or two blocks per group. And parameter i has the values that the formula of generate.py gives array i + offset: with the offset, no
output of a batch norm, at any loss, is nearer to 0 than MARGIN times the RMS rounding of PyTorch's fp32. --search finds offsets.
"""

import itertools
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F

from generate import FOLDER, UPDATES, gradient_lines, statistics_lines, write

sys.path.insert(0, os.path.join(FOLDER, "../../../Examples/pytorch"))
from wide_resnet import BatchNorm, PaperWideResNet  # noqa: E402

# Depth, block, width, image size and offset.
MODELS = [
    (16, (3, 3), 1, 16, 25), (10, (3, 3), 2, 16, 8), (16, (3, 1), 1, 16, 4), (10, (3, 1), 2, 16, 0), (16, (1, 3), 1, 16, 0),
    (10, (1, 3), 2, 16, 4), (16, (1, 1), 1, 16, 5), (10, (1, 1), 2, 16, 3), (10, (3, 1, 1), 1, 16, 0),
    (10, (3, 1, 1), 2, 16, 79), (10, (1, 3, 1), 1, 16, 0), (10, (1, 3, 1), 2, 16, 90), (10, (3, 1, 3), 1, 16, 1),
    (10, (3, 1, 3), 2, 8, 76),
]
MARGIN = 4
# Depth, width, block: parameters with ten classes. From the paper, its log, and computed from its text (rounded there).
COUNTS = {
    (40, 2, (1, 3, 1)): 1_429_082, (40, 2, (3, 1)): 1_211_354, (40, 2, (1, 3)): 1_297_370, (40, 2, (3, 1, 1)): 1_343_066,
    (28, 2, (3, 3)): 1_467_610, (22, 2, (3, 1, 3)): 1_145_498,
    (40, 1, (3, 3)): 563_930, (40, 2, (3, 3)): 2_243_546, (40, 4, (3, 3)): 8_949_210, (40, 8, (3, 3)): 35_748_314,
    (28, 10, (3, 3)): 36_479_194, (28, 12, (3, 3)): 52_517_850, (22, 8, (3, 3)): 17_158_106, (22, 10, (3, 3)): 26_797_914,
    (16, 8, (3, 3)): 10_961_370, (16, 10, (3, 3)): 17_116_634,
    (10, 1, (3, 3)): 77_850, (16, 1, (3, 3)): 175_066, (16, 2, (3, 3)): 691_674, (16, 4, (3, 3)): 2_748_890,
    (22, 1, (3, 3)): 272_282, (22, 2, (3, 3)): 1_079_642, (22, 3, (3, 3)): 2_421_786, (22, 4, (3, 3)): 4_298_970,
    (28, 1, (3, 3)): 369_498, (52, 1, (3, 3)): 758_362,
}


def check_counts() -> None:
    for (depth, k, block), count in COUNTS.items():
        with torch.device("meta"):
            found = sum(p.numel() for p in PaperWideResNet(depth, k, block).parameters())
        if found != count:
            sys.exit(f"WRN-{depth}-{k} of blocks {block} has {found} parameters, not {count}")


def norms(model: PaperWideResNet) -> list:
    return [m for m in model.modules() if isinstance(m, BatchNorm)]


def flat_parameters(model: PaperWideResNet) -> list:
    """Returns the parameters in wrn-dist's flat order: in a batch norm the shift comes before the scale."""
    found = []
    for module in model.modules():
        if isinstance(module, BatchNorm):
            found += [module.bias, module.weight]
        elif not list(module.children()):
            found += list(module.parameters())
    return found


def to_memory(values: torch.Tensor) -> np.ndarray:
    """Returns a parameter or its gradient in wrn-dist's layout: KCRS to RSCK, [outputs, inputs] to [inputs, outputs]."""
    array = values.detach().numpy()
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T


def fill(model: PaperWideResNet, offset: int) -> None:
    """Fills parameters by the formula."""
    scales = {id(norm.weight) for norm in norms(model)}
    for i, parameter in enumerate(flat_parameters(model)):
        shape = to_memory(parameter).shape
        j = np.arange(parameter.numel(), dtype=np.uint64)
        h = (j * np.uint64(2654435761) + np.uint64(40503 * (i + offset) + 12345)) % np.uint64(65536)
        u = (h.astype(np.float64) / 32768 - 1).reshape(shape)
        if len(shape) > 1:
            value = u * np.sqrt(6 / (shape[-2] + shape[-1]))
            value = value.transpose(3, 2, 0, 1) if len(shape) == 4 else value.T
        else:
            value = 1 + 0.1 * u if id(parameter) in scales else 0.01 * u
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def batch(size: int) -> tuple:
    n, c, h, w = np.meshgrid(np.arange(4), np.arange(3), np.arange(size), np.arange(size), indexing="ij")
    pixels = (37 * h + 61 * w + 17 * c + 101 * n + h * w * (n + 3)) % 256
    return torch.from_numpy(pixels.astype(np.float64)), (3 * torch.arange(4) + 1) % 10


class Run:
    """A network on the deterministic batch."""

    def __init__(self, depth: int, block: tuple, k: int, size: int, offset: int, dtype=torch.float64):
        self.model = PaperWideResNet(depth, k, block).to(dtype).train()
        fill(self.model, offset)
        images, self.labels = batch(size)
        self.images = images.to(dtype)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
        for norm in norms(self.model):
            norm.register_forward_hook(self.observe)

    def observe(self, norm, arguments, output) -> None:
        """Records the output, and running mean and biased variance after one step."""
        x = arguments[0].detach()
        mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        self.statistics.append(((0.1 * mean).numpy(), (0.9 + 0.1 * variance).numpy()))
        self.normalized.append(output.detach().double())

    def loss(self) -> torch.Tensor:
        self.statistics, self.normalized = [], []
        self.logits = self.model(self.images)
        return F.cross_entropy(self.logits, self.labels)

    def update(self, loss: torch.Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def compute(depth: int, block: tuple, k: int, size: int, offset: int):
    """Returns the losses before and after every update, in float64 and fp32; None if ReLU reads a value too near to 0."""
    runs = [Run(depth, block, k, size, offset, dtype) for dtype in (torch.float64, torch.float32)]
    found = []
    for step in range(UPDATES + 1):
        losses = [run.loss() for run in runs]
        for exact, rounded in zip(*(run.normalized for run in runs)):
            if exact.abs().min() < MARGIN * (rounded - exact).square().mean().sqrt():
                return None
        found.append([loss.item() for loss in losses])
        if step < UPDATES:
            for run, loss in zip(runs, losses):
                run.update(loss)
    return found


def search(depth: int, block: tuple, k: int, size: int) -> None:
    for offset in itertools.count():
        found = compute(depth, block, k, size, offset)
        if found:
            difference = max(abs(a - b) for a, b in found)
            print(f"({depth}, {block}, {k}, {size}, {offset}), losses in fp32 differ by {difference:.0e}", flush=True)
            return


def vectors(depth: int, block: tuple, k: int, size: int, offset: int) -> list:
    losses = compute(depth, block, k, size, offset)
    if losses is None:
        sys.exit(f"ReLU reads a value too near to 0 in blocks {block}, k = {k}; --search for another offset")
    run = Run(depth, block, k, size, offset)
    run.loss().backward()
    parameters = flat_parameters(run.model)
    gradients = [to_memory(p.grad) for p in parameters]
    return [
        f"wrn-dist-vectors 1 widen-factor {k}",
        f"depth {depth}",
        f"image-size {size}",
        f"parameter-offset {offset}",
        f"parameters {sum(p.numel() for p in parameters)}",
        f"logits {' '.join('%.12e' % v for v in run.logits.detach().numpy().ravel())}",
        "gradient-norm %.12e" % np.linalg.norm(np.concatenate([g.ravel() for g in gradients])),
        "parameter-norm %.12e" % np.linalg.norm(np.concatenate([to_memory(p).ravel() for p in parameters])),
        *gradient_lines(gradients), *statistics_lines(run.statistics),
        "losses " + " ".join("%.12e" % exact for exact, _ in losses),
    ]


def main() -> None:
    check_counts()
    for depth, block, k, size, offset in MODELS:
        if "--search" in sys.argv:
            search(depth, block, k, size)
        else:
            write(f"paper-b{''.join(map(str, block))}-{k}", vectors(depth, block, k, size, offset))
    print(f"torch {torch.__version__}, numpy {np.__version__}, float64")


if __name__ == "__main__":
    main()
