#!/usr/bin/env python3
"""The training step of a recipe in PyTorch, timed: what `neo bench step` is compared with.

    python3 bench/torch_step.py train/recipes/bench_22m.toml [--steps 12] [--threads 2] [--json FILE]
    python3 bench/torch_step.py train/recipes/neo_2b.toml --device cuda --set phase.0.batch_sequences=8

The same decoder (RMSNorm, rotate-half RoPE, SwiGLU, grouped queries, untied head), the same batch
shape, AdamW with decay on matrices only and one global clip, on random tokens. Every mode is timed
and the best one counts. On a CPU, in f32: attention by SDPA or written out, eager or compiled. On
CUDA all is compiled, attention is the fastest of SDPA's backends for the shape, and `bf16` means
    autocast   f32 weights, gradients and moments, bf16 products by autocast, fused AdamW
    masters    bf16 weights and gradients, f32 master weights, moments as the recipe has them, AdamW
               compiled to one kernel a parameter. It sums micro-batches in bf16, which neo does not.
What is compiled is a block at a time, which takes seconds; `--whole` compiles the model in one, which
takes a minute or more. `recompute` of the recipe is activation checkpointing, of blocks or of their
feed-forward. When memory is short, the micro-batch is halved. Needs torch 2.9 or newer, Python 3.11.
"""
import argparse
import contextlib
import functools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
import tomllib

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from torch_facts import fastest_attention

MODES = {
    "cpu": ["eager sdpa", "eager naive", "compiled sdpa"],
    "cuda": ["autocast", "masters"],
}
WARM_UP_STEPS = 3
OUT_OF_MEMORY = 3  # exit code


def norm(x, weight, eps):
    """RMSNorm with statistics in f32."""
    return F.rms_norm(x.float(), (x.shape[-1],), weight.float(), eps).to(x.dtype)


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


