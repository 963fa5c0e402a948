#!/usr/bin/env python3
"""Draws docs/images/training-step.svg: one training step of four ranks, in one image.

Needs nothing but Python's standard library. Regenerate:

    docs/images/training_step.py >docs/images/training-step.svg
"""

RANK_FILL = ["#bee3f8", "#c6f6d5", "#fefcbf", "#fed7d7"]
RANK_LINE = ["#3182ce", "#38a169", "#b7791f", "#c53030"]
INK, GREY, PALE = "#1a202c", "#4a5568", "#edf2f7"
BUCKET_FILL = ["#e9d8fd", "#d6bcfa", "#b794f4", "#9f7aea"]
WIDTH, HEIGHT = 1040, 700

elements = []


def box(x, y, width, height, text="", fill=PALE, line=GREY, size=12, bold=False, dashed=False):
    """Adds a rectangle with centred lines of text."""
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    elements.append(
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" '
        f'fill="{fill}" stroke="{line}"{dash}/>'
    )
    lines = text.split("\n") if text else []
    for i, content in enumerate(lines):
        middle = y + height / 2 + (i - (len(lines) - 1) / 2) * (size + 2) + size * 0.35
        label(x + width / 2, middle, content, size, "middle", bold)


def label(x, y, text, size=12, anchor="start", bold=False, colour=INK):
    """Adds one line of text."""
    weight = ' font-weight="bold"' if bold else ""
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    elements.append(
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{colour}"{weight}>{text}</text>'
    )


def line(points, colour=GREY, arrow=True, dashed=False, width=1.3):
    """Adds a polyline, with an arrow head at its end unless told otherwise."""
    path = " ".join(f"{x:g},{y:g}" for x, y in points)
    head = ' marker-end="url(#arrow)"' if arrow else ""
    dash = ' stroke-dasharray="4 3"' if dashed else ""
    elements.append(
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{head}{dash}/>'
    )


def heading(x, y, number, text):
    """Adds the title of one section of the image."""
    label(x, y, f"{number}  {text}", 15, bold=True)


def draw_batch(x, y):
    """Batch to microbatches to ranks."""
    heading(x, y, 1, "Who computes which images")
    width, cell = 440, 55
    box(x, y + 16, width, 26, "global batch: 64 images of step s, in the order of the sampler")
    for m in range(8):
        left = x + m * cell
        line([(left + cell / 2, y + 42), (left + cell / 2, y + 60)])
        rank = m // 2
        box(left + 3, y + 62, cell - 6, 28, f"mb {m}", RANK_FILL[rank], RANK_LINE[rank])
    for rank in range(4):
        left = x + rank * 2 * cell
        line([(left + cell, y + 92), (left + cell, y + 108)])
        box(left + 3, y + 110, 2 * cell - 6, 28, f"rank {rank}", RANK_FILL[rank], RANK_LINE[rank], bold=True)
    label(x, y + 160, "A microbatch (mb) has 8 images. Each rank owns consecutive microbatches;", colour=GREY)
    label(x, y + 176, "its threads take one or several of them as one work item.", colour=GREY)


