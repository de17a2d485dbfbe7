#!/usr/bin/env python3
"""Memory of a training step: by sequence length, and over many steps.

    python3 bench/memory.py lengths NEO [--device flex] [--recipe train/recipes/bench_22m.toml]
    python3 bench/memory.py flat RUN_FOLDER [--warm-up 200]

`lengths` runs `neo bench step` with one row of 1k to 16k tokens, each in a process of its own, and
prints the peak and what it grew by for each thousand tokens: constant when memory is linear.
`flat` reads `metrics.jsonl` of a run (`neo train`, a line for every step) and prints how much the
memory in use grew after the warm-up. Exit code 1 when it is not linear, or not flat.
"""
import argparse
import json
import subprocess
import sys
from pathlib import Path

MIB = 2**20
# Pages, the allocator's reserve and tiles that do not divide: what a straight line is allowed to miss by.
LINEAR_TOLERANCE = 0.15
FLAT_MIB = 1.0


def peak_mib(args, seq_len, recompute):
    settings = {
        "model.max_seq_len": seq_len,
        "batch.seq_len": seq_len,
        "batch.micro_batch_sequences": 1,
        "phase.0.batch_sequences": 1,
        "recompute": recompute,
    }
    command = [args.neo, "bench", "step", "--recipe", args.recipe, "--device", args.device]
    command += ["--steps", "1", "--json"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)["peak_bytes"] / MIB


def lengths(args):
    straight = True
    for recompute in args.recompute:
        print(f"{args.recipe}, {args.device}, recompute {recompute}: peak MiB")
        before, slopes = None, []
        for seq_len in args.seq_lens:
            mib = peak_mib(args, seq_len, recompute)
            slope = ""
            if before:
                slopes.append((mib - before[1]) / (seq_len - before[0]) * 1024)
                slope = f"{slopes[-1]:9.1f} for each 1,024 tokens more"
            print(f"{seq_len:8} {mib:9.0f} {slope}", flush=True)
            before = (seq_len, mib)
        straight &= slopes[-1] <= slopes[-2] * (1 + LINEAR_TOLERANCE)
    print("linear" if straight else "NOT linear")
    return straight


def flat(args):
    lines = (Path(args.folder) / "metrics.jsonl").read_text().splitlines()
    steps = [line for line in map(json.loads, lines) if "eval" not in line]
    after = [(line["step"], line["mem_bytes"] / MIB) for line in steps if line["step"] > args.warm_up]
    first, last = after[0], after[-1]
    highest = max(mib for _, mib in after)
    print(f"step {first[0]}: {first[1]:.2f} MiB, step {last[0]}: {last[1]:.2f} MiB, highest {highest:.2f} MiB")
    print(f"grew by {last[1] - first[1]:+.2f} MiB over {len(after)} steps")
    return last[1] - first[1] < FLAT_MIB


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    kinds = parser.add_subparsers(required=True)
    by_length = kinds.add_parser("lengths", help="peak memory by sequence length")
    by_length.add_argument("neo")
    by_length.add_argument("--device", default="flex")
    by_length.add_argument("--recipe", default="train/recipes/bench_22m.toml")
    by_length.add_argument("--recompute", nargs="+", default=["none", "mlp", "block"])
    by_length.add_argument("--seq-lens", nargs="+", type=int, default=[1024, 2048, 4096, 8192, 16384])
    by_length.set_defaults(run=lengths)
    over_steps = kinds.add_parser("flat", help="growth over a run")
    over_steps.add_argument("folder", metavar="RUN_FOLDER")
    over_steps.add_argument("--warm-up", type=int, default=200)
    over_steps.set_defaults(run=flat)
    args = parser.parse_args()
    sys.exit(0 if args.run(args) else 1)


if __name__ == "__main__":
    main()
