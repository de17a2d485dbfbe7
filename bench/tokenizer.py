#!/usr/bin/env python3
"""What `bench/tokenizer.sh` runs: the same texts through neo, SentencePiece and tokenizers.

Each contender is a process of its own that loads, warms up and then times encoding alone, for neo in
`data/examples/tokenizer_speed.rs`, for the others in `peer` below. They take turns, and of all rounds
the fastest counts. Peers get their texts as Python strings and give lists of ids (SentencePiece) or
their own objects (tokenizers), as their users do. Made with sentencepiece 0.2.3 and tokenizers 0.23.3.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import time

import zstandard

SECONDS_A_ROUND = 1.0


def corpora(data):
    """Texts of every shared corpus by name."""
    for path in sorted((data / "corpus").glob("*.zst")):
        raw = zstandard.ZstdDecompressor().stream_reader(path.open("rb")).read().decode()
        if path.name.endswith(".jsonl.zst"):
            yield path.name.split(".")[0], [json.loads(line)["text"] for line in raw.split("\n") if line]
        else:
            yield path.name.split(".")[0], [raw]


def write(path, texts):
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def input_files(data, folder):
    """Whole documents and single lines of all corpora; inputs that have no place to cut."""
    documents = list(corpora(data))
    english = [text for name, texts in documents if name.startswith("en") for text in texts]
    chinese = [text for name, texts in documents if name.startswith("zh") for text in texts]
    lines = lambda texts: [line for text in texts for line in text.split("\n") if line]
    files = {
        "English, documents": english,
        "Chinese, documents": chinese,
        "English, lines": lines(english),
        "Chinese, lines": lines(chinese),
    }
    return {what: write(folder / f"{i}.jsonl", texts) for i, (what, texts) in enumerate(files.items())}


def worst_cases(data, folder, n_bytes):
    """One text each of about so many bytes."""
    random.seed(1)
    chinese = "".join(text for name, texts in corpora(data) if name == "zh_docs" for text in texts)
    mixed = "".join(c for c in chinese if c.isalpha())
    cases = {
        "letters without a space": "".join(random.choices("etaoinshrdlucmfw", k=n_bytes)),
        "the letter a": "a" * n_bytes,
        "spaces": " " * n_bytes,
        "mixed Chinese without a space": (mixed * 9).encode()[:n_bytes].decode(errors="ignore"),
    }
    name = lambda i: folder / f"worst{i}-{n_bytes}.jsonl"
    return {what: write(name(i), [text]) for i, (what, text) in enumerate(cases.items())}


def peer(library, model, n_threads, files):
    """Times a library in this process; prints the lines that neo's example prints."""
    os.environ["RAYON_NUM_THREADS"] = str(n_threads)
    if library == "sentencepiece":
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor(model_file=model)
        if n_threads == 1:
            encode = lambda texts: [processor.encode(text) for text in texts]
        else:
            encode = lambda texts: processor.encode(texts, num_threads=n_threads)
    else:
        import tokenizers

        tokenizer = tokenizers.Tokenizer.from_file(model)
        tokenizer.encode_special_tokens = True
        encode = lambda texts: tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    for file in files:
        texts = [json.loads(line)["text"] for line in open(file)]
        n_bytes = sum(len(text.encode()) for text in texts)
        clock, processor_time, spent = float("inf"), float("inf"), 0.0
        while spent < SECONDS_A_ROUND:
            started, cpu_started = time.perf_counter(), time.process_time()
            encode(texts)
            clock = min(clock, time.perf_counter() - started)
            processor_time = min(processor_time, time.process_time() - cpu_started)
            spent += time.perf_counter() - started
        rates = {"mb_per_s": n_bytes / 1e6 / clock, "mb_per_cpu_s": n_bytes / 1e6 / processor_time}
        print(json.dumps({"what": file, "threads": n_threads, "bytes": n_bytes, **rates}))


def contenders(args, n_threads):
    this = [sys.executable, __file__, "--peer"]
    return {
        "neo": [args.speed, args.model, str(n_threads)],
        "SentencePiece": [*this, "sentencepiece", args.model, str(n_threads)],
        "tokenizers": [*this, "tokenizers", f"{args.folder}/hf/tokenizer.json", str(n_threads)],
    }


