#!/usr/bin/env python3
"""Draws docs/images/block-types.svg: Trax's group and the paper's blocks, in one diagram.

Needs nothing but Python's standard library. Regenerate:

    docs/images/block_types.py >docs/images/block-types.svg
"""

INK, GREY = "#1a202c", "#4a5568"
NORM = ("#c6f6d5", "#38a169")
CONV3 = ("#bee3f8", "#3182ce")
CONV1 = ("#feebc8", "#c05621")
DROP = ("white", GREY)
WIDTH, HEIGHT = 1040, 862
BOX, GAP, BOX_HEIGHT = 44, 11, 32
BLOCKS = [[3, 3], [3, 1], [1, 3], [3, 1, 1], [1, 3, 1], [3, 1, 3]]

elements = []


def box(x, middle, text, colours, width=BOX, height=BOX_HEIGHT, dashed=False):
    """Adds a rectangle with centred lines of text; returns its right edge."""
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    elements.append(
        f'<rect x="{x:g}" y="{middle - height / 2:g}" width="{width:g}" height="{height:g}" rx="4" '
        f'fill="{colours[0]}" stroke="{colours[1]}"{dash}/>'
    )
    lines = text.split("\n")
    for i, content in enumerate(lines):
        label(x + width / 2, middle + (i - (len(lines) - 1) / 2) * 13 + 4, content, 11, "middle")
    return x + width


def label(x, y, text, size=12, anchor="start", bold=False, colour=INK):
    """Adds one line of text."""
    weight = ' font-weight="bold"' if bold else ""
    elements.append(
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"{weight}>{text}</text>'
    )


def line(points, arrow=True, colour=GREY, width=1.3):
    """Adds a polyline, with an arrow head at its end unless told otherwise."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    head = ' marker-end="url(#arrow)"' if arrow else ""
    elements.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{head}/>')


def dot(x, y):
    """Adds the point at which an arrow branches off."""
    elements.append(f'<circle cx="{x:g}" cy="{y:g}" r="2.6" fill="{GREY}"/>')


def add(x, middle):
    """Adds the circle of a residual add; returns its right edge."""
    elements.append(f'<circle cx="{x + 10:g}" cy="{middle:g}" r="10" fill="white" stroke="{INK}" stroke-width="1.3"/>')
    line([(x + 4, middle), (x + 16, middle)], arrow=False, colour=INK)
    line([(x + 10, middle - 6), (x + 10, middle + 6)], arrow=False, colour=INK)
    return x + 20


def arrow_right(x, middle, length=GAP):
    """Adds a short arrow; returns its end."""
    line([(x, middle), (x + length, middle)])
    return x + length


def convolution(x, middle, kernel, strided):
    """Adds a convolution's box; returns its right edge."""
    text = f"{kernel}×{kernel}" + ("\nstride s" if strided else "")
    return box(x, middle, text, CONV3 if kernel == 3 else CONV1)


def branch(x, middle, block, strided, with_dropout=True, fork=0):
    """Adds BN-ReLU and convolution for every kernel of a block, dropout before the last one.

    The space after the first BN-ReLU is wider by `fork`. Returns the right edge of the first BN-ReLU and of the branch.
    """
    first = None
    for i, kernel in enumerate(block):
        x = box(arrow_right(x, middle), middle, "BN\nReLU", NORM)
        if first is None:
            first = x
            if fork:
                line([(x, middle), (x + fork, middle)], arrow=False)
                x += fork
        if with_dropout and i == len(block) - 1:
            x = box(arrow_right(x, middle), middle, "drop", DROP, 32, dashed=True)
        x = convolution(arrow_right(x, middle), middle, kernel, strided and i == 0)
    return first, x


def draw_same_width(x, middle, block):
    """A block without a change of width: the skip is the block's input."""
    label(x, middle + 4, "x", 13, bold=True)
    start = x + 12
    line([(start, middle), (start + 10, middle)], arrow=False)
    dot(start + 10, middle)
    _, end = branch(start + 10, middle, block, strided=False)
    plus = arrow_right(end, middle)
    line([(start + 10, middle), (start + 10, middle - 32), (plus + 10, middle - 32), (plus + 10, middle - 11)])
    label(arrow_right(add(plus, middle), middle) + 4, middle + 4, "y", 13, bold=True)


def draw_changed_width(x, middle, block):
    """A block that changes the width: the skip is a 1×1 convolution after the shared BN-ReLU."""
    label(x, middle + 4, "x", 13, bold=True)
    first, end = branch(x + 12, middle, block, strided=True, fork=7)
    fork = first + 7
    dot(fork, middle)
    plus = arrow_right(end, middle)
    top = middle - 35
    centre = (fork + plus + 10) / 2
    line([(fork, middle), (fork, top), (centre - 40, top)])
    box(centre - 40, top, "1×1, stride s", CONV1, 80, 22)
    line([(centre + 40, top), (plus + 10, top), (plus + 10, middle - 11)])
    label(arrow_right(add(plus, middle), middle) + 4, middle + 4, "y", 13, bold=True)


