#!/usr/bin/env python3
"""Writes zca.txt: global contrast normalization and ZCA whitening of 24 images, computed with NumPy in float64.

    pip install numpy
    Tests/DatasetsTests/Fixtures/generate.py

The definition is that of pylearn2's global_contrast_normalize(scale=55) and ZCA(filter_bias=0.1). The images are given by an
integer formula (see ZCAFittingTests.swift). Features are in the order HWC. Lines: `mean FEATURE VALUE`, `matrix ROW COLUMN VALUE`,
`image NUMBER FEATURE VALUE` of the whitened images; the elements are chosen by a fixed seed. Written with NumPy 2.4.6.
"""

import os

import numpy as np

IMAGES = 24
FEATURES = 3072


def image(n: int) -> np.ndarray:
    """Returns the bytes of an image, planes of red, green and blue."""
    i = np.arange(FEATURES, dtype=np.uint64)
    channel, y, x = i // 1024, i // 32 % 32, i % 32
    noise = ((np.uint64(n * FEATURES) + i) * np.uint64(2654435761) % np.uint64(2**32)) >> np.uint64(26)
    return (noise + (y * (n % 5) + x * (n % 3 + 1) + 40 * channel) % 192).astype(np.float64)


def main() -> None:
    planes = np.stack([image(n) for n in range(IMAGES)])
    x = planes.reshape(IMAGES, 3, 1024).transpose(0, 2, 1).reshape(IMAGES, FEATURES)
    x = x - x.mean(axis=1, keepdims=True)
    x = 55 * x / np.sqrt((x**2).sum(axis=1, keepdims=True))
    mean = x.mean(axis=0)
    x = x - mean
    eigenvalues, vectors = np.linalg.eigh(x.T @ x / IMAGES + 0.1 * np.identity(FEATURES))
    matrix = (vectors * np.sqrt(1 / eigenvalues)) @ vectors.T
    whitened = x @ matrix
    random = np.random.default_rng(1)
    lines = [f"mean {i} {float(mean[i])!r}" for i in random.integers(0, FEATURES, 64)]
    for row, column in [(int(i), int(i)) for i in random.integers(0, FEATURES, 16)] + [
            tuple(map(int, pair)) for pair in random.integers(0, FEATURES, (112, 2))]:
        lines.append(f"matrix {row} {column} {float(matrix[row, column])!r}")
    for n in range(IMAGES):
        for i in random.integers(0, FEATURES, 8):
            lines.append(f"image {n} {i} {float(whitened[n, i])!r}")
    folder = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(folder, "zca.txt"), "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
