#!/usr/bin/env python3
"""What a CUDA card gives, measured through PyTorch: what a training step can be held against.

    python3 bench/torch_facts.py [copy|launch|rate|matrix|attention ..] [--beside CARD.json] [--json FILE]

Copies on the device, launches, bf16 products of the shapes of MAP-Neo and Qwen2.5, causal attention by
SDPA. Products and attention are of normal random numbers, since zeros run faster. Each figure is the
median of several runs between CUDA events after a warm-up. FLOPs by the usual count: `2 m n k` of a
product, `2 batch heads seq^2 head_dim` of causal attention forward, two and a half times that backward.
`rate`, that of the fastest of three square products, is what "of the matrix rate" means elsewhere.
CARD.json is what `neo bench card` printed, with the same names as here (`copy_gb_per_sec`, `launch`,
`matrix` with `tokens`, `inner`, `outer`, `attention` with `head_dim`, `seq_len`): its figures stand
beside PyTorch's where both have one.
"""
import argparse
import contextlib
import functools
import json
import statistics

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION}
SQUARES = [4096, 8192, 16384]
TOKENS = 16384
# Name, inner size, outer size: `x [TOKENS, inner]` times `w [outer, inner]`.
PRODUCTS = [
    ("7B query, key, value, out", 3072, 3072),
    ("7B gate, up", 3072, 24576),
    ("7B down", 24576, 3072),
    ("7B head", 3072, 64256),
    ("2B query, out", 2048, 2048),
    ("2B key, value", 2048, 256),
    ("2B gate, up", 2048, 16384),
    ("2B down", 16384, 2048),
    ("2B head", 2048, 64128),
    ("250M query, out", 1024, 1024),
    ("250M gate, up", 1024, 4096),
    ("250M down", 4096, 1024),
    ("250M head", 1024, 64128),
    ("Qwen 1.5B gate, up", 1536, 8960),
    ("Qwen 1.5B head", 1536, 151936),
    ("Qwen 0.5B gate, up", 896, 4864),
    ("Qwen 0.5B head", 896, 151936),
]
HEAD_DIMS = [64, 128, 192, 256]
LENGTHS = [1024, 2048, 4096, 8192, 16384]
ATTENTION_WIDTH = 2048  # heads times head dim


def seconds(work, runs=10, warm_up=3):
    """Median time of `work` on the device."""
    for _ in range(warm_up):
        work()
    times = []
    for _ in range(runs):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times)


def normal(*shape, dtype=torch.bfloat16):
    return torch.randn(*shape, device="cuda").to(dtype)


def copy():
    """GB/s of a copy on the device, bytes read and bytes written."""
    source = torch.empty(2**31, dtype=torch.uint8, device="cuda").random_()
    target = torch.empty_like(source)
    return 2 * source.numel() / seconds(lambda: target.copy_(source)) / 1e9


def launch():
    """Microseconds of a launch of a kernel that does nothing much, alone and replayed in a graph."""
    x, n = torch.zeros(1, device="cuda"), 1000

    def many():
        for _ in range(n):
            x.add_(1.0)

    many()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        many()
    return {"eager_us": 1e6 * seconds(many) / n, "graph_us": 1e6 * seconds(graph.replay) / n}


def product_tflops(a, b):
    (m, k), n = a.shape, b.shape[1]
    out = torch.empty(m, n, dtype=a.dtype, device="cuda")
    return 2 * m * n * k / seconds(lambda: torch.mm(a, b, out=out)) / 1e12


def rate():
    """TFLOP/s of the fastest square bf16 product."""
    return max(product_tflops(normal(size, size), normal(size, size)) for size in SQUARES)


def matrix():
    """TFLOP/s of the bf16 products of layers: forward, input gradient, weight gradient."""
    layers, tokens = [], TOKENS
    for name, inner, outer in PRODUCTS:
        x, w, dy = normal(tokens, inner), normal(outer, inner), normal(tokens, outer)
        rates = [product_tflops(x, w.t()), product_tflops(dy, w), product_tflops(dy.t(), x)]
        layers.append({"name": name, "tokens": tokens, "inner": inner, "outer": outer, "tflops": rates})
    return layers


def attention_seconds(backend, batch, heads, kv_heads, seq, head_dim, dtype):
    """Seconds of forward, and of forward and backward; None where the backend has no such kernel."""
    heads_of = lambda n: normal(batch, seq, n, head_dim, dtype=dtype).transpose(1, 2)
    q, k, v = (heads_of(n).detach().requires_grad_() for n in (heads, kv_heads, kv_heads))
    dy = heads_of(heads)
    call = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)

    def both():
        call().backward(dy)
        q.grad = k.grad = v.grad = None

    try:
        with sdpa_kernel([backend]):
            with torch.no_grad():
                forward = seconds(call)
            return forward, seconds(both)
    except RuntimeError:
        return None