def encode_side_by_side(args, files, n_threads, n_rounds, names=("neo", "SentencePiece", "tokenizers")):
    """Best rates by contender and file: by the clock, and by processor time."""
    best = {}
    for _ in range(n_rounds):
        for name in names:
            command = contenders(args, n_threads)[name] + [str(path) for path in files.values()]
            output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout
            for line in map(json.loads, output.splitlines()):
                key = (name, line["what"])
                rates = (line["mb_per_s"], line["mb_per_cpu_s"])
                best[key] = tuple(map(max, zip(rates, best.get(key, rates))))
    return best


def show(title, files, best, names, by_processor):
    print(f"\n{title}, MB/s {'of processor time' if by_processor else 'by the clock'}")
    print(" " * 34 + "".join(f"{column:>16}" for column in (*names, "neo/best peer")))
    for what, path in files.items():
        rates = [best[name, str(path)][by_processor] for name in names]
        ratio = rates[0] / max(rates[1:]) if len(rates) > 1 else float("nan")
        print(f"{what:34}" + "".join(f"{rate:16.2f}" for rate in rates) + f"{ratio:16.1f}")


def run_measured(command):
    """Seconds by the clock, processor seconds and peak memory in MiB of a child."""
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{command} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def train_side_by_side(args, folder):
    sample = folder / "sample.txt"
    packed = args.data / "golden/tokenizer/train_sample.txt.zst"
    with packed.open("rb") as source, sample.open("wb") as target:
        zstandard.ZstdDecompressor().copy_stream(source, target)
    settings = dict(
        input=str(sample), model_prefix=str(folder / "theirs"), model_type="bpe", vocab_size=32000,
        character_coverage=0.9999, input_sentence_size=50_000_000, shuffle_input_sentence=True,
        max_sentence_length=64000, split_digits=True, byte_fallback=True, num_threads=2,
        normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2,
    )
    theirs = f"import sentencepiece; sentencepiece.SentencePieceTrainer.train(**{settings!r})"
    print("training 32,000 pieces on the golden sample: seconds, processor seconds, peak MiB")
    best = {}
    for number in range(args.rounds):
        ours = [args.neo, "tokenizer", "train", "--input", str(sample), "--vocab-size", "32000"]
        commands = {
            "neo": [*ours, "--out", str(folder / f"ours{number}")],
            "SentencePiece": [sys.executable, "-c", theirs],
        }
        for name, command in commands.items():
            figures = run_measured(command)
            best[name] = tuple(map(min, zip(figures, best.get(name, figures))))
    for name, (clock, processor, mib) in best.items():
        print(f"{name:34}{clock:16.2f}{processor:16.2f}{mib:16.0f}")


def main():
    parser = argparse.ArgumentParser()
    for name in ("neo", "speed", "model"):
        parser.add_argument(name)
    for name in ("data", "folder"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    names = ("neo", "SentencePiece", "tokenizers")
    # First, while this process is small: a child's peak includes what it was forked from.
    train_side_by_side(args, args.folder)
    files = input_files(args.data, args.folder)
    one = encode_side_by_side(args, files, 1, args.rounds)
    show("encoding on one thread", files, one, names, by_processor=True)
    show("encoding on one thread", files, one, names, by_processor=False)
    two = encode_side_by_side(args, files, 2, args.rounds, names[:1])
    again = encode_side_by_side(args, files, 1, args.rounds, names[:1])
    print("\nneo on two threads: MB/s by the clock, times one thread; MB/s of processor time, of one thread's")
    for what, path in files.items():
        clock, processor = two["neo", str(path)]
        single = tuple(map(max, zip(one["neo", str(path)], again["neo", str(path)])))
        print(f"{what:34}{clock:16.1f}{clock / single[0]:16.2f}{processor:16.1f}{processor / single[1]:16.2f}")
    for n_bytes in (1_000_000, 4_000_000):
        files = worst_cases(args.data, args.folder, n_bytes)
        several = names if n_bytes == 1_000_000 else names[:1]
        best = encode_side_by_side(args, files, 1, 1, several)
        show(f"texts of {n_bytes:,} bytes", files, best, several, by_processor=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:])
    else:
        main()
