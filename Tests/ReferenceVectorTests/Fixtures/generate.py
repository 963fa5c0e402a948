#!/usr/bin/env python3
"""Writes the reference vectors wrn-22-1.txt … wrn-22-4.txt, plain-16-1.txt and plain-16-2.txt: what NumPy computes in float64 on a
deterministic batch.

    pip install numpy
    Tests/ReferenceVectorTests/Fixtures/generate.py

Images, labels and parameters are given by formulas (see ModelVectors.swift). Of each of the gradients the file has the Euclidean
norm and 32 elements (all of a smaller one); the elements are chosen by a fixed seed. The last line is FNV-1a, 64 bits, of all bytes
before it.
"""

import contextlib
import io
import os
import runpy
import sys

import numpy as np

FOLDER = os.path.dirname(os.path.abspath(__file__))
SAMPLES = 32
UPDATES = 5


def norms(module) -> list:
    """Returns the batch normalisations in flat order."""
    if type(module).__name__ == "BN":
        return [module]
    children = module.ls if hasattr(module, "ls") else ([module.sc] if getattr(module, "sc", None) else []) + [
        module.main] if hasattr(module, "main") else []
    return [norm for child in children for norm in norms(child)]


def gradient_lines(gradients: list) -> list:
    """Returns the norm and the chosen elements of every gradient."""
    lines = []
    random = np.random.default_rng(0)
    for i, gradient in enumerate(gradients):
        values = gradient.ravel()
        chosen = range(values.size) if values.size <= SAMPLES else sorted(
            random.choice(values.size, SAMPLES, replace=False))
        samples = " ".join("%d:%.9e" % (j, values[j]) for j in chosen)
        lines.append("gradient %d size %d norm %.12e %s" % (i, values.size, np.linalg.norm(values), samples))
    return lines


def statistics_lines(statistics: list) -> list:
    """Returns the first channels of every running mean and variance."""
    lines = []
    for i, (mean, variance) in enumerate(statistics):
        for kind, values in [("mean", mean), ("variance", variance)]:
            lines.append("running-%s %d %s" % (kind, i, " ".join("%.9e" % v for v in values[:8])))
    return lines


def write(model: str, lines: list) -> None:
    """Writes a file with its checksum."""
    text = "\n".join(lines) + "\n"
    checksum = 0xCBF29CE484222325
    for byte in text.encode():
        checksum = (checksum ^ byte) * 0x100000001B3 % 2**64
    with open(os.path.join(FOLDER, f"{model}.txt"), "w") as file:
        file.write(f"{text}checksum {checksum:016x}\n")
    print(f"{model}.txt: {len(text)} bytes")


def vectors(k: int, family: list) -> list:
    sys.argv = ["trax_reference.py", str(k), "64"] + family
    with contextlib.redirect_stdout(io.StringIO()):
        reference = runpy.run_path(os.path.join(FOLDER, "trax_reference.py"), run_name="reference")
    parameters, net, lossgrad = reference["P"], reference["net"], reference["lossgrad"]
    loss, logits, gradients = lossgrad(parameters)
    flat = np.concatenate([g.ravel() for g in gradients])
    lines = [
        f"wrn-dist-vectors 1 widen-factor {k}",
        f"parameters {sum(p.size for p in parameters)}",
        f"logits {' '.join('%.12e' % v for v in logits.ravel())}",
        "gradient-norm %.12e" % np.linalg.norm(flat),
        "parameter-norm %.12e" % np.linalg.norm(np.concatenate([p.ravel() for p in parameters])),
    ]
    lines += gradient_lines(gradients) + statistics_lines([(norm.rm_new, norm.rv_new) for norm in norms(net)])
    losses = [loss]
    first, second = ([np.zeros_like(p) for p in parameters] for _ in range(2))
    for t in range(1, UPDATES + 1):
        for i, gradient in enumerate(lossgrad(parameters)[2]):
            first[i] = 0.1 * gradient + 0.9 * first[i]
            second[i] = 0.001 * gradient**2 + 0.999 * second[i]
            m, v = first[i] / (1 - 0.9 ** (t + 1)), second[i] / (1 - 0.999 ** (t + 1))
            parameters[i] = (1 - 1e-5) * parameters[i] - 0.01 * m / (np.sqrt(v) + 1e-5)
        losses.append(lossgrad(parameters)[0])
    lines.append("losses " + " ".join("%.12e" % v for v in losses))
    return lines


def main() -> None:
    models = [(f"wrn-22-{k}", k, []) for k in range(1, 5)] + [(f"plain-16-{k}", k, ["--plain"]) for k in (1, 2)]
    for model, k, family in models:
        write(model, vectors(k, family))


if __name__ == "__main__":
    main()