def fastest_attention(batch, heads, kv_heads, seq, head_dim, dtype):
    """SDPA's fastest backend for a shape, forward and backward: its name, and what makes a context for it."""
    times = {}
    for name, backend in BACKENDS.items():
        if found := attention_seconds(backend, batch, heads, kv_heads, seq, head_dim, dtype):
            times[name] = found[1]
    torch.cuda.empty_cache()
    if not times:
        return "default", contextlib.nullcontext
    fastest = min(times, key=times.get)
    return fastest, functools.partial(sdpa_kernel, [BACKENDS[fastest]])


def attention():
    """TFLOP/s of causal attention by backend, head dim and length, all heads with keys of their own."""
    rows = []
    for head_dim in HEAD_DIMS:
        heads = ATTENTION_WIDTH // head_dim
        for seq in LENGTHS:
            batch = max(TOKENS // seq, 1)
            flops = 2 * batch * heads * seq**2 * head_dim
            for name, backend in BACKENDS.items():
                found = attention_seconds(backend, batch, heads, heads, seq, head_dim, torch.bfloat16)
                if found is None:
                    continue
                forward, both = found
                rates = {"forward": flops / forward, "backward": 2.5 * flops / (both - forward), "both": 3.5 * flops / both}
                rates = {f"{what}_tflops": rate / 1e12 for what, rate in rates.items()}
                rows.append({"backend": name, "head_dim": head_dim, "seq_len": seq, "n_heads": heads, "batch": batch, **rates})
    return rows


def table(head, rows):
    print("\n|", " | ".join(head), "|\n|", " | ".join("---" for _ in head), "|")
    for row in rows:
        print("|", " | ".join(cell if isinstance(cell, str) else f"{cell:.0f}" for cell in row), "|")


def found(card, name, wanted):
    """The entry of neo's list `name` that agrees with `wanted`; empty where there is none."""
    agrees = lambda entry: all(entry.get(key) == value for key, value in wanted.items())
    return next((entry for entry in card.get(name, []) if agrees(entry)), {})


def show(facts, card):
    if "copy_gb_per_sec" in facts:
        ours = card.get("copy_gb_per_sec", float("nan"))
        print(f"copy on the device: {facts['copy_gb_per_sec']:.0f} GB/s read and written, neo {ours:.0f}")
    if "launch" in facts:
        print("launch: {eager_us:.2f} us, {graph_us:.2f} us in a graph; neo".format(**facts["launch"]), card.get("launch", "?"))
    if "rate" in facts:
        print(f"bf16 matrix rate: {facts['rate']:.0f} TFLOP/s, neo {card.get('rate', float('nan')):.0f}")
    if "matrix" in facts:
        rows = []
        for layer in facts["matrix"]:
            ours = found(card, "matrix", {key: layer[key] for key in ("tokens", "inner", "outer")})
            missing = ["", "", ""]
            neo, burn = ours.get("tflops") or missing, ours.get("burn_tflops") or missing
            rows.append([layer["name"], "{tokens} x {inner} x {outer}".format(**layer), *layer["tflops"], *neo, *burn])
        table(["bf16 product, TFLOP/s", "tokens x inner x outer", "forward", "input gradient", "weight gradient", "neo forward", "input", "weight", "burn forward", "input", "weight"], rows)
    if "attention" in facts:
        rates = ["forward_tflops", "backward_tflops", "both_tflops"]
        rows = []
        for row in facts["attention"]:
            ours = found(card, "attention", {key: row[key] for key in ("head_dim", "seq_len")})
            rows.append([row["backend"], str(row["head_dim"]), str(row["seq_len"]), *(row[key] for key in rates), *(ours.get(key, "") for key in rates)])
        table(["SDPA, causal, TFLOP/s", "head dim", "length", "forward", "backward", "both", "neo forward", "backward", "both"], rows)


def main():
    measured = {
        "copy": ("copy_gb_per_sec", copy),
        "launch": ("launch", launch),
        "rate": ("rate", rate),
        "matrix": ("matrix", matrix),
        "attention": ("attention", attention),
    }
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"any of {', '.join(measured)}; all unless given")
    parser.add_argument("--beside", metavar="CARD.json", help="what `neo bench card` printed")
    parser.add_argument("--json", help="write the results here")
    args = parser.parse_args()
    if unknown := set(args.what) - measured.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    facts = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    print(f"{facts['device']}, torch {facts['torch']}")
    for what in args.what or measured:
        name, measure = measured[what]
        facts[name] = measure()
        torch.cuda.empty_cache()
    card = {}
    if args.beside:
        with open(args.beside) as file:
            card = json.load(file)
    show(facts, card)
    if args.json:
        with open(args.json, "w") as file:
            json.dump(facts, file)


if __name__ == "__main__":
    main()
