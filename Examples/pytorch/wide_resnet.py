"""The PyTorch twins of wrn-dist's networks: Trax's WideResnet(n_blocks=n, widen_factor=k), and the paper's WRN-depth-k.

Their state_dicts have the tensor names and layouts of `model.safetensors`:

    from safetensors.torch import load_file
    model = WideResNet(depth=22, widen_factor=1)
    model.load_state_dict(load_file("runs/…/checkpoints/step-00001000/model.safetensors"), strict=True)

Images go in as raw pixels 0…255, float32, NCHW.
"""

import torch
import torch.nn.functional as F
from torch import nn


class BatchNorm(nn.BatchNorm2d):
    """BatchNorm2d whose state_dict is weight, bias, running_mean and running_var.

    PyTorch only uses `num_batches_tracked` without a momentum, so it is removed: strict loading works in both directions.
    PyTorch updates the running variance with the unbiased variance; wrn-dist (like Trax) with the biased one. That affects
    training of the twin, not its predictions.
    """

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-5, momentum=0.1)
        del self._buffers["num_batches_tracked"]
        self.num_batches_tracked = None

    def _load_from_state_dict(self, *arguments):
        # PyTorch's method would require the counter in strict loading. A counter in the file is ignored.
        state, prefix = arguments[:2]
        state.pop(prefix + "num_batches_tracked", None)
        nn.Module._load_from_state_dict(self, *arguments)


class Convolution(nn.Conv2d):
    """3x3 convolution with TensorFlow's SAME padding: at stride 2 an even size is padded after, not before."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__(inputs, outputs, 3, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before = 1 if self.stride[0] == 1 else 0
        return super().forward(F.pad(x, (before, 1, before, 1)))


class Block(nn.Module):
    """BN, ReLU, convolution, BN, ReLU, convolution."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.norm1, self.conv1 = BatchNorm(inputs), Convolution(inputs, outputs, stride)
        self.norm2, self.conv2 = BatchNorm(outputs), Convolution(outputs, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))


class Group(nn.Module):
    """y = shortcut(x) + first block(x); then y + the other blocks in series."""

    def __init__(self, blocks: int, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.shortcut = Convolution(inputs, outputs, stride)
        self.blocks = nn.ModuleList(
            [Block(inputs, outputs, stride)] + [Block(outputs, outputs, 1) for _ in range(blocks - 1)]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.shortcut(x) + self.blocks[0](x)
        z = y
        for block in self.blocks[1:]:
            z = block(z)
        return y + z


class WideResNet(nn.Module):
    """Trax's variant of WRN-depth-k; returns logits."""

    def __init__(self, depth: int = 22, widen_factor: int = 1, classes: int = 10):
        super().__init__()
        blocks, remainder = divmod(depth - 4, 6)
        if remainder or blocks < 1:
            raise ValueError(f"depth {depth} is not 6n + 4")
        widths = [16, 16 * widen_factor, 32 * widen_factor, 64 * widen_factor]
        self.stem = Convolution(3, widths[0])
        self.groups = nn.ModuleList(
            [Group(blocks, widths[g], widths[g + 1], 1 if g == 0 else 2) for g in range(3)]
        )
        self.norm, self.head = BatchNorm(widths[3]), nn.Linear(widths[3], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for group in self.groups:
            x = group(x)
        return self.head(F.relu(self.norm(x)).mean((2, 3)))


class PreActivationBlock(nn.Module):
    """The paper's block: BN and ReLU before every convolution, dropout before the last, one skip connection.

    Where the width changes, the skip is a 1x1 convolution of what the first convolution reads: they share BN and ReLU.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, kernel_sizes: tuple, dropout: float):
        super().__init__()
        self.count, self.dropout = len(kernel_sizes), dropout
        for i, size in enumerate(kernel_sizes, 1):
            first = i == 1
            self.add_module(f"norm{i}", BatchNorm(inputs if first else outputs))
            if first and inputs != outputs:
                self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.add_module(f"conv{i}", nn.Conv2d(
                inputs if first else outputs, outputs, size, stride if first else 1, size // 2, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm1(x))
        skip = self.shortcut(y) if hasattr(self, "shortcut") else x
        for i in range(1, self.count + 1):
            if i > 1:
                y = F.relu(self.get_submodule(f"norm{i}")(y))
            if i == self.count:
                y = F.dropout(y, self.dropout, self.training)
            y = self.get_submodule(f"conv{i}")(y)
        return skip + y


class PreActivationGroup(nn.Module):
    """Blocks of equal width in series."""

    def __init__(self, blocks: int, inputs: int, outputs: int, stride: int, kernel_sizes: tuple, dropout: float):
        super().__init__()
        self.blocks = nn.Sequential(*[
            PreActivationBlock(
                inputs if b == 0 else outputs, outputs, stride if b == 0 else 1, kernel_sizes, dropout)
            for b in range(blocks)])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x)


class PaperWideResNet(nn.Module):
    """The paper's WRN-depth-k (arXiv 1605.07146); returns logits.

    `block` has the kernel sizes of a block's convolutions: B(3,1,3) is (3, 1, 3). A group has (depth - 4) / 6 blocks, whatever
    the number of convolutions per block. Convolutions have no biases and symmetric padding.
    """

    def __init__(
        self, depth: int = 28, widen_factor: int = 10, block: tuple = (3, 3), dropout: float = 0.0, classes: int = 10
    ):
        super().__init__()
        blocks, remainder = divmod(depth - 4, 6)
        if remainder or blocks < 1:
            raise ValueError(f"depth {depth} is not 6n + 4")
        widths = [16, 16 * widen_factor, 32 * widen_factor, 64 * widen_factor]
        self.stem = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.groups = nn.ModuleList([
            PreActivationGroup(blocks, widths[g], widths[g + 1], 1 if g == 0 else 2, tuple(block), dropout)
            for g in range(3)])
        self.norm, self.head = BatchNorm(widths[3]), nn.Linear(widths[3], classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        for group in self.groups:
            x = group(x)
        return self.head(F.relu(self.norm(x)).mean((2, 3)))
