#!/usr/bin/env python3
"""MinHash signatures and similar-line deduplication: MAP-Neo's Python against `neo`, on one thread each.

    python3 -m venv V && V/bin/pip install datasketch ftfy zstandard
    V/bin/python bench/dedup.py --neo target/release/neo --english EN.jsonl.zst --chinese ZH.jsonl.zst \\
        --lines LINES.jsonl.zst [--seconds 10]

The inputs are JSONL with a text field (`--text-field`, by default the first of raw_content, text); the golden
folder's minhash_en_docs, minhash_zh_docs and similar_line do. Python runs over the texts for so many seconds,
computation only. `neo data dedup` runs over the same texts, repeated until there are enough, and its figure is
the whole program: reading JSON twice, deduplicating, writing what is kept. Both are taken in CPU seconds, since
machines are shared; the rounds alternate and the best of each counts.

Python's MinHash is datasketch with the arithmetic of its 1.x line (`scheme="legacy"` in 2.x), one `update` a run
as in the original; similar lines is section 3.14 written down plainly, the full dynamic programme included.
"""
import argparse
import io
import json
import os
import re
import resource
import string
import subprocess
import tempfile
import time
from collections import Counter

import datasketch
import ftfy
import zstandard

RUN = 13
PUNCTUATION = str.maketrans("", "", string.punctuation)


def texts_of(path, field):
    raw = open(path, "rb")
    stream = zstandard.ZstdDecompressor().stream_reader(raw) if path.endswith(".zst") else raw
    records = [json.loads(line) for line in io.TextIOWrapper(stream, encoding="utf8", newline="\n")]
    names = [field] if field else ["raw_content", "text"]
    return [next(record[name] for name in names if name in record) for record in records]


def n_bytes(text):
    return len(text.encode("utf8", "surrogatepass"))


# ---- the original's ways ----

def normalise(text):
    text = ftfy.fix_text(text, normalization="NFC").lower().translate(PUNCTUATION)
    return re.sub(r"\s+", " ", text.strip())


def new_minhash():
    try:
        return datasketch.MinHash(num_perm=128, scheme="legacy")
    except TypeError:
        return datasketch.MinHash(num_perm=128)


def signature(text):
    minhash = new_minhash()
    for start in range(len(text) - RUN + 1):
        minhash.update(text[start:start + RUN].encode("utf8"))
    return minhash.hashvalues


def split(text):
    begin, pieces = 0, []
    for i, c in enumerate(text):
        if c in ".!?。！？\\…]】":
            pieces.append(text[begin:i + 1])
            begin = i + 1
        elif c in "[【":
            if begin < i:
                pieces.append(text[begin:i])
            begin = i
    if begin < len(text):
        pieces.append(text[begin:])
    return pieces


def common_share(a, b):
    a, b = Counter(a), Counter(b)
    return sum((a & b).values()) / sum((a | b).values())


def distance(a, b):
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    table[0] = list(range(len(b) + 1))
    for i in range(1, len(a) + 1):
        table[i][0] = i
        for j in range(1, len(b) + 1):
            if a[i - 1] == b[j - 1]:
                table[i][j] = table[i - 1][j - 1]
            else:
                table[i][j] = min(table[i][j - 1], table[i - 1][j], table[i - 1][j - 1]) + 1
    return table[-1][-1]


def similar_lines(text, proportion=0.1):
    pieces, removed = split(text), []
    for i in range(len(pieces)):
        if i in removed:
            continue
        for j in range(i + 1, len(pieces)):
            longer = max(len(pieces[i]), len(pieces[j]))
            if abs(len(pieces[i]) - len(pieces[j])) / longer >= max(0.3, proportion):
                continue
            if common_share(pieces[i], pieces[j]) < 1 / 3:
                continue
            limit = 0 if min(len(pieces[i]), len(pieces[j])) <= 15 else proportion * longer
            if distance(pieces[i], pieces[j]) <= limit:
                removed.append(j)
    return "".join(piece for i, piece in enumerate(pieces) if i not in removed)


def python_rate(work, texts, seconds):
    """Bytes of text per CPU second, over as many texts as fit in the time, spread over all of them."""
    done, started = 0, time.process_time()
    step = 7 if len(texts) % 7 else 11
    for k in range(len(texts)):
        text = texts[k * step % len(texts)]
        work(text)
        done += n_bytes(text)
        if time.process_time() - started > seconds:
            break
    return done / (time.process_time() - started)


# ---- neo ----

def write_input(path, texts, at_least):
    total = 0
    with open(path, "w", encoding="utf8", errors="surrogatepass") as out:
        round_number = 0
        while total < at_least:
            for i, text in enumerate(texts):
                out.write(json.dumps({"id": f"{round_number}-{i}", "text": text}, ensure_ascii=False) + "\n")
                total += n_bytes(text)
            round_number += 1
    return total


def neo_rate(neo, arguments, path, total):
    with tempfile.TemporaryDirectory() as out:
        command = [neo, "data", "dedup", *arguments, "--input", path, "--out", out, "--format", "jsonl", "--json"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, env={**os.environ, "RAYON_NUM_THREADS": "1"},
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return total / (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--neo", default="target/release/neo")
    parser.add_argument("--english")
    parser.add_argument("--chinese")
    parser.add_argument("--lines")
    parser.add_argument("--text-field")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--megabytes", type=float, default=24, help="of text that neo is given")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    english = lambda text: signature(normalise(text))
    cases = [
        ("MinHash, English", options.english, english, ["minhash", "--normalise", "english"]),
        ("  the same, fast", options.english, None, ["minhash", "--normalise", "english", "--scheme", "fast"]),
        ("MinHash, Chinese", options.chinese, signature, ["minhash", "--normalise", "none"]),
        ("  the same, fast", options.chinese, None, ["minhash", "--normalise", "none", "--scheme", "fast"]),
        ("similar lines", options.lines, similar_lines, ["lines"]),
    ]
    print(f"datasketch {datasketch.__version__}, ftfy {ftfy.__version__}; MB of text per CPU second, one thread")
    print(f"{'':<20}{'Python':>10}{'neo':>10}{'ratio':>10}")
    python = 0
    for name, path, work, arguments in cases:
        if not path:
            continue
        texts = texts_of(path, options.text_field)
        with tempfile.TemporaryDirectory() as folder:
            data = os.path.join(folder, "in.jsonl")
            total = write_input(data, texts, options.megabytes * 1e6)
            rates, neo = [python] if not work else [], []
            for _ in range(options.rounds):
                if work:
                    rates.append(python_rate(work, texts, options.seconds / options.rounds))
                neo.append(neo_rate(options.neo, arguments, data, total))
        python, best = max(rates), max(neo)
        print(f"{name:<20}{python / 1e6:>10.3f}{best / 1e6:>10.1f}{best / python:>10.0f}", flush=True)


if __name__ == "__main__":
    main()
