#!/usr/bin/env python3
"""The tables of `bench/cuda.sh`, from what its stages measured.

    python3 bench/cuda_tables.py speed FOLDER ROW..           neo beside PyTorch, as a Markdown table
    python3 bench/cuda_tables.py losses RUN RUN=TOLERANCE..   how far losses lie from the first run's
    python3 bench/cuda_tables.py peak RUN PLAN.json           highest memory of a run and the plan's

Exit code 1 when a loss is beyond its tolerance, or a peak more than 5 % from the plan. Needs Python's
standard library only.
"""
import json
import sys
from pathlib import Path

PEAK_TFLOPS = 989  # Hopper, dense bf16: what an MFU is of
PEAK_TOLERANCE = 0.05


def read(path):
    """A JSON file, or None where a program failed before it wrote one."""
    return json.loads(path.read_text()) if path.exists() and path.stat().st_size else None


def speed(folder, *rows):
    """MFU counts attention in full, as others do; the share of the matrix rate counts what is computed."""
    folder = Path(folder)
    rate = read(folder / "rate.json")
    if rate:
        print(f"\n{rate['device']}, torch {rate['torch']}, bf16 products at {rate['rate']:.0f} TFLOP/s")
    print("\n| shape | neo tokens/s | MFU | of the matrix rate | PyTorch tokens/s | MFU | mode | neo / PyTorch | GiB: neo, planned, PyTorch |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for row in rows:
        plan, ours = read(folder / f"{row}.plan.json"), read(folder / f"{row}.neo.json")
        theirs = max(read(folder / f"{row}.torch.json") or [], key=lambda r: r["tokens_per_sec"], default=None)
        flops = plan["flops_per_token"]
        full = lambda r: f"{r['tokens_per_sec'] * flops['full'] / PEAK_TFLOPS / 1e10:.1f} %" if r else ""
        tokens = lambda r: f"{r['tokens_per_sec']:,.0f}" if r else "failed"
        share = f"{ours['tokens_per_sec'] * flops['causal'] / rate['rate'] / 1e10:.1f} %" if ours and rate else ""
        mode = "{mode}, {attention}, {micro_batch_sequences} rows".format(**theirs) if theirs else ""
        ratio = f"{ours['tokens_per_sec'] / theirs['tokens_per_sec']:.2f}" if ours and theirs else ""
        gib = [ours and ours["peak_bytes"] and ours["peak_bytes"] / 2**30, sum(plan["memory"].values()) / 2**30, theirs and theirs["peak_mib"] / 2**10]
        memory = ", ".join(f"{size:.1f}" if size else "?" for size in gib)
        cells = [row, tokens(ours), full(ours), share, tokens(theirs), full(theirs), mode, ratio, memory]
        print("|", " | ".join(cells), "|")
    return True


def training_lines(run):
    lines = map(json.loads, (Path(run) / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "eval" not in line]


def losses(reference, *runs):
    """The largest relative distance of a step's loss from the reference's."""
    expected = {line["step"]: line["loss"] for line in training_lines(reference)}
    good = True
    print(f"\n| run | steps | largest distance from {Path(reference).name} | at step | allowed |")
    print("| --- | --- | --- | --- | --- |")
    for run in runs:
        run, tolerance = run.rsplit("=", 1)
        found = {line["step"]: line["loss"] for line in training_lines(run)}
        off = {step: abs(found.get(step, float("inf")) - loss) / abs(loss) for step, loss in expected.items()}
        worst = max(off, key=off.get)
        good &= off[worst] <= float(tolerance)
        print(f"| {Path(run).name} | {len(found)} | {off[worst]:.1e} | {worst} | {tolerance} |")
    print("within the tolerances" if good else "NOT within the tolerances")
    return good


def peak(run, plan):
    planned = sum(read(Path(plan))["memory"].values())
    highest = max(line["mem_bytes"] for line in training_lines(run))
    off = highest / planned - 1
    print(f"\npeak {highest / 2**30:.3f} GiB, planned {planned / 2**30:.3f} GiB: {100 * off:+.1f} %")
    return abs(off) <= PEAK_TOLERANCE


def main():
    tables = {"speed": speed, "losses": losses, "peak": peak}
    if len(sys.argv) < 4 or sys.argv[1] not in tables:
        sys.exit(__doc__)
    sys.exit(0 if tables[sys.argv[1]](*sys.argv[2:]) else 1)


if __name__ == "__main__":
    main()
