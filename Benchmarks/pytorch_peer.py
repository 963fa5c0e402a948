#!/usr/bin/env python3
"""Times the training step of a Wide ResNet in PyTorch on the CPU, for compare_pytorch.

    pip install torch numpy
    taskset -c 0 Benchmarks/pytorch_peer.py [--architecture trax|wrn] [--depth 22] [--widen-factor 1] [--block 3,3]
                                            [--batch 64] [--mode eager] [--threads 1] [--steps 7]

Prints one JSON object: images per second (median), GFLOP/s with 6 operations per multiply-add of the convolutions, peak
resident memory, and the bytes of the activations that autograd saves.

The model of trax is Trax's WideResnet(n_blocks=n, widen_factor=k) as wrn-dist trains it, except that stride-2 convolutions are
padded symmetrically, which costs the same and saves PyTorch a copy. The model of wrn is the paper's: the twin in
Examples/pytorch. Both are updated by Adam. Modes: eager (NCHW, fp32), channels_last (fp32), bf16
(channels_last under autocast), compile and compile_bf16 (the same two under torch.compile).
"""

import argparse
import copy
import json
import os
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../Examples/pytorch"))
from wide_resnet import PaperWideResNet  # noqa: E402

MODES = ["eager", "channels_last", "bf16", "compile", "compile_bf16"]
WARM_UP = 3


class Block(nn.Module):
    """BN, ReLU, convolution, BN, ReLU, convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norm2, self.conv2 = nn.BatchNorm2d(outputs), nn.Conv2d(outputs, outputs, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))


class Group(nn.Module):
    """y = shortcut(x) + block 0, then y + the later blocks in series."""

    def __init__(self, blocks: int, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.shortcut = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.blocks = nn.ModuleList(
            Block(inputs if b == 0 else outputs, outputs, stride if b == 0 else 1) for b in range(blocks))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.shortcut(x) + self.blocks[0](x)
        z = y
        for block in self.blocks[1:]:
            z = block(z)
        return y + z


class WideResNet(nn.Module):
    """Stem, three groups, BN, ReLU, mean over pixels, dense layer."""

    def __init__(self, depth: int, k: int):
        super().__init__()
        blocks = (depth - 4) // 6
        self.stem = nn.Conv2d(3, 16, 3, 1, 1)
        self.groups = nn.ModuleList([
            Group(blocks, 16, 16 * k, 1), Group(blocks, 16 * k, 32 * k, 2), Group(blocks, 32 * k, 64 * k, 2)])
        self.norm, self.head = nn.BatchNorm2d(64 * k), nn.Linear(64 * k, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for group in self.groups:
            x = group(x)
        return self.head(F.relu(self.norm(x)).mean((2, 3)))


def multiply_adds(model: nn.Module) -> int:
    """Returns the multiply-adds per 32x32 image of the convolutions' forward pass."""
    total = 0

    def count(layer, arguments, output):
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    shapes = copy.deepcopy(model).to("meta")
    for layer in shapes.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    shapes(torch.empty(1, 3, 32, 32, device="meta"))
    return total


class SavedTensors:
    """Counts the bytes of the distinct storages that autograd saves, except those of parameters and the batch."""

    def __init__(self, model: nn.Module, batch: torch.Tensor):
        self.excluded = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers(), batch]}
        self.sizes = {}

    def __enter__(self):
        def pack(tensor):
            storage = tensor.untyped_storage()
            # Sparse and meta tensors have no address; there are none here.
            if storage.data_ptr() not in self.excluded:
                self.sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        self.hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
        self.hooks.__enter__()
        return self

    def __exit__(self, *exception):
        self.hooks.__exit__(*exception)

    @property
    def byte_count(self) -> int:
        return sum(self.sizes.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--architecture", choices=["trax", "wrn"], default="trax")
    parser.add_argument("--depth", type=int, default=22)
    parser.add_argument("--widen-factor", type=int, default=1)
    parser.add_argument("--block", default="3,3", help="kernel sizes of a block's convolutions, for wrn")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--mode", choices=MODES, default="eager")
    parser.add_argument("--steps", type=int, default=7)
    arguments = parser.parse_args()
    before = peak_memory()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    if arguments.architecture == "trax":
        model = WideResNet(arguments.depth, arguments.widen_factor).train()
    else:
        block = tuple(map(int, arguments.block.split(",")))
        model = PaperWideResNet(arguments.depth, arguments.widen_factor, block).train()
    operations = 6 * multiply_adds(model)
    x = torch.randint(0, 256, (arguments.batch, 3, 32, 32)).float()
    labels = torch.arange(arguments.batch) % 10
    if arguments.mode != "eager":
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, eps=1e-5, fused=True)
    forward = torch.compile(model) if arguments.mode.startswith("compile") else model

    def loss_of_batch() -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=arguments.mode.endswith("bf16")):
            return F.cross_entropy(forward(x), labels)

    times = []
    for _ in range(arguments.steps + WARM_UP):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss_of_batch().backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    peak = peak_memory()
    with SavedTensors(model, x) as saved:
        loss = loss_of_batch()
    del loss
    median = sorted(times[WARM_UP:])[arguments.steps // 2]
    print(json.dumps({
        "program": f"PyTorch {torch.__version__}", "mode": arguments.mode, "architecture": arguments.architecture,
        "depth": arguments.depth, "block": arguments.block, "widen_factor": arguments.widen_factor,
        "batch_size": arguments.batch, "threads": arguments.threads, "n": arguments.steps,
        "images_per_second": arguments.batch / median, "step_milliseconds": median * 1e3,
        "gflops": operations * arguments.batch / median / 1e9,
        "first_step_seconds": times[0], "saved_activation_bytes": saved.byte_count,
        "memory_bytes_before": before, "peak_memory_bytes": peak}))


def peak_memory() -> int:
    """Returns the peak resident memory in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
