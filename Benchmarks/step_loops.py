"""The loops of a training step, measured on one thread, for simulate_threads."""

import collections
import json
import math
import os
import statistics
import tempfile

import measurement
import thread_model
from thread_model import Loop, Step

# The images of a measured step; layouts have microbatches of as many images as a measured one.
IMAGES = 64
WARM_UP = 3
# The fewest elements per work item of sums of gradients and of updates, and the most items (WorkDivision).
ITEM_SIZE = 2_048
ITEM_LIMIT = 128
ITEM_UNIT = 512
# Bytes per parameter of an update: reads and writes of the parameter and of Adam's two states, and a read of the gradient.
UPDATE_BYTES = 28
# A larger packed weight is read from memory for each tile block (TiledPlan).
CACHED_WEIGHT = 4 << 20


class MeasuredModel:
    """The measurements of one widen factor."""

    def __init__(self, k: str, steps: int, repetitions: int, item_size: int = ITEM_SIZE) -> None:
        self.k, self.steps, self.repetitions, self.item_size = k, steps, repetitions, item_size
        self.phase_reports: dict[tuple[int, int], dict] = {}
        self.traces: dict[int, dict] = {}
        self.limits: list[dict] = []
        self.contentions: list[float] = []

    def phases(self, images: int, threads: int) -> dict:
        """Measures the convolutions with microbatches of some images, in the work items of a number of threads."""
        key = (images, threads)
        if key not in self.phase_reports:
            words = [measurement.PROGRAM, "benchmark", "convolution", "--phases", "--widen-factor", self.k, "--batch-size", str(IMAGES),
                     "--microbatches", str(IMAGES // images), "--items-for", str(threads), "--repetitions", str(self.repetitions), "--json"]
            report = measurement.json_line(measurement.run(words))
            passes: dict = collections.defaultdict(lambda: {"seconds": 0.0, "packing": 0.0, "bytes": 0.0})
            limits = report["limits"][0]
            for phase in report["phases"]:
                if phase["threads"] == 1:
                    total = passes[phase["shape"], phase["pass"]]
                    total["packing" if phase["phase"] == "packing" else "seconds"] += phase["milliseconds"] / 1e3
                    if phase["limit"] == "memory":
                        total["bytes"] += phase["milliseconds"] * phase["bound_share"] * limits["memory_gigabytes_per_second"] * 1e6
            self.phase_reports[key] = {**report, "passes": passes}
        return self.phase_reports[key]

    def measure_limits(self) -> None:
        """Measures what one and two threads share: the limits, and the convolutions of both threads at the same time."""
        words = [measurement.PROGRAM, "benchmark", "convolution", "--phases", "--widen-factor", self.k, "--batch-size", str(IMAGES),
                 "--threads", "2", "--repetitions", str(self.repetitions), "--json"]
        report = measurement.json_line(measurement.run(words))
        times = {1: 0.0, 2: 0.0}
        for phase in report["phases"]:
            if phase["shape"] == "all of a step" and phase["phase"] != "packing":
                times[phase["threads"]] += phase["milliseconds"]
        self.limits = report["limits"]
        self.contentions.append(times[2] / times[1])

    def trace(self, images: int, again: bool = False) -> dict:
        """Measures every loop of a step on one thread, with microbatches of some images."""
        if images not in self.traces or again:
            with tempfile.TemporaryDirectory() as directory:
                path = os.path.join(directory, "trace.json")
                measurement.run([
                    measurement.PROGRAM, "train", "--data", "synthetic", "--widen-factor", self.k, "--batch-size", str(IMAGES),
                    "--microbatches", str(IMAGES // images), "--threads", "1", "--steps", str(self.steps + WARM_UP), "--eval-every", "0",
                    "--output-dir", os.path.join(directory, "run"), "--trace", path])
                with open(path, encoding="utf-8") as file:
                    self.traces[images] = loop_times(json.load(file)["traceEvents"])
        return self.traces[images]

    def serial(self, images: int) -> float:
        """Returns the time of a measured step outside of its loops, without the packing of weights."""
        report = self.phases(images, 1)
        packing = sum(
            report["passes"][layer["shape"], name]["packing"]
            for layer in report["layers"] for name in ("forward", "backward") if layer["name"] != "stem" or name == "forward")
        return max(0.0, self.trace(images)["other"] - packing)

    def item_count(self, elements: float) -> int:
        """Returns the work items of sums and updates of some elements."""
        return math.ceil(elements / max(self.item_size, ITEM_UNIT * math.ceil(elements / ITEM_LIMIT / ITEM_UNIT)))

    def step(self, batch: int, microbatches: int, threads: int, ranks: int = 1) -> Step:
        """Returns the loops of one rank's step."""
        images, local = batch // microbatches, microbatches // ranks
        trace, measured = self.trace(images), IMAGES // images
        # As many microbatches per worker as in the layout, so that work items cover equally many.
        workers = max(1, measured // math.ceil(local / threads))
        one, many = self.phases(images, 1), self.phases(images, workers)
        loops = []
        for layer, divided in zip(one["layers"], many["layers"]):
            per_item = math.ceil(measured / divided["work_items"])
            count = math.ceil(local / per_item)
            packed = 4 * layer["packed_weights"]
            streamed = packed * math.ceil(per_item * images / layer["preferred_images"]) if packed > CACHED_WEIGHT else 0
            for name in ("forward", "backward"):
                key = layer["shape"], name
                is_same = divided["work_items"] == layer["work_items"]
                slower = 1 if is_same else many["passes"][key]["seconds"] / one["passes"][key]["seconds"]
                seconds = trace["loops"][f"{name} {layer['name']}"] / measured * slower * local / count
                byte_count = one["passes"][key]["bytes"] / measured * per_item + streamed
                if name == "backward":
                    byte_count += 4 * layer["parameters"] * per_item
                loops.append(Loop(thread_model.MICROBATCHES, count, seconds, byte_count))
                packing = one["passes"][key]["packing"]
                if layer["packing_tasks"] > 0 and (layer["name"] != "stem" or name == "forward"):
                    tasks = layer["packing_tasks"]
                    loops.append(Loop(thread_model.PARAMETERS, tasks, packing / tasks, 4 * layer["parameters"] / tasks))
            added, measured_added = addends(local, per_item), addends(measured, math.ceil(measured / layer["work_items"]))
            if added > 1:
                items = self.item_count(layer["parameters"])
                seconds = trace["sums"].get(layer["name"], 0.0) * (added - 1) / max(1, measured_added - 1)
                byte_count = 4 * layer["parameters"] * (added + 1)
                loops.append(Loop(thread_model.PARAMETERS, items, seconds / items, byte_count / items))
        if local > 1 and measured > 1:
            seconds = trace["sums"].get("head", 0.0) * (local - 1) / (measured - 1)
            loops.append(Loop(thread_model.PARAMETERS, 1, seconds, 0.0))
        for name in ("forward head", "backward head"):
            loops.append(Loop(thread_model.MICROBATCHES, local, trace["loops"][name] / measured, 0.0))
        total = sum(layer["parameters"] for layer in one["layers"])
        for seconds in trace["updates"]:
            # A bucket has a share of the parameters like that of its time, and a rank updates its shard of it.
            elements = total * seconds / sum(trace["updates"]) / ranks
            items = self.item_count(elements)
            loops.append(Loop(thread_model.PARAMETERS, items, seconds / ranks / items, UPDATE_BYTES * elements / items))
        norms = 1 + sum("conv" in layer["name"] for layer in one["layers"])
        return Step(loops, self.serial_fit(local), 2 * norms, 4 * total)

    def serial_fit(self, microbatches: int) -> float:
        """Returns the serial work for a number of microbatches, on the line through those measured."""
        points = [(IMAGES // images, self.serial(images)) for images in self.traces]
        if len(points) == 1:
            return points[0][1]
        line = statistics.linear_regression([x for x, _ in points], [y for _, y in points])
        return max(0.0, line.intercept + line.slope * microbatches)

    @property
    def contention(self) -> float:
        """The time of all convolutions while another thread computes as many, relative to that alone."""
        return max(1.0, statistics.median(self.contentions))

    @property
    def jitter(self) -> float:
        """The spread of an item's time: that of a loop of eight items, times the root of eight, as if they were independent."""
        return self.trace(8)["spread"] * math.sqrt(IMAGES // 8)


def addends(microbatches: int, per_item: int) -> int:
    """Returns how many gradients the sum of a layer reads: a work item of an even number has summed its pairs."""
    return math.ceil(microbatches / 2) if per_item % 2 == 0 else microbatches


def loop_times(events: list[dict]) -> dict:
    """Returns the medians of a trace of one thread: seconds per loop, and of the rest of a step."""
    steps: dict[int, list[dict]] = collections.defaultdict(list)
    for event in events:
        if event.get("ph") == "X" and event["tid"] == 0:
            steps[event["args"]["step"]].append(event)
    samples: dict = collections.defaultdict(list)
    for number, spans in steps.items():
        if number <= WARM_UP:
            continue
        spans.sort(key=lambda span: span["ts"])
        layer, updates, known = "", 0, 0.0
        for span in spans:
            name, seconds = span["name"], span["dur"] / 1e6
            if name == "step":
                samples["step"].append(seconds)
                continue
            if name.startswith("backward "):
                layer = name.removeprefix("backward ")
            if name == "add microbatches":
                name = f"add {layer}"
            elif name == "update":
                updates += 1
                name = f"update {updates}"
            elif not name.startswith(("forward ", "backward ")):
                continue
            known += seconds
            samples[name].append(seconds)
        samples["other"].append(samples["step"][-1] - known)
    medians = {name: statistics.median(values) for name, values in samples.items()}
    loops = {name: medians[name] for name in samples if name.startswith(("forward ", "backward "))}
    return {
        "loops": loops, "step": medians["step"], "other": medians["other"],
        "sums": {name.removeprefix("add "): medians[name] for name in samples if name.startswith("add ")},
        "updates": [medians[name] for name in samples if name.startswith("update ")],
        "spread": relative_spread([samples[name] for name in loops if not name.endswith("head")])}


def relative_spread(loops: list[list[float]]) -> float:
    """Returns the standard deviation of a loop's time relative to its median, without what all loops of a step have in common.

    It is that of normal numbers with the same quartiles.
    """
    relative = [[seconds / statistics.median(values) for seconds in values] for values in loops]
    common = [statistics.median(step) for step in zip(*relative)]
    low, _, high = statistics.quantiles([value / step for values in relative for value, step in zip(values, common)], n=4)
    return (high - low) / 1.349
