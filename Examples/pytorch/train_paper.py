#!/usr/bin/env python3
"""Trains the PyTorch twin with the recipe of the Wide ResNet paper for its first epochs on CIFAR-10.

    pip install torch numpy safetensors
    Examples/pytorch/train_paper.py DIRECTORY [--depth 16] [--widen-factor 4] [--block 3,3] [--dropout 0] [--epochs 1]
                                    [--threads 2] [--seed 0] [--max-steps N] [--channels-last] [--save FILE]

DIRECTORY has CIFAR-10's binary files. The recipe (arXiv 1605.07146 and its code): SGD with Nesterov momentum 0.9, weight decay
5e-4 on all parameters, learning rate 0.1, times 0.2 after 59, 119 and 159 epochs; batches of 128, the last short one dropped; a
random flip, and a random crop after 4 reflected pixels at each border; mean and standard deviation of the published constants;
convolutions fan-in normal, scales of batch norms uniform in [0, 1), biases 0.

Prints one line per epoch: mean loss and accuracy over its steps (before each update), test accuracy, and images per second of
the training steps. --max-steps ends the run early, after a line for what was done.
"""

import argparse
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from wide_resnet import BatchNorm, PaperWideResNet

BATCH = 128
MEAN, DEVIATION = (125.3, 123.0, 113.9), (63.0, 62.1, 66.7)


def read(directory: str, names: list) -> tuple:
    """Returns normalized images, NCHW, and labels."""
    records = np.concatenate([np.fromfile(os.path.join(directory, name), np.uint8).reshape(-1, 3073) for name in names])
    images = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32)).float()
    constants = [torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, DEVIATION)]
    return (images - constants[0]) / constants[1], torch.from_numpy(records[:, 0].astype(np.int64))


def augment(images: torch.Tensor) -> torch.Tensor:
    """Flips each image with probability 1/2 and crops it at random from its reflected padding of 4."""
    count = len(images)
    flips = torch.rand(count) < 0.5
    images = torch.where(flips.view(-1, 1, 1, 1), images.flip(3), images)
    padded = F.pad(images, (4, 4, 4, 4), mode="reflect")
    rows, columns = (torch.randint(0, 9, (count, 1)) + torch.arange(32) for _ in range(2))
    index = torch.arange(count).view(-1, 1, 1)
    return padded.permute(0, 2, 3, 1)[index, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def initialize(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, BatchNorm):
            nn.init.uniform_(module.weight)
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)


def test_accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    with torch.no_grad():
        correct = sum(
            int((model(x).argmax(1) == y).sum()) for x, y in zip(images.split(500), labels.split(500)))
    model.train()
    return correct / len(labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--depth", type=int, default=16)
    parser.add_argument("--widen-factor", type=int, default=4)
    parser.add_argument("--block", default="3,3")
    parser.add_argument("--dropout", type=float, default=0)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-steps", type=int)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--save", help="a .safetensors file for the trained model")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)

    images, labels = read(arguments.directory, [f"data_batch_{i}.bin" for i in range(1, 6)])
    test_images, test_labels = read(arguments.directory, ["test_batch.bin"])
    block = tuple(map(int, arguments.block.split(",")))
    model = PaperWideResNet(arguments.depth, arguments.widen_factor, block, arguments.dropout)
    initialize(model)
    memory_format = torch.channels_last if arguments.channels_last else torch.contiguous_format
    model = model.to(memory_format=memory_format).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [59, 119, 159], gamma=0.2)

    steps = 0
    for epoch in range(1, arguments.epochs + 1):
        loss_sum, correct, count, seconds = 0.0, 0, 0, 0.0
        order = torch.randperm(len(labels))
        for chosen in order[:len(order) // BATCH * BATCH].split(BATCH):
            start = time.perf_counter()
            x = augment(images[chosen]).to(memory_format=memory_format)
            logits = model(x)
            loss = F.cross_entropy(logits, labels[chosen])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            seconds += time.perf_counter() - start
            loss_sum += loss.item() * BATCH
            correct += int((logits.argmax(1) == labels[chosen]).sum())
            count += BATCH
            steps += 1
            if steps == arguments.max_steps:
                break
        line = (f"epoch {epoch} step {steps}: loss {loss_sum / count:.4f}, accuracy {correct / count:.4f}, "
                f"{count / seconds:.1f} img/s")
        if steps == arguments.max_steps:
            print(line, flush=True)
            break
        print(f"{line}, test accuracy {test_accuracy(model, test_images, test_labels):.4f}", flush=True)
        scheduler.step()
    if arguments.save:
        from safetensors.torch import save_file
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, arguments.save)


if __name__ == "__main__":
    main()