def draw_tree(x, y):
    """The fixed tree of additions."""
    heading(x, y, 2, "Who adds what, in which order")
    cell = 58
    top, step = y + 16, 45
    centre = lambda level, index: x + cell * (index + 0.5) * 2**level
    names = [["0", "1", "2", "3", "4", "5", "6", "7"], ["0+1", "2+3", "4+5", "6+7"],
             ["(0+1)+(2+3)", "(4+5)+(6+7)"], ["((0+1)+(2+3)) + ((4+5)+(6+7))"]]
    widths = [30, 56, 108, 240]
    bottom = lambda level: top + (3 - level) * step
    for level in range(3):
        for index in range(8 >> level):
            line([(centre(level, index), bottom(level)), (centre(level + 1, index // 2), bottom(level + 1) + 26)],
                 arrow=False)
    for level in range(4):
        for index in range(8 >> level):
            fill, ink = PALE, GREY
            if level < 2:
                rank = index * 2**level // 2
                fill, ink = RANK_FILL[rank], RANK_LINE[rank]
            box(centre(level, index) - widths[level] / 2, bottom(level), widths[level], 26, names[level][index],
                fill, ink, size=11)
    label(x, y + 200, "Coloured: a rank adds its own subtrees (partial sums). Grey: the owner of the", colour=GREY)
    label(x, y + 216, "shard adds the rest. The tree never changes, so neither do the bits.", colour=GREY)


def draw_passes(left, y):
    """Forward pass, backward pass and the next forward pass; returns where each of their layers begins and ends."""
    forward = [("stem", 32), ("group 0", 46), ("group 1", 46), ("group 2", 46), ("head", 36)]
    backward = [("head", 40), ("group 2", 112), ("group 1", 92), ("group 0", 82), ("stem", 36)]
    passes = []
    for names, at, fill, ink in [
        (forward, left, "#ebf8ff", "#2b6cb0"), (backward, left + 232, "#fffaf0", "#c05621"),
        (forward[:3], left + 734, "#ebf8ff", "#2b6cb0"),
    ]:
        layers = []
        for i, (name, width) in enumerate(names):
            box(at, y, width, 34, name, fill, ink, size=11)
            if i < 4:
                elements.append(f'<circle cx="{at + width + 2:g}" cy="{y - 8:g}" r="4" fill="{ink}"/>')
            layers.append((at, at + width))
            at += width + 4
        passes.append(layers)
    label(passes[2][-1][1] + 8, y + 20, "…", 16)
    return passes


def draw_timeline(x, y):
    """One rank's step along time: computing above, messages below."""
    heading(x, y, 3, "One step of one rank, along time")
    left = x + 112
    compute, scatter, update, gather = y + 80, y + 146, y + 196, y + 246
    for top, text in [(compute, "compute"), (scatter, "reduce-scatter"), (update, "Adam on the shard"),
                      (gather, "all-gather")]:
        label(x, top + 20, text, 12, bold=True)
    for top in (scatter, update, gather):
        line([(left, top - 8), (WIDTH - x, top - 8)], "#cbd5e0", arrow=False, width=0.8)

    forward, backward, following = draw_passes(left, compute)
    for layers, name, note, colour in [
        (forward, "forward pass", "SyncBN: all-reduce of Σx, Σx² per layer", "#2b6cb0"),
        (backward, "backward pass", "SyncBN: all-reduce of Σg, Σg·(x − mean) per layer", "#c05621"),
        (following, "next forward pass", "", "#2b6cb0"),
    ]:
        label(layers[0][0], compute - 38, name, 13, bold=True)
        if note:
            label(layers[0][0], compute - 22, f"● {note}", 11, colour=colour)

    # Left edges of each bucket's reduce-scatter; the gradients of the last bucket are ready when backward ends.
    start = backward[0][0]
    ready = [start + 74, start + 204, start + 310, backward[-1][1] + 6]
    gathers = [ready[0] + 92, ready[1] + 92, ready[3] + 54, ready[3] + 92]
    for bucket in range(4):
        at, fill, ink = ready[bucket], BUCKET_FILL[bucket], "#6b46c1"
        line([(at + 8, compute + 34), (at + 8, scatter)] if bucket < 3
             else [(at - 12, compute + 34), (at - 12, scatter + 17), (at, scatter + 17)])
        box(at, scatter, 46, 34, f"bucket\n{bucket}", fill, ink, size=10)
        line([(at + 30, scatter + 34), (at + 30, update + 14), (at + 50, update + 14)])
        box(at + 50, update, 36, 28, "Adam", "#c6f6d5", "#38a169", size=10)
        low = gather + (40 if bucket == 2 else 0)
        middle = at + 80
        if bucket == 2:
            line([(at + 60, update + 28), (at + 60, low + 17), (gathers[bucket], low + 17)], dashed=True)
        else:
            line([(middle, update + 28), (middle, gather + 17), (gathers[bucket], gather + 17)])
        box(gathers[bucket], low, 46, 34, f"bucket\n{bucket}", fill, ink, size=10)
    label(ready[2] + 52, gather + 61, "queued until bucket 3's reduce-scatter is complete", 11, "end", colour=GREY)

    # What the next forward pass waits for.
    stem, group1 = following[0][0] + 16, following[2][0] + 23
    line([(gathers[3] + 46, gather + 17), (stem + 12, gather + 17), (stem + 12, compute + 34)])
    line([(gathers[2] + 46, gather + 57), (group1, gather + 57), (group1, compute + 34)])

    notes = [
        ("reduce-scatter", "Each rank sends the others their shards of its partial sums; the owner of a shard "
         "finishes the tree for it."),
        ("Adam", "Only the owner updates a shard, and only it keeps the shard's m and v (ZeRO-1)."),
        ("all-gather", "The owner sends the new parameters to all ranks. A layer of the next forward pass waits for "
         "its own parameters only."),
    ]
    for i, (name, text) in enumerate(notes):
        label(x, gather + 112 + 18 * i, name, 12, bold=True, colour=GREY)
        label(left, gather + 112 + 18 * i, text, 12, colour=GREY)


def main():
    """Writes the image to standard output."""
    draw_batch(30, 36)
    draw_tree(540, 36)
    draw_timeline(30, 284)
    print(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="Helvetica, Arial, sans-serif">\n'
        f'<title>One training step of four ranks</title>\n'
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{GREY}"/></marker></defs>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n' + "\n".join(elements) + "\n</svg>"
    )


if __name__ == "__main__":
    main()
