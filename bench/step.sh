#!/usr/bin/env bash
# neo's training step against PyTorch's on this machine's CPU, in alternating rounds:
#     bench/step.sh NEO PYTHON [RECIPE..]
# NEO is the program, PYTHON an interpreter with torch 2.9. Prints every figure and the ratio of the
# medians. Nothing else may run beside it: OpenMP collapses when it shares its cores.
set -euo pipefail
cd "$(dirname "$0")/.."
neo="$1" python="$2"
shift 2
recipes=("$@")
[[ ${#recipes[@]} -gt 0 ]] || recipes=(train/recipes/bench_22m.toml train/recipes/bench_110m.toml)
rounds="${ROUNDS:-2}" steps="${STEPS:-8}" threads="${THREADS:-$(nproc)}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

for recipe in "${recipes[@]}"; do
    rm -f "$folder"/*
    for round in $(seq "$rounds"); do
        RAYON_NUM_THREADS="$threads" "$neo" bench step --recipe "$recipe" --device flex \
            --steps "$steps" --json > "$folder/neo-$round.json"
        "$python" bench/torch_step.py "$recipe" --steps $((steps + 3)) --threads "$threads" \
            --json "$folder/torch-$round.json" > /dev/null
    done
    "$python" - "$recipe" "$folder" "$rounds" <<'END'
import json
import statistics
import sys

recipe, folder, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
read = lambda kind: [json.load(open(f"{folder}/{kind}-{r + 1}.json")) for r in range(rounds)]
ours, theirs = read("neo"), read("torch")
rate = statistics.median(r["matrix_tflops"] for r in ours)
flops = ours[0]["tflops"] * 1e12 / ours[0]["tokens_per_sec"]
print(f"{recipe}: {ours[0]['parameters']:,} parameters, matrix rate {1e3 * rate:.0f} GFLOP/s")


def show(name, speeds, mib):
    speed = statistics.median(speeds)
    share = speed * flops / (rate * 1e12)
    listed = ", ".join(f"{s:.0f}" for s in speeds)
    print(f"  {name:22} {speed:7.0f} tokens/s ({listed})  {share:5.1%} of the rate  {mib:6.0f} MiB")
    return speed


mib = max(r["peak_bytes"] for r in ours) / 2**20
speed = show("neo flex", [r["tokens_per_sec"] for r in ours], mib)
others = []
for mode in theirs[0]:
    runs = [next(m for m in round if m["mode"] == mode["mode"]) for round in theirs]
    speeds = [run["tokens_per_sec"] for run in runs]
    others.append(show("torch " + mode["mode"], speeds, max(run["peak_mib"] for run in runs)))
print(f"  neo / best torch: {speed / max(others):.2f}")
END
done