def draw_trax(x, y):
    """Trax's group of three blocks."""
    label(x, y, "Trax's group (--architecture trax), here with n = 3 blocks", 15, bold=True)
    label(x, y + 18, "Every convolution has a bias. The group's shortcut is a 3×3 convolution of the raw input. One skip "
          "covers all blocks after the first.", colour=GREY)
    middle = y + 92
    label(x, middle + 4, "x", 13, bold=True)
    start = x + 12
    line([(start, middle), (start + 8, middle)], arrow=False)
    dot(start + 8, middle)
    blocks = []
    _, end = branch(start + 8, middle, [3, 3], strided=True, with_dropout=False)
    blocks.append((start + 8 + GAP, end))
    plus = arrow_right(end, middle)
    top = middle - 42
    centre = (start + 8 + plus + 10) / 2
    line([(start + 8, middle), (start + 8, top), (centre - 40, top)])
    box(centre - 40, top, "3×3, stride s", CONV3, 80, 22)
    line([(centre + 40, top), (plus + 10, top), (plus + 10, middle - 11)])
    at = add(plus, middle)
    line([(at, middle), (at + 14, middle)], arrow=False)
    at += 14
    dot(at, middle)
    label(at - 3, middle + 17, "y", 13, "middle", bold=True)
    skip = at
    for _ in range(2):
        begin = at + GAP
        _, at = branch(at, middle, [3, 3], strided=False, with_dropout=False)
        blocks.append((begin, at))
    plus = arrow_right(at, middle)
    line([(skip, middle), (skip, top), (plus + 10, top), (plus + 10, middle - 11)])
    label(arrow_right(add(plus, middle), middle) + 4, middle + 4, "z", 13, bold=True)
    for i, (left, right) in enumerate(blocks):
        line([(left, middle + 24), (left, middle + 28), (right, middle + 28), (right, middle + 24)], arrow=False)
        label((left + right) / 2, middle + 42, f"block {i}", 11, "middle", colour=GREY)


def draw_paper(x, y):
    """The paper's six block types, without and with a change of width."""
    label(x, y, "The paper's blocks (--architecture wrn --block 3,3 and so on)", 15, bold=True)
    label(x, y + 18, "No convolution has a bias. Every block has a skip. Where the width changes, its first BN-ReLU is "
          "shared by the 1×1 shortcut.", colour=GREY)
    left, right = x + 70, x + 538
    label(left, y + 46, "equal width: the skip is x itself", 13, bold=True, colour=GREY)
    label(right, y + 46, "change of width: the skip is a 1×1 convolution", 13, bold=True, colour=GREY)
    for row, block in enumerate(BLOCKS):
        middle = y + 112 + 84 * row
        if row:
            line([(x, middle - 57), (WIDTH - x, middle - 57)], arrow=False, colour="#cbd5e0", width=0.8)
        label(x, middle + 5, "B(" + ",".join(map(str, block)) + ")", 15, bold=True)
        draw_same_width(left, middle, block)
        draw_changed_width(right, middle, block)


def draw_legend(x, y):
    """The meaning of boxes, dots and s."""
    entries = [
        ("BN\nReLU", NORM, False, BOX, "batch norm, then ReLU"),
        ("3×3", CONV3, False, BOX, "convolution"),
        ("1×1", CONV1, False, BOX, "pointwise convolution"),
        ("drop", DROP, True, 32, "dropout, if --dropout is above 0 (trax: before conv2 of each block)"),
    ]
    for text, colours, dashed, width, meaning in entries:
        end = box(x, y, text, colours, width, dashed=dashed)
        label(end + 6, y + 4, meaning, 12, colour=GREY)
        x = end + 6 + 6.1 * len(meaning) + 22
    label(30, y + 38, "s = 2 in the first block of groups 1 and 2, else 1. At k = 1 group 0 keeps the stem's 16 channels, so "
          "in wrn it has no change of width.", 12, colour=GREY)


def main():
    """Writes the diagram to standard output."""
    draw_trax(30, 34)
    draw_paper(30, 214)
    draw_legend(30, 804)
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="Helvetica, Arial, sans-serif">\n'
        "<title>Trax's group and the paper's blocks</title>\n"
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{GREY}"/></marker></defs>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n' + "\n".join(elements) + "\n</svg>"
    )


if __name__ == "__main__":
    main()
