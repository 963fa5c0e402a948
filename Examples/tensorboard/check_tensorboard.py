#!/usr/bin/env python3
"""Opens a run in the real TensorBoard and compares its values with metrics.jsonl.

    pip install tensorboard
    Examples/tensorboard/check_tensorboard.py RUN [--picture PAGE.png]

RUN is an output directory of `wrn-dist train`. Starts TensorBoard on a free port, requests all scalar tags and values as its page does,
compares every evaluation and every report with metrics.jsonl, and exits with 1 if one differs. With --picture it also saves a screenshot
of the page by headless Chromium (the package chromium).
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request

TAGS = {
    "train": {
        "metrics/CrossEntropyLoss", "training/learning_rate", "training/steps per second", "training/gradients_l2",
        "training/weights_l2", "training/loss",
    },
    "eval": {"metrics/CrossEntropyLoss", "metrics/Accuracy"},
}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def request(address: str, path: str, **query):
    with urllib.request.urlopen(f"{address}/data/plugin/{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return json.load(answer)


def wait_for_runs(address: str) -> dict:
    for _ in range(120):
        try:
            tags = request(address, "scalars/tags")
            if {"train", "eval"} <= tags.keys():
                return tags
        except OSError:
            pass
        time.sleep(0.5)
    sys.exit("TensorBoard did not show the runs train and eval within a minute")


def check(address: str, run: str) -> int:
    """Compares all tags and values; returns the number of compared values."""
    tags = wait_for_runs(address)
    for name, expected in TAGS.items():
        if set(tags[name]) != expected:
            sys.exit(f"{name} has the tags {sorted(tags[name])}, not {sorted(expected)}")
    if "configuration" not in str(request(address, "text/tags")):
        sys.exit("the text plugin does not show the configuration")
    with open(os.path.join(run, "metrics.jsonl")) as file:
        lines = [json.loads(line) for line in file]
    train = {line["step"]: line for line in lines if line["kind"] == "train"}
    evals = {line["step"]: line for line in lines if line["kind"] == "eval"}
    compared = 0

    def compare(name: str, tag: str, expected) -> None:
        nonlocal compared
        for _, step, value in request(address, "scalars/scalars", run=name, tag=tag):
            if abs(value - expected(step)) > 1e-6 * abs(expected(step)):
                sys.exit(f"{name}, {tag}, step {step}: TensorBoard shows {value}, metrics.jsonl has {expected(step)}")
            compared += 1

    compare("eval", "metrics/CrossEntropyLoss", lambda step: evals[step]["loss"])
    compare("eval", "metrics/Accuracy", lambda step: evals[step]["accuracy"])
    compare("train", "training/gradients_l2", lambda step: train[step]["gradient_norm"])
    compare("train", "training/learning_rate", lambda step: train[step]["learning_rate"])
    reports = [step for _, step, _ in request(address, "scalars/scalars", run="train", tag="training/loss")]
    windows = dict(zip(reports, [0] + reports))

    def window_mean(step: int) -> float:
        losses = [train[s]["loss"] for s in range(windows[step] + 1, step + 1)]
        return sum(losses) / len(losses)

    compare("train", "metrics/CrossEntropyLoss", window_mean)
    return compared


def save_screenshot(address: str, path: str) -> None:
    browser = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit("Chromium is not installed; install the package chromium")
    subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1500,1100",
         "--virtual-time-budget=20000", f"--screenshot={os.path.abspath(path)}", f"{address}/#scalars&_smoothingWeight=0"],
        check=True, capture_output=True, timeout=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--picture", dest="screenshot")
    arguments = parser.parse_args()
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "tensorboard.main", "--logdir", arguments.run, "--port", str(port), "--host", "127.0.0.1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        compared = check(address, arguments.run)
        if arguments.screenshot:
            save_screenshot(address, arguments.screenshot)
    finally:
        server.terminate()
    print(f"TensorBoard shows all tags; {compared} values agree with metrics.jsonl")


if __name__ == "__main__":
    main()
