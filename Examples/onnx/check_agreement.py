#!/usr/bin/env python3
"""Checks that ONNX Runtime computes wrn-dist's logits on every test image.

    pip install onnx onnxruntime numpy safetensors
    Examples/onnx/check_agreement.py --checkpoint runs/a [--weights raw|average] [--data DIRECTORY]
                                     [--wrn-dist .build/release/wrn-dist] [--limit 1e-4]

Without --checkpoint, wrn-dist trains a few steps of each family on its synthetic data, with every pixel normalization.

Exports each checkpoint with both kinds of input, with and without folded batch norms. onnx.checker checks the file, shapes included.
Then ONNX Runtime computes the logits of all test images in batches of 100, and of the first image alone, and wrn-dist those of
`evaluate` with running statistics. ONNX Runtime's own optimizations, which fold batch norms as well, are off for uint8 and on for
float. Prints the largest difference, and the images whose class differs. Exits with 1 if a class
differs, or if a difference exceeds the limit, relative to the largest logit where that is above 1.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from safetensors.numpy import load_file

BATCH = 100
RUNS = {
    "trax": ["--depth", "10"],
    "trax, mean-std": ["--depth", "16", "--widen-factor", "2", "--normalize", "mean-std"],
    "wrn": ["--architecture", "wrn", "--depth", "10", "--widen-factor", "2", "--normalize", "mean-std"],
    "wrn B(3,1,3)": ["--architecture", "wrn", "--depth", "10", "--block", "3,1,3", "--dropout", "0.2"],
    "wrn, zca": ["--architecture", "wrn", "--depth", "10", "--normalize", "zca"],
}


def run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)} failed with {result.returncode}:\n{result.stderr}")
    return result.stdout


def read_images(directory: str, kind: str) -> np.ndarray:
    """Returns the test images, uint8 NHWC."""
    name, labels = {"cifar10": ("test_batch.bin", 1), "cifar100": ("test.bin", 2)}[kind]
    records = np.fromfile(os.path.join(directory, name), np.uint8).reshape(-1, labels + 3072)
    return np.ascontiguousarray(records[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))


def runtime_logits(file: str, images: np.ndarray, kind: str, optimize: bool) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    if kind == "float":
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32)
    logits = np.concatenate([
        session.run(["logits"], {"images": images[i:i + BATCH]})[0] for i in range(0, len(images), BATCH)])
    alone = session.run(["logits"], {"images": images[:1]})[0]
    if np.abs(alone - logits[:1]).max() > 1e-4 * max(1, np.abs(logits[0]).max()):
        sys.exit(f"{file}: the logits of an image depend on its batch")
    return logits


def check(title: str, checkpoint: str, arguments: argparse.Namespace, data: str, directory: str) -> float:
    """Returns the largest difference, relative to the largest logit if that is above 1."""
    program, weights = arguments.wrn_dist, ["--weights", arguments.weights]
    output = os.path.join(directory, "logits.safetensors")
    run(
        program, "evaluate", "--checkpoint", checkpoint, *weights, "--data", data, "--eval-batches", "all",
        "--eval-statistics", "running", "--no-test-flip", "--logits-output", output)
    ours = load_file(output)["logits"]
    images = read_images(data, "cifar10" if ours.shape[1] == 10 else "cifar100")
    scale = max(1, float(np.abs(ours).max()))
    maximum = 0.0
    for kind in ["uint8", "float"]:
        for fold in [[], ["--fold"]]:
            file = os.path.join(directory, "model.onnx")
            run(program, "export", "--checkpoint", checkpoint, *weights, "--onnx", file, "--input", kind, *fold)
            onnx.checker.check_model(file, full_check=True)
            theirs = runtime_logits(file, images, kind, optimize=kind == "float")
            difference = float(np.abs(ours - theirs).max())
            others = int((ours.argmax(1) != theirs.argmax(1)).sum())
            print(f"{title}, {kind}{', folded' if fold else ''}: {len(images)} images, logits up to {np.abs(ours).max():.2f}, "
                  f"largest difference {difference:.2e}, {others} other classes", flush=True)
            if others:
                sys.exit(f"{others} images have another class in ONNX Runtime")
            maximum = max(maximum, difference / scale)
    return maximum


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wrn-dist", default=".build/release/wrn-dist")
    parser.add_argument("--checkpoint", help="a run or checkpoint; needs --data")
    parser.add_argument("--weights", choices=["raw", "average"], default="raw")
    parser.add_argument("--data", help="the data set's directory, with its test file")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--limit", type=float, default=1e-4)
    arguments = parser.parse_args()
    maximum = 0.0
    with tempfile.TemporaryDirectory() as directory:
        if arguments.checkpoint:
            if not arguments.data:
                parser.error("--checkpoint needs --data")
            maximum = check(arguments.checkpoint, arguments.checkpoint, arguments, arguments.data, directory)
        else:
            data = os.path.join(directory, "data")
            run(arguments.wrn_dist, "data", "synthesize", data)
            for i, (title, flags) in enumerate(RUNS.items()):
                trained = os.path.join(directory, f"run-{i}")
                run(
                    arguments.wrn_dist, "train", "--data", data, "--steps", str(arguments.steps), "--eval-every", "0",
                    "--threads", "1", "--output-dir", trained, *flags)
                maximum = max(maximum, check(title, trained, arguments, data, directory))
    if not maximum <= arguments.limit:
        sys.exit(f"the largest relative difference {maximum:.2e} exceeds the limit {arguments.limit:.0e}")
    print(f"onnx {onnx.__version__}, ONNX Runtime {onnxruntime.__version__}, Python {platform.python_version()}: "
          f"every relative difference is at most {maximum:.2e} (limit {arguments.limit:.0e})")


if __name__ == "__main__":
    main()
