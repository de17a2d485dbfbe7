#!/usr/bin/env python3
"""One long run that is killed once and gone on with, and shows that nothing was lost by it.

    python3 bench/killed_once.py RECIPE --neo NEO --device cuda --out FOLDER --minutes 8 [--set KEY=VALUE ..]

The number of steps is taken from `neo bench step`, so that the run lasts about as long as asked. Half
way through it is ended with SIGKILL, after a checkpoint and well before the next one. That newest
checkpoint is put aside, so that the run goes on from the one before and does the steps between anew:
their losses and gradient norms, and the weights and moments of the checkpoint that is written again,
must be equal bit for bit. No second run is needed. Ends with the loss curve and the held-out bits per
byte; exit code 0 when all is equal, else 1. Needs Python's standard library only.
"""
import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from kill_resume import FINISHED_CHECKPOINT, differences, final_files, last_step, metrics

N_CHECKPOINTS = 10
N_EVALUATIONS = 8
# Of the asked time: the rest goes into evaluations and checkpoints.
TRAINING_SHARE = 0.85


def overrides_of(args):
    return [word for value in args.set for word in ("--set", value)]


def planned_steps(args):
    """Steps that fit into the time, by a short benchmark."""
    command = [args.neo, "bench", "step", "--recipe", args.recipe, "--device", args.device, "--steps", "5", "--json"]
    done = subprocess.run(command + overrides_of(args), stdout=subprocess.PIPE, check=True, text=True)
    return max(int(TRAINING_SHARE * 60 * args.minutes / (json.loads(done.stdout)["step_ms"] / 1e3)), 4 * N_CHECKPOINTS)


def start(args, n_steps):
    lengths = {
        "phase.0.steps": n_steps,
        "phase.0.schedule.total_steps": n_steps,
        "eval.interval_steps": n_steps // N_EVALUATIONS,
        "checkpoint.interval_steps": n_steps // N_CHECKPOINTS,
        "checkpoint.keep": 3,
        "log.interval_steps": 1,
    }
    command = [args.neo, "train", args.recipe, "--out", args.out, "--device", args.device]
    command += ["--max-minutes", str(1.5 * args.minutes)] + overrides_of(args)
    command += [word for key, value in lengths.items() for word in ("--set", f"{key}={value}")]
    return subprocess.Popen(command)


def checkpoints(run):
    folder = run / "checkpoints"
    names = folder.iterdir() if folder.exists() else []
    return sorted(path for path in names if FINISHED_CHECKPOINT.fullmatch(path.name))


def kill_half_way(process, run, n_steps):
    """Ends the run between the checkpoint at half its length and the next one."""
    interval = n_steps // N_CHECKPOINTS
    target = (N_CHECKPOINTS // 2) * interval + interval // 2
    while last_step(run) < target:
        if process.poll() is not None:
            sys.exit(f"training ended by itself with exit code {process.returncode}")
        time.sleep(0.05)
    process.kill()
    process.wait()


def report(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "eval" not in line]
    print("\n| step | tokens | loss | tokens/s |\n| --- | --- | --- | --- |")
    for line in [*steps[:: max(len(steps) // 10, 1)], steps[-1]]:
        print("| {step} | {tokens} | {loss:.4f} | {tokens_per_sec:.0f} |".format(**line))
    print("\n| step | held out |\n| --- | --- |")
    for line in (line for line in lines if "eval" in line):
        print(f"| {line['step']} |", ", ".join(f"{name} {value:.4f}" for name, value in line["eval"].items()), "|")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("--neo", required=True, help="the program")
    parser.add_argument("--device", default="flex")
    parser.add_argument("--set", action="append", default=[], help="override of the recipe, KEY=VALUE")
    parser.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")
    parser.add_argument("--minutes", type=float, default=8)
    args = parser.parse_args()
    n_steps = planned_steps(args)
    begun = time.monotonic()
    kill_half_way(start(args, n_steps), args.out, n_steps)
    before = metrics(args.out)
    aside = args.out.with_name(args.out.name + "-aside") / "checkpoints"
    aside.mkdir(parents=True)
    newest = checkpoints(args.out)[-1]
    newest.rename(aside / newest.name)
    print(f"\nkilled after step {last_step(args.out)}; {newest.name} put aside", flush=True)

    process = start(args, n_steps)
    while not (args.out / "checkpoints" / newest.name).exists():
        if process.poll() is not None:
            sys.exit(f"training ended by itself with exit code {process.returncode}")
        time.sleep(0.05)
    wrong_files = differences(final_files(aside.parent), final_files(args.out))
    if process.wait() != 0:
        sys.exit(f"training ended with exit code {process.returncode}")
    after = metrics(args.out)
    n_before = int(newest.name.removeprefix("step-")) - n_steps // N_CHECKPOINTS
    done_twice = [key for key in before if key[0] > n_before]
    wrong_lines = [key for key in before if before[key] != after.get(key)]
    report(args.out)
    print(f"\n{n_steps} steps in {(time.monotonic() - begun) / 60:.1f} minutes, killed once")
    print(f"{len(before)} lines of metrics.jsonl from before the kill, {len(done_twice)} done twice: {len(wrong_lines)} different {wrong_lines[:5]}")
    print(f"checkpoint {newest.name} written twice: {'equal' if not wrong_files else f'different {wrong_files}'}")
    sys.exit(1 if wrong_lines or wrong_files else 0)


if __name__ == "__main__":
    main()
