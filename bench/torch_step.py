#!/usr/bin/env python3
"""The training step of a recipe in PyTorch, timed: what `neo bench step` is compared with.

    python3 bench/torch_step.py train/recipes/bench_22m.toml [--steps 12] [--threads 2] [--json FILE]

The same decoder (RMSNorm, rotate-half RoPE, SwiGLU, grouped queries, untied head), the same batch
shape, AdamW with decay on matrices only and one global clip, on random tokens. Every mode is timed
and the best one counts: attention by SDPA or written out, eager or compiled. Needs torch; Python 3.11.
"""
import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
import tomllib

import torch
import torch.nn.functional as F
from torch import nn

MODES = ["eager sdpa", "eager naive", "compiled sdpa"]


class Block(nn.Module):
    def __init__(self, m, sdpa):
        super().__init__()
        d, self.heads, self.kv, self.hd = m["d_model"], m["n_heads"], m["n_kv_heads"], m["head_dim"]
        linear = lambda i, o: nn.Linear(i, o, bias=False)
        self.sdpa = sdpa
        self.norm1, self.norm2 = (nn.RMSNorm(d, eps=m["norm_eps"]) for _ in range(2))
        self.q, self.k, self.v = linear(d, self.heads * self.hd), linear(d, self.kv * self.hd), linear(d, self.kv * self.hd)
        self.o = linear(self.heads * self.hd, d)
        self.gate, self.up, self.down = linear(d, m["d_ff"]), linear(d, m["d_ff"]), linear(m["d_ff"], d)

    def forward(self, x, cos, sin):
        b, s, _ = x.shape
        h = self.norm1(x)
        split = lambda y, n: y.view(b, s, n, self.hd).transpose(1, 2)
        q, k, v = split(self.q(h), self.heads), split(self.k(h), self.kv), split(self.v(h), self.kv)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if self.sdpa:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.kv != self.heads)
        else:
            k, v = (t.repeat_interleave(self.heads // self.kv, dim=1) for t in (k, v))
            scores = q @ k.transpose(2, 3) / math.sqrt(self.hd)
            hidden = torch.ones(s, s, dtype=torch.bool, device=x.device).triu(1)
            y = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v
        x = x + self.o(y.transpose(1, 2).reshape(b, s, -1))
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Decoder(nn.Module):
    def __init__(self, m, seq, sdpa):
        super().__init__()
        self.embedding = nn.Embedding(m["vocab_size"], m["d_model"])
        self.blocks = nn.ModuleList(Block(m, sdpa) for _ in range(m["n_layers"]))
        self.norm = nn.RMSNorm(m["d_model"], eps=m["norm_eps"])
        self.head = nn.Linear(m["d_model"], m["vocab_size"], bias=False)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=m["init_std"])
        half = m["head_dim"] // 2
        angles = torch.arange(seq)[:, None] * m["rope_base"] ** (-torch.arange(half) / half)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, ids, targets):
        x = self.embedding(ids)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def run(recipe, mode, steps, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(42)
    m, batch = recipe["model"], recipe["batch"]
    seq, rows = batch["seq_len"], recipe["phase"][0]["batch_sequences"]
    micro = batch["micro_batch_sequences"]
    model = Decoder(m, seq, "sdpa" in mode)
    o = recipe["optimizer"]
    matrices = [p for p in model.parameters() if p.dim() == 2]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": o["weight_decay"]}, {"params": vectors, "weight_decay": 0.0}]
    settings = dict(lr=recipe["phase"][0]["schedule"]["peak_lr"], betas=(o["beta1"], o["beta2"]), eps=o["eps"])
    optimizer = torch.optim.AdamW(groups, fused=True, **settings)
    loss_of = torch.compile(model) if "compiled" in mode else model
    seconds, losses = [], []
    for _ in range(steps):
        ids = torch.randint(m["vocab_size"], (rows, seq + 1))
        start = time.perf_counter()
        total = 0.0
        for part in ids.split(micro):
            loss = loss_of(part[:, :-1], part[:, 1:]) * (len(part) / rows)
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), o["clip_norm"])
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.perf_counter() - start)
        losses.append(total)
    timed = seconds[2:]
    return {
        "mode": mode,
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_per_sec": rows * seq / statistics.median(timed),
        "best_tokens_per_sec": rows * seq / min(timed),
        "step_ms": 1e3 * statistics.median(timed),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "losses": losses,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--mode", choices=MODES, help="one mode only, in this process")
    parser.add_argument("--json", help="write the results here")
    args = parser.parse_args()
    if args.mode:
        with open(args.recipe, "rb") as file:
            print(json.dumps(run(tomllib.load(file), args.mode, args.steps, args.threads)))
        return
    results = []
    for mode in MODES:  # each in a process of its own, so that peak memory is its own
        command = [sys.executable, __file__, args.recipe, "--mode", mode]
        command += ["--steps", str(args.steps), "--threads", str(args.threads)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            print(f"{mode:14}  failed: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            continue
        r = json.loads(done.stdout.splitlines()[-1])
        results.append(r)
        print(f"{mode:14} {r['tokens_per_sec']:8.0f} tokens/s {r['step_ms']:8.0f} ms {r['peak_mib']:7.0f} MiB")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file)


if __name__ == "__main__":
    main()
