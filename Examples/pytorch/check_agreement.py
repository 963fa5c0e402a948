#!/usr/bin/env python3
"""Checks that wrn-dist and the PyTorch twin agree on logits, in both directions.

    pip install torch numpy safetensors
    Examples/pytorch/check_agreement.py [--wrn-dist .build/release/wrn-dist] [--architecture trax|wrn] [--block 3,3]
                                        [--depth 22] [--widen-factor 1] [--limit 1e-4]

1. wrn-dist trains a few steps on its synthetic data; the twin loads the checkpoint with strict=True. torch.load reads the same tensors
   from the file of `wrn-dist export --pytorch`.
2. PyTorch saves random weights; wrn-dist starts from them with --init.

In each direction both programs compute the logits of the same test images with running statistics (the twin's eval mode) and
with batch statistics (its train mode). Prints the largest difference per case. Exits with 1 if one exceeds the limit, relative to
the largest logit where that is above 1: running statistics of few steps make large logits.
"""

import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from wide_resnet import PaperWideResNet, WideResNet

BATCH = 64
IMAGES = 256


def run(program: str, *arguments: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "CIFAR10_DIR"}
    result = subprocess.run([program, *arguments], capture_output=True, text=True, env=environment)
    if result.returncode != 0:
        sys.exit(f"{program} {' '.join(arguments)} failed with {result.returncode}:\n{result.stderr}")


def read_images(directory: str) -> torch.Tensor:
    """Returns the first IMAGES test images, NCHW, raw pixels."""
    records = np.fromfile(os.path.join(directory, "test_batch.bin"), np.uint8).reshape(-1, 3073)
    return torch.from_numpy(records[:IMAGES, 1:].reshape(-1, 3, 32, 32).astype(np.float32))


def make_twin(arguments: argparse.Namespace) -> torch.nn.Module:
    if arguments.architecture == "trax":
        return WideResNet(arguments.depth, arguments.widen_factor)
    return PaperWideResNet(arguments.depth, arguments.widen_factor, tuple(map(int, arguments.block.split(","))))


def twin_logits(weights: dict, arguments: argparse.Namespace, images: torch.Tensor, statistics: str) -> np.ndarray:
    model = make_twin(arguments)
    model.load_state_dict(weights, strict=True)
    model.train(statistics == "batch")
    with torch.no_grad():
        return torch.cat([model(batch) for batch in images.split(BATCH)]).numpy()


def compare(title: str, weights: dict, checkpoint: str, directory: str, arguments, images: torch.Tensor) -> float:
    """Returns the largest difference, relative to the largest logit if that is above 1."""
    maximum = 0.0
    for statistics in ["running", "batch"]:
        output = os.path.join(directory, f"logits-{statistics}.safetensors")
        run(
            arguments.wrn_dist, "evaluate", "--checkpoint", checkpoint, "--data", os.path.join(directory, "data"),
            "--batch-size", str(BATCH), "--eval-batches", "all", "--eval-statistics", statistics, "--logits-output", output,
        )
        ours = load_file(output)["logits"].numpy()[:IMAGES]
        theirs = twin_logits(weights, arguments, images, statistics)
        difference = float(np.abs(ours - theirs).max())
        print(f"{title}, {statistics} statistics: {len(ours)} x 10 logits up to {np.abs(theirs).max():.2f}, "
              f"largest difference {difference:.2e}")
        maximum = max(maximum, difference / max(1, float(np.abs(theirs).max())))
    return maximum


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wrn-dist", default=".build/release/wrn-dist")
    parser.add_argument("--architecture", choices=["trax", "wrn"], default="trax")
    parser.add_argument("--block", default="3,3", help="kernel sizes of a block's convolutions, for wrn")
    parser.add_argument("--depth", type=int, default=22)
    parser.add_argument("--widen-factor", type=int, default=1)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--limit", type=float, default=1e-4)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network = [
        "--architecture", arguments.architecture, "--block", arguments.block, "--depth", str(arguments.depth),
        "--widen-factor", str(arguments.widen_factor)]
    with tempfile.TemporaryDirectory() as directory:
        data = os.path.join(directory, "data")
        run(arguments.wrn_dist, "data", "synthesize", data)
        images = read_images(data)

        common = ["--data", data, "--eval-every", "0", *network]
        trained = os.path.join(directory, "trained")
        run(arguments.wrn_dist, "train", "--steps", str(arguments.steps), "--output-dir", trained, *common)
        checkpoint = os.path.join(trained, "checkpoints", f"step-{arguments.steps:08d}")
        weights = load_file(os.path.join(checkpoint, "model.safetensors"))
        maximum = compare("wrn-dist to PyTorch", weights, checkpoint, directory, arguments, images)

        file = os.path.join(directory, "exported.pt")
        run(arguments.wrn_dist, "export", "--checkpoint", checkpoint, "--pytorch", file)
        exported = torch.load(file, weights_only=True)
        make_twin(arguments).load_state_dict(exported, strict=True)
        if set(exported) != set(weights) or not all(torch.equal(exported[name], weights[name]) for name in weights):
            sys.exit("export --pytorch wrote other tensors than the checkpoint has")
        print(f"torch.load reads the {len(exported)} tensors of export --pytorch, equal to the checkpoint's")

        model = make_twin(arguments)
        with torch.no_grad():  # running statistics that belong to the weights
            model.train()
            for _ in range(20):
                model(images[:BATCH])
        state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        file = os.path.join(directory, "pytorch.safetensors")
        save_file(state, file)
        maximum = max(maximum, compare("PyTorch to wrn-dist", state, file, directory, arguments, images))

        started = os.path.join(directory, "started")
        run(arguments.wrn_dist, "train", "--steps", "1", "--init", file, "--output-dir", started, *common)
        print("wrn-dist train --init accepts the file")
    if not maximum <= arguments.limit:
        sys.exit(f"the largest relative difference {maximum:.2e} exceeds the limit {arguments.limit:.0e}")
    print(f"torch {torch.__version__}: every relative difference is at most {maximum:.2e} (limit {arguments.limit:.0e})")


if __name__ == "__main__":
    main()