class Block(nn.Module):
    def __init__(self, m, sdpa, recompute):
        super().__init__()
        d, self.heads, self.kv, self.hd = m["d_model"], m["n_heads"], m["n_kv_heads"], m["head_dim"]
        linear = lambda i, o: nn.Linear(i, o, bias=False)
        self.sdpa, self.recompute, self.eps = sdpa, recompute, m["norm_eps"]
        self.norm1, self.norm2 = (nn.Parameter(torch.ones(d)) for _ in range(2))
        self.q, self.k, self.v = linear(d, self.heads * self.hd), linear(d, self.kv * self.hd), linear(d, self.kv * self.hd)
        self.o = linear(self.heads * self.hd, d)
        self.gate, self.up, self.down = linear(d, m["d_ff"]), linear(d, m["d_ff"]), linear(m["d_ff"], d)

    def forward(self, x, cos, sin):
        x = x + self.attend(norm(x, self.norm1, self.eps), cos, sin)
        if self.recompute == "mlp":
            return x + checkpoint(self.feed_forward, x, use_reentrant=False)
        return x + self.feed_forward(x)

    def feed_forward(self, x):
        h = norm(x, self.norm2, self.eps)
        return self.down(F.silu(self.gate(h)) * self.up(h))

    def attend(self, h, cos, sin):
        b, s, _ = h.shape
        split = lambda y, n: y.view(b, s, n, self.hd).transpose(1, 2)
        q, k, v = split(self.q(h), self.heads), split(self.k(h), self.kv), split(self.v(h), self.kv)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if self.sdpa:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=self.kv != self.heads)
        else:
            k, v = (t.repeat_interleave(self.heads // self.kv, dim=1) for t in (k, v))
            scores = q @ k.transpose(2, 3) / math.sqrt(self.hd)
            hidden = torch.ones(s, s, dtype=torch.bool, device=h.device).triu(1)
            y = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v
        return self.o(y.transpose(1, 2).reshape(b, s, -1))


class Decoder(nn.Module):
    def __init__(self, m, seq, sdpa, recompute, compute):
        super().__init__()
        self.compute, self.eps, self.recompute = compute, m["norm_eps"], recompute
        self.embedding = nn.Embedding(m["vocab_size"], m["d_model"])
        self.blocks = nn.ModuleList(Block(m, sdpa, recompute) for _ in range(m["n_layers"]))
        self.norm = nn.Parameter(torch.ones(m["d_model"]))
        self.head = nn.Linear(m["d_model"], m["vocab_size"], bias=False)
        for p in self.parameters():
            if p.dim() == 2:
                nn.init.normal_(p, std=m["init_std"])
        half = m["head_dim"] // 2
        angles = torch.arange(seq)[:, None] * m["rope_base"] ** (-torch.arange(half) / half)
        # Plain attributes: `to(bfloat16)` is for weights, these stay in f32.
        self.cos, self.sin = angles.cos(), angles.sin()
        self.loss = self.head_and_loss

    def compile_parts(self):
        """Compiles a block once for all blocks, and head with loss."""
        for block in self.blocks:
            block.compile()
        self.loss = torch.compile(self.head_and_loss)

    def forward(self, ids, targets):
        # The residual stream is in the format of the products, as neo's.
        x = self.embedding(ids).to(self.compute)
        for block in self.blocks:
            if self.recompute == "block":
                x = checkpoint(block, x, self.cos, self.sin, use_reentrant=False)
            else:
                x = block(x, self.cos, self.sin)
        return self.loss(x, targets)

    def head_and_loss(self, x, targets):
        logits = self.head(norm(x, self.norm, self.eps))
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


class FusedAdamW:
    """torch's fused AdamW after torch's clipping, on the weights themselves."""

    def __init__(self, model, settings, lr):
        self.model, self.clip = model, settings["clip_norm"]
        matrices = [p for p in model.parameters() if p.dim() == 2]
        vectors = [p for p in model.parameters() if p.dim() == 1]
        groups = [{"params": matrices, "weight_decay": settings["weight_decay"]}, {"params": vectors, "weight_decay": 0.0}]
        betas = (settings["beta1"], settings["beta2"])
        self.adamw = torch.optim.AdamW(groups, lr=lr, betas=betas, eps=settings["eps"], fused=True)

    def step(self):
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)


class MasterAdamW:
    """AdamW on f32 copies of bf16 weights; clipping is a factor inside, so gradients are read once."""

    def __init__(self, model, settings, lr):
        self.settings, self.lr, self.n_updates = settings, lr, 0
        moments = {"f32": torch.float32, "bf16": torch.bfloat16}[settings["moments"]]
        self.slots = []
        for p in model.parameters():
            flat = p.detach().view(-1)
            decay = settings["weight_decay"] if p.dim() == 2 else 0.0
            first, second = (torch.zeros_like(flat, dtype=moments) for _ in range(2))
            self.slots.append((p, flat, flat.float(), first, second, torch.tensor(1 - lr * decay, device=p.device)))
        self.update = torch.compile(self.update_one, dynamic=True)

    def update_one(self, weight, master, first, second, gradient, scale, keep, rate, correction):
        beta1, beta2 = self.settings["beta1"], self.settings["beta2"]
        g = gradient.float() * scale
        m = beta1 * first.float() + (1 - beta1) * g
        v = beta2 * second.float() + (1 - beta2) * g * g
        master.copy_(master * keep - rate * m / ((v * correction).sqrt() + self.settings["eps"]))
        first.copy_(m)
        second.copy_(v)
        weight.copy_(master)

    @torch.no_grad()
    def step(self):
        self.n_updates += 1
        gradients = [p.grad.view(-1) for p, *_ in self.slots]
        total = nn.utils.get_total_norm(gradients)
        scale = (self.settings["clip_norm"] / (total + 1e-6)).clamp(max=1.0)
        beta1, beta2 = self.settings["beta1"], self.settings["beta2"]
        rate = torch.tensor(self.lr / (1 - beta1**self.n_updates), device=scale.device)
        correction = torch.tensor(1 / (1 - beta2**self.n_updates), device=scale.device)
        for (p, weight, master, first, second, keep), gradient in zip(self.slots, gradients):
            self.update(weight, master, first, second, gradient, scale, keep, rate, correction)
            p.grad = None


def wait(device):
    if device == "cuda":
        torch.cuda.synchronize()


def peak_mib(device):
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(recipe, mode, args):
    torch.set_num_threads(args.threads)
    torch.manual_seed(42)
    m, batch, device = recipe["model"], recipe["batch"], args.device
    seq, rows = batch["seq_len"], recipe["phase"][0]["batch_sequences"]
    micro = batch["micro_batch_sequences"]
    bf16 = recipe["precision"] == "bf16"
    compute = torch.bfloat16 if bf16 else torch.float32
    attention, backend = "default", contextlib.nullcontext
    if device == "cuda":
        attention, backend = fastest_attention(micro, m["n_heads"], m["n_kv_heads"], seq, m["head_dim"], compute)
        torch.cuda.reset_peak_memory_stats()
    with torch.device(device):
        model = Decoder(m, seq, "naive" not in mode, recipe["recompute"], compute)
    if mode == "masters":
        model.to(compute)
    lr = recipe["phase"][0]["schedule"]["peak_lr"]
    optimizer = (MasterAdamW if mode == "masters" else FusedAdamW)(model, recipe["optimizer"], lr)
    loss_of = model
    if mode == "compiled sdpa" or args.whole:
        loss_of = torch.compile(model)
    elif device == "cuda":
        model.compile_parts()
    autocast = functools.partial(torch.autocast, device, torch.bfloat16, enabled=bf16 and mode != "masters")
    seconds, losses = [], []
    for _ in range(args.steps):
        ids = torch.randint(m["vocab_size"], (rows, seq + 1), device=device)
        wait(device)
        start = time.perf_counter()
        total = torch.zeros((), device=device)
        for part in ids.split(micro):
            with autocast(), backend():
                loss = loss_of(part[:, :-1], part[:, 1:]) * (len(part) / rows)
                loss.backward()
            total += loss.detach()
        optimizer.step()
        losses.append(total.item())
        wait(device)
        seconds.append(time.perf_counter() - start)
    timed = seconds[WARM_UP_STEPS:]
    return {
        "mode": mode,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "attention": attention,
        "micro_batch_sequences": micro,
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens_per_step": rows * seq,
        "tokens_per_sec": rows * seq / statistics.median(timed),
        "best_tokens_per_sec": rows * seq / min(timed),
        "step_ms": 1e3 * statistics.median(timed),
        "warm_up_secs": sum(seconds[:WARM_UP_STEPS]),
        "peak_mib": peak_mib(device),
        "losses": losses,
    }


def read_recipe(path, overrides):
    """The recipe with `key.sub=value` set, as neo's `--set`."""
    with open(path, "rb") as file:
        recipe = tomllib.load(file)
    for override in overrides:
        keys, text = override.split("=", 1)
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *above, last = [int(key) if key.isdigit() else key for key in keys.split(".")]
        functools.reduce(lambda table, key: table[key], above, recipe)[last] = value
    return recipe


def timed_in_its_own_process(mode, micro, args):
    """What a process prints that runs this mode, with half the micro-batch while memory is short."""
    while True:
        command = [sys.executable, __file__, args.recipe, "--mode", mode, "--device", args.device]
        command += ["--steps", str(args.steps), "--threads", str(args.threads)]
        command += ["--whole"] if args.whole else []
        for override in [*args.set, f"batch.micro_batch_sequences={micro}"]:
            command += ["--set", override]
        # Memory that is free in pieces is used as well: the micro-batch is what fits, not what packs well.
        environment = os.environ | {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode == 0:
            return json.loads(done.stdout.splitlines()[-1])
        if done.returncode != OUT_OF_MEMORY or micro == 1:
            reason = "out of memory" if done.returncode == OUT_OF_MEMORY else done.stderr.strip()[-2000:]
            print(f"{mode:14} failed: {reason}", file=sys.stderr)
            return None
        micro = next(rows for rows in range(micro // 2, 0, -1) if micro % rows == 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value of the recipe")
    parser.add_argument("--device", choices=list(MODES), default="cpu")
    parser.add_argument("--steps", type=int, default=13, help=f"the first {WARM_UP_STEPS} do not count")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--whole", action="store_true", help="compile the model in one")
    parser.add_argument("--mode", choices=sum(MODES.values(), []), help="one mode only, in this process")
    parser.add_argument("--json", help="write the results here")
    args = parser.parse_args()
    recipe = read_recipe(args.recipe, args.set)
    if args.mode:
        try:
            print(json.dumps(run(recipe, args.mode, args)))
        except torch.OutOfMemoryError:
            sys.exit(OUT_OF_MEMORY)
        return
    micro = recipe["batch"]["micro_batch_sequences"]
    micro = recipe["phase"][0]["batch_sequences"] if micro == "auto" else micro
    results = []
    for mode in MODES[args.device]:  # each in a process of its own, so that peak memory is its own
        r = timed_in_its_own_process(mode, micro, args)
        if r:
            results.append(r)
            print(f"{mode:14} {r['tokens_per_sec']:8.0f} tokens/s {r['step_ms']:8.0f} ms {r['peak_mib']:7.0f} MiB", flush=True)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file)


if __name__ == "__main__":
    main()
