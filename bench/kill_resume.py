#!/usr/bin/env python3
"""Kills a training run again and again and shows that resuming loses nothing.

One run goes through undisturbed. A second one of the same recipe is ended with SIGKILL twenty times
at random moments, five of them while a checkpoint is being written, and resumed each time. The
losses in `metrics.jsonl` and the final weights must be equal bit for bit. Then the same batch is
split into 1 x 8, 2 x 4 and 8 x 1 rows: losses within 1e-6 at step 1 and 1e-4 at step 200.

    python3 bench/kill_resume.py --neo target/release/neo --corpus out/demo/corpus

Needs Python's standard library only. Exit code 0 when everything is equal, else 1.
"""

import argparse
import hashlib
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = 400
CHECKPOINT_INTERVAL = 25
BATCH_ROWS = 8
SPLIT_STEPS = 200
SPLITS = {"1x8": 8, "2x4": 4, "8x1": 1}  # micro-batches x rows -> rows of a micro-batch
FINISHED_CHECKPOINT = re.compile(r"step-\d{8}")
UNFINISHED_CHECKPOINT = re.compile(r"\.step-\d{8}\.partial")
# Lines differ between runs in these keys: they tell time, not numbers.
TIMINGS = {"tokens_per_sec", "mfu", "step_ms", "mem_bytes", "eta_secs", "eval_ms"}
PATIENCE_SECS = 600

RECIPE = """\
name = "kill-resume"
seed = 7
precision = "f32"
recompute = "none"
attention_span = "document"

[model]
vocab_size = {vocab_size}
n_layers = 2
d_model = 64
n_heads = 4
n_kv_heads = 2
head_dim = 16
d_ff = 128
max_seq_len = 64
rope_base = 10000.0
norm_eps = 1e-5
init_std = 0.02

[data]
corpus = "{corpus}"
order = "neo"

[batch]
seq_len = 64
micro_batch_sequences = {micro_batch_sequences}

[optimizer]
beta1 = 0.9
beta2 = 0.95
eps = 1e-8
weight_decay = 0.1
clip_norm = 1.0
moments = "f32"
z_loss = 0.0

[[phase]]
name = "fundamental"
steps = {first_steps}
batch_sequences = {batch_sequences}
optimizer_state = "fresh"
mixture = {{ {mixture} }}
[phase.schedule]
kind = "cosine"
peak_lr = 3e-3
min_lr = 3e-4
warmup_steps = 10
warmup_from_lr = 0.0
total_steps = {first_steps}

[[phase]]
name = "decay"
steps = {second_steps}
batch_sequences = {batch_sequences}
optimizer_state = "fresh"
mixture = {{ {mixture} }}
[phase.schedule]
kind = "exponential"
peak_lr = 3e-4
min_lr = 3e-5
half_life_steps = 20.0

[eval]
interval_steps = 100
max_tokens = 2000

[checkpoint]
interval_steps = {checkpoint_interval}
keep = 3

[log]
interval_steps = 1
"""


def write_recipe(path, corpus, steps, micro_batch_sequences):
    manifest = json.loads((corpus / "corpus.json").read_text())
    sources = sorted({source["name"] for source in manifest["sources"]})
    vocab_size = -(-manifest["vocab_size"] // 128) * 128
    path.write_text(
        RECIPE.format(
            vocab_size=vocab_size,
            corpus=corpus,
            micro_batch_sequences=micro_batch_sequences,
            batch_sequences=BATCH_ROWS,
            mixture=", ".join(f'"{name}" = 1.0' for name in sources),
            first_steps=steps * 3 // 4,
            second_steps=steps - steps * 3 // 4,
            checkpoint_interval=CHECKPOINT_INTERVAL,
        )
    )


def start(args, recipe, run, log):
    command = [args.neo, "train", recipe, "--out", run, "--resume", "auto"]
    command += ["--device", args.device]
    command += [word for value in args.set for word in ("--set", value)]
    return subprocess.Popen([str(word) for word in command], stdout=log, stderr=log)


def train_to_the_end(args, recipe, run, log):
    code = start(args, recipe, run, log).wait()
    if code != 0:
        sys.exit(f"training {recipe} ended with exit code {code}, see {log.name}")


def metrics(run):
    """The training lines of `metrics.jsonl` by step, without what tells time; a step twice is an error."""
    lines = {}
    path = run / "metrics.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            record = json.loads(line)
        except ValueError:
            continue  # the line that a SIGKILL cut; the comparison at the end has none
        kind = "eval" if "eval" in record else "train"
        key = (record["step"], kind)
        if key in lines:
            sys.exit(f"{path} has step {key[0]} ({kind}) twice")
        lines[key] = {name: value for name, value in record.items() if name not in TIMINGS}
    return lines


def last_step(run):
    """The newest step in `metrics.jsonl`, also while the run writes it."""
    path = run / "metrics.jsonl"
    text = path.read_text(errors="replace") if path.exists() else ""
    return max((int(step) for step in re.findall(r'^\{"step":\s*(\d+)', text, re.M)), default=0)


def checkpoint_in_writing(run):
    """The folder of a checkpoint that has not got its final name yet."""
    try:
        with os.scandir(run / "checkpoints") as entries:
            unfinished = [e.name for e in entries if UNFINISHED_CHECKPOINT.fullmatch(e.name)]
    except FileNotFoundError:
        return None
    return unfinished[0] if unfinished else None


def wait_until(process, happened):
    deadline = time.monotonic() + PATIENCE_SECS
    while time.monotonic() < deadline:
        if happened():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.001)
    sys.exit("training does not come on")


