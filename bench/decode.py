#!/usr/bin/env python3
"""Greedy decoding of one sequence: tokens per second of neo and of transformers, same checkpoint.

    python3 bench/decode.py --neo target/release/neo [--folder out/decode] [--rounds 3]

Makes a Llama checkpoint with random weights in the shape of `train/recipes/bench_110m.toml` once,
lets both continue the same ids in alternating runs, in f32 with a key-value cache, and checks that
they choose the same ids. Loading is not timed; reading the prompt is. Nothing else may run beside
it. Needs torch and transformers; made with torch 2.9.0 and transformers 5.23.0.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time
import tomllib

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

RECIPE = pathlib.Path(__file__).parent.parent / "train/recipes/bench_110m.toml"


def make_checkpoint(folder):
    m = tomllib.loads(RECIPE.read_text())["model"]
    config = LlamaConfig(
        vocab_size=m["vocab_size"],
        hidden_size=m["d_model"],
        intermediate_size=m["d_ff"],
        num_hidden_layers=m["n_layers"],
        num_attention_heads=m["n_heads"],
        num_key_value_heads=m["n_kv_heads"],
        head_dim=m["head_dim"],
        max_position_embeddings=m["max_seq_len"],
        rope_parameters={"rope_type": "default", "rope_theta": m["rope_base"]},
        rms_norm_eps=m["norm_eps"],
        initializer_range=m["init_std"],
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    torch.manual_seed(42)
    LlamaForCausalLM(config).save_pretrained(folder)


def decode_neo(args, ids):
    """New ids and seconds, as the program reports them."""
    command = [args.neo, "generate", "--model", args.folder, "--ids", ",".join(map(str, ids))]
    command += ["--max-new", args.new, "--temperature", 0, "--json", "--device", args.device]
    environment = dict(os.environ, RAYON_NUM_THREADS=str(args.threads), NEO_LOG="neo=info")
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr)
    seconds = float(re.search(r"seconds=([0-9.e-]+)", done.stderr)[1])
    return json.loads(done.stdout)["ids"], seconds


def decode_transformers(model, args, ids):
    prompt = torch.tensor([ids])
    started = time.perf_counter()
    with torch.inference_mode():
        output = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            use_cache=True,
            max_new_tokens=args.new,
        )
    return output[0, len(ids) :].tolist(), time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--neo", required=True, help="the program")
    parser.add_argument("--folder", default="out/decode", help="where the checkpoint is or goes")
    parser.add_argument("--device", default="flex")
    parser.add_argument("--prompt", type=int, default=32, help="ids given")
    parser.add_argument("--new", type=int, default=128, help="ids to be made")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args()

    logging.set_verbosity_error()
    if not pathlib.Path(args.folder, "config.json").exists():
        make_checkpoint(args.folder)
    torch.set_num_threads(args.threads)
    model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.float32).eval()
    ids = torch.randint(model.config.vocab_size, [args.prompt]).tolist()
    decode_transformers(model, args, ids)  # warms up
    ours, theirs = [], []
    for _ in range(args.rounds):
        our_ids, seconds = decode_neo(args, ids)
        ours.append(args.new / seconds)
        their_ids, seconds = decode_transformers(model, args, ids)
        theirs.append(args.new / seconds)
        if our_ids != their_ids:
            same = next((i for i, (a, b) in enumerate(zip(our_ids, their_ids)) if a != b), args.new)
            sys.exit(f"other ids from new token {same} on: {our_ids[same:]} and {their_ids[same:]}")
    for name, speeds in (("neo", ours), ("transformers", theirs)):
        listed = ", ".join(f"{speed:.1f}" for speed in speeds)
        print(f"{name:13} {statistics.median(speeds):7.1f} tokens/s ({listed})")
    print(f"neo / transformers: {statistics.median(ours) / statistics.median(theirs):.2f}")
    print(f"the same {args.new} greedy ids in every round")


if __name__ == "__main__":
    main()
