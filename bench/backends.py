#!/usr/bin/env python3
"""The same training steps on several devices: speed, memory, and that the losses are equal.

    python3 bench/backends.py NEO[:DEVICE].. [--recipe train/recipes/bench_22m.toml] [--steps 3]

Each argument is a program and a device of it, such as `target/release/neo:flex`; builds with
different features may be mixed. The first one is what the others are compared with. Exit code 1 when
a loss is more than 1e-4 off, relative, or an operation ran in a slow form.
"""
import argparse
import json
import subprocess
import sys

TOLERANCE = 1e-4


def measure(target, args):
    neo, _, device = target.partition(":")
    command = [neo, "bench", "step", "--recipe", args.recipe, "--device", device or "flex"]
    command += ["--steps", str(args.steps), "--json"]
    for value in args.set:
        command += ["--set", value]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return device, json.loads(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("targets", nargs="+", metavar="NEO:DEVICE")
    parser.add_argument("--recipe", default="train/recipes/bench_22m.toml")
    parser.add_argument("--steps", type=int, default=3, help="timed steps, after three that are not")
    parser.add_argument("--set", action="append", default=[], help="override of the recipe, KEY=VALUE")
    args = parser.parse_args()
    reference, good = None, True
    print(f"{'device':10} {'tokens/s':>9} {'ms/step':>9} {'peak MiB':>9} {'last loss':>10} {'apart':>8} fallbacks")
    for target in args.targets:
        device, found = measure(target, args)
        losses = found["losses"]
        reference = reference or losses
        apart = max(abs(a - b) / abs(b) for a, b in zip(losses, reference, strict=True))
        good &= apart <= TOLERANCE and found["fallbacks"] == 0
        peak = (found["peak_bytes"] or 0) / 2**20
        print(
            f"{device:10} {found['tokens_per_sec']:9.0f} {found['step_ms']:9.0f} {peak:9.0f}"
            f" {losses[-1]:10.5f} {apart:8.1e} {found['fallbacks']}",
            flush=True,
        )
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