def kill(process):
    process.kill()
    process.wait()


def kill_at_random(args, recipe, run, log, target_step, chance):
    """Kills somewhere past `target_step`, and past all that the legs before it have reached."""
    target_step = max(target_step, last_step(run) + 1)
    process = start(args, recipe, run, log)
    if not wait_until(process, lambda: last_step(run) >= target_step):
        return None
    time.sleep(chance.random() * 0.05)
    alive = process.poll() is None
    kill(process)
    return f"after step {last_step(run)}" if alive else None


def kill_inside_checkpoint(args, recipe, run, log, target_step, chance):
    """Kills while a checkpoint is being written; tries the next checkpoint when it was too late."""
    process = start(args, recipe, run, log)
    if not wait_until(process, lambda: last_step(run) >= target_step):
        return None
    before = checkpoint_in_writing(run)
    while wait_until(process, lambda: checkpoint_in_writing(run) not in (None, before)):
        time.sleep(chance.random() * 0.002)
        kill(process)
        name = checkpoint_in_writing(run)
        if name is not None:
            return f"inside {name}"
        process = start(args, recipe, run, log)
    return None


def interrupted_run(args, recipe, run, log, chance):
    """Twenty kills in the order of their steps; the last leg runs to the end."""
    moments = sorted(chance.sample(range(5, STEPS - 30), args.kills))
    inside = set(chance.sample(range(args.kills), args.kills_inside))
    counts = {"random": 0, "inside": 0}
    for index, target_step in enumerate(moments):
        kind = "inside" if index in inside else "random"
        strike = kill_inside_checkpoint if kind == "inside" else kill_at_random
        where = strike(args, recipe, run, log, target_step, chance)
        if where is None:
            sys.exit(f"kill {index + 1} came too late: the run had ended")
        counts[kind] += 1
        print(f"kill {index + 1:2}: {where}", flush=True)
    train_to_the_end(args, recipe, run, log)
    return counts


def final_files(run):
    """SHA-256 of every weight and optimizer file of the last checkpoint."""
    last = max(p for p in (run / "checkpoints").iterdir() if FINISHED_CHECKPOINT.fullmatch(p.name))
    files = sorted(last.glob("*.safetensors"))
    if not any(path.name.startswith("model") for path in files):
        sys.exit(f"{last} holds no weights")
    return {f"{last.name}/{p.name}": hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def differences(expected, found):
    keys = sorted(expected.keys() | found.keys())
    return [key for key in keys if expected.get(key) != found.get(key)]


def check_resume(args, folder, log, chance):
    recipe = folder / "recipe.toml"
    write_recipe(recipe, args.corpus, STEPS, BATCH_ROWS // 2)
    whole, cut = folder / "uninterrupted", folder / "interrupted"
    train_to_the_end(args, recipe, whole, log)
    counts = interrupted_run(args, recipe, cut, log, chance)
    lines = metrics(whole)
    n_steps = sum(kind == "train" for _, kind in lines)
    if n_steps != STEPS:
        sys.exit(f"expected {STEPS} lines of training in metrics.jsonl, found {n_steps}")
    wrong_lines = differences(lines, metrics(cut))
    wrong_files = differences(final_files(whole), final_files(cut))
    print(f"{counts['random']} kills at random moments, {counts['inside']} inside a checkpoint")
    print(f"metrics.jsonl: {len(lines)} lines, {len(wrong_lines)} different {wrong_lines[:5]}")
    print(f"final weights: {'equal' if not wrong_files else f'different {wrong_files}'}")
    return not wrong_lines and not wrong_files


def check_splits(args, folder, log):
    losses = {}
    for name, rows in SPLITS.items():
        recipe, run = folder / f"split-{name}.toml", folder / f"split-{name}"
        write_recipe(recipe, args.corpus, SPLIT_STEPS, rows)
        train_to_the_end(args, recipe, run, log)
        losses[name] = {
            step: line["loss"] for (step, kind), line in metrics(run).items() if kind == "train"
        }
    reference = losses["1x8"]
    good = True
    for name, found in losses.items():
        for step, tolerance in ((1, 1e-6), (SPLIT_STEPS, 1e-4)):
            off = abs(found[step] - reference[step]) / abs(reference[step])
            good &= off <= tolerance
            print(f"{name}: step {step:3} loss {found[step]:.7f}, off by {off:.1e} (allowed {tolerance:.0e})")
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--neo", type=Path, required=True, help="the program")
    parser.add_argument("--corpus", type=Path, required=True, help="folder with corpus.json")
    parser.add_argument("--device", default="flex")
    parser.add_argument("--set", action="append", default=[], help="override of the recipe, KEY=VALUE")
    parser.add_argument("--out", type=Path, help="an empty folder to work in (default: a temporary one)")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--kills-inside", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which it kills")
    args = parser.parse_args()
    args.neo, args.corpus = args.neo.resolve(), args.corpus.resolve()
    folder = args.out or Path(tempfile.mkdtemp(prefix="kill-resume-"))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("w") as log:
        resumed = check_resume(args, folder, log, random.Random(args.seed))
        split = check_splits(args, folder, log)
    print("equal" if resumed and split else f"NOT equal, see {folder}")
    sys.exit(0 if resumed and split else 1)


if __name__ == "__main__":
    main()
