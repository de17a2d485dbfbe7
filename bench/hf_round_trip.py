#!/usr/bin/env python3
"""Hugging Face round trip: golden checkpoint -> neo import -> neo export -> transformers.

Each golden checkpoint is imported and exported by the program, in one file and in small shards; the
result must have the tensor names and dtypes that went in, and its logits, computed by transformers,
must equal the stored ones. Prints a table; exits 1 when anything differs.

    python bench/hf_round_trip.py --neo target/release/neo --golden ../shared/data/golden

Needs torch, transformers and safetensors; made with torch 2.9.0 and transformers 5.23.0.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM
from transformers.utils import logging

TOLERANCE = 1e-4
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}\nexited {done.returncode}\n{done.stderr}")


def stored_tensors(folder):
    """Name -> (dtype, shape), as the files of a model folder state them."""
    index = folder / "model.safetensors.index.json"
    if index.exists():
        files = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        files = ["model.safetensors"]
    tensors = {}
    for name in files:
        with safe_open(folder / name, "pt") as file:
            for key in file.keys():
                part = file.get_slice(key)
                tensors[key] = (part.get_dtype(), tuple(part.get_shape()))
    return tensors, len(files)


def logits_difference(folder, golden):
    """Largest absolute difference from the stored logits; weights are raised to f32 as they were there."""
    expected = load_file(golden / "forward.safetensors")
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        logits = model(input_ids=expected["input_ids"]).logits
    return (logits - expected["logits"]).abs().max().item(), set(model.state_dict())


def check(neo, golden, imported, exported, shard_gb):
    run(neo, "export", "--model", imported, "--out", exported, "--max-shard-gb", shard_gb)
    before, _ = stored_tensors(golden)
    after, n_files = stored_tensors(exported)
    difference, expected_names = logits_difference(exported, golden)
    faults = []
    if set(after) != expected_names:
        faults.append(f"names differ: {sorted(set(after) ^ expected_names)[:3]}")
    if after != before:
        faults.append("names, dtypes or shapes are not as imported")
    if not difference <= TOLERANCE:
        faults.append(f"logits differ by more than {TOLERANCE}")
    loaded_dtype = AutoModelForCausalLM.from_pretrained(exported).dtype
    if {DTYPES[dtype] for dtype, _ in after.values()} != {loaded_dtype}:
        faults.append(f"config.json makes transformers load {loaded_dtype}")
    return n_files, len(after), loaded_dtype, difference, faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--neo", required=True, type=pathlib.Path, help="the program")
    parser.add_argument("--golden", required=True, type=pathlib.Path, help="folder with model/")
    options = parser.parse_args()
    logging.disable_progress_bar()
    checkpoints = sorted(path.parent for path in options.golden.glob("model/*/config.json"))
    if not checkpoints:
        sys.exit(f"no checkpoint in {options.golden}/model")
    print(f"{'checkpoint':<12}{'files':>6}{'tensors':>9}  {'dtype':<16}{'max |logit diff|':>17}  result")
    n_failed = 0
    for golden in checkpoints:
        with tempfile.TemporaryDirectory() as scratch:
            imported = pathlib.Path(scratch) / "imported"
            run(options.neo, "import", "--from", golden, "--out", imported)
            for layout, shard_gb in [("one", "5"), ("shards", "0.0001")]:
                exported = pathlib.Path(scratch) / layout
                n_files, n_tensors, dtype, difference, faults = check(
                    options.neo, golden, imported, exported, shard_gb
                )
                n_failed += bool(faults)
                print(
                    f"{golden.name:<12}{n_files:>6}{n_tensors:>9}  {str(dtype):<16}{difference:>17.2e}  "
                    f"{'; '.join(faults) or 'ok'}"
                )
    sys.exit(1 if n_failed else 0)


if __name__ == "__main__":
    main()
