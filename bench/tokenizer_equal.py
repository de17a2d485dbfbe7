#!/usr/bin/env python3
"""Ids and decoded texts of neo against SentencePiece's, on all shared texts and on made-up ones.

    python3 bench/tokenizer_equal.py --neo target/release/neo [--data ../shared/data] [--fuzz-seconds 120]

Every document of the shared corpora, then batches of random texts: pieces of the vocabulary put
together, runs, all of Unicode, special-token strings. Counts differences; where a text has no U+2581,
decoding its ids must also give it back. Needs sentencepiece (made with 0.2.3) and zstandard.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import sentencepiece

from tokenizer import corpora

MARKER = "\u2581"
STRINGS = ["<s>", "</s>", "<unk>", "<0x41>", "<EOD>", "<|EOD|>", "\0", "\t", "\n", "\r\n", "    ", MARKER]


def through_neo(neo, verb, model, objects):
    """One line in, one line out."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.writelines(json.dumps(thing) + "\n" for thing in objects)
        file.flush()
        command = [neo, "tokenizer", verb, "--tokenizer", model, "--jsonl", file.name]
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


class Comparison:
    def __init__(self, neo, model):
        self.neo, self.model = neo, model
        self.processor = sentencepiece.SentencePieceProcessor(model_file=model)
        self.n_texts = self.n_bytes = self.n_ids = self.n_different = 0

    def run(self, texts):
        lines = through_neo(self.neo, "encode", self.model, [{"text": text} for text in texts])
        ours = [line["ids"] for line in lines]
        decoded = [line["text"] for line in through_neo(self.neo, "decode", self.model, lines)]
        assert len(ours) == len(texts) == len(decoded)
        for text, ids, again in zip(texts, ours, decoded):
            expected = self.processor.encode(text)
            comes_back = MARKER in text or again == text
            if ids != expected or again != self.processor.decode(expected) or not comes_back:
                self.n_different += 1
                print(f"different: {text[:200]!r}")
            self.n_texts += 1
            self.n_bytes += len(text.encode())
            self.n_ids += len(ids)

    def report(self, what):
        print(
            f"{what}: {self.n_texts:,} texts, {self.n_bytes:,} bytes, {self.n_ids:,} ids, "
            f"{self.n_different} different"
        )


def random_text(pieces):
    """A few parts, each of one kind."""
    kinds = [
        lambda: "".join(random.choices(pieces, k=random.randint(1, 12))),
        lambda: random.choice(pieces) * random.randint(1, 60),
        lambda: "".join(chr(code) for code in random_codes(random.randint(1, 20))),
        lambda: random.choice(STRINGS),
        lambda: " " * random.randint(1, 20),
        lambda: "".join(random.choices("abcdefghij ", k=random.randint(1, 200))),
        lambda: "".join(random.choices("的一是不了人我在有他这为之大来以个中上们", k=random.randint(1, 90))),
    ]
    return "".join(random.choice(kinds)() for _ in range(random.randint(0, 6)))


def random_codes(n):
    ranges = [(0, 0x80), (0x80, 0x800), (0x2000, 0x2100), (0x3040, 0xA000), (0xE000, 0x10000), (0x10000, 0x110000)]
    for _ in range(n):
        low, high = random.choice(ranges)
        yield random.randrange(low, high)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--neo", required=True)
    parser.add_argument("--data", type=pathlib.Path, default=pathlib.Path("../shared/data"))
    parser.add_argument("--fuzz-seconds", type=float, default=120)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    (model,) = (args.data / "tokenizer").glob("*.model")
    shared = Comparison(args.neo, str(model))
    for name, texts in corpora(args.data):
        shared.run(texts)
        # SentencePiece is slow on whole books; their lines are compared as well.
        shared.run([line for text in texts for line in text.split("\n")])
    shared.report("shared corpora, whole and by line")
    random.seed(args.seed)
    fuzz = Comparison(args.neo, str(model))
    pieces = [fuzz.processor.id_to_piece(id).replace(MARKER, " ") for id in range(259, len(fuzz.processor))]
    ends = time.monotonic() + args.fuzz_seconds
    while time.monotonic() < ends:
        fuzz.run([random_text(pieces) for _ in range(20000)])
    fuzz.report("made-up texts")
    sys.exit(1 if shared.n_different or fuzz.n_different else 0)


if __name__ == "__main__":
    main()
