#!/usr/bin/env python3
"""An exported tokenizer folder in transformers, without remote code.

    python3 bench/hf_tokenizer.py --neo target/release/neo [--golden ../shared/data/golden] [--model FILE]

Exports the released SentencePiece model, loads the folder as a fast tokenizer, and compares ids and
decoded texts of all golden records, the chat templates' strings with those of `golden/align`, and the
ids of the special tokens. Made with transformers 5.23.0.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import transformers
import zstandard


def records(golden):
    for path in sorted((golden / "tokenizer").glob("neo_*.jsonl.zst")):
        text = zstandard.ZstdDecompressor().stream_reader(path.open("rb")).read().decode()
        yield from (json.loads(line) for line in text.split("\n") if line)


def compare_records(tokenizer, golden):
    n_records = n_different = 0
    for record in records(golden):
        # Special-token strings inside a text are plain text, as in the records.
        ids = tokenizer.encode(record["text"], add_special_tokens=False, split_special_tokens=True)
        decoded = tokenizer.decode(record["ids"], skip_special_tokens=True)
        expected = record["text"] if record["decoded"] is None else record["decoded"]
        n_records += 1
        if ids != record["ids"] or decoded != expected:
            n_different += 1
            print(f"different: record {record['id']}")
    print(f"golden records: {n_records}, {n_different} different in ids or decoded text")
    return n_different


def compare_chats(tokenizer, golden):
    chat = json.loads((golden / "align/chat.json").read_text())
    names = {"default": "corrected", "compat": "compat"}
    n_different = 0
    for conversation in chat["conversations"]:
        for name, expected in names.items():
            text = tokenizer.apply_chat_template(
                conversation["messages"], tokenize=False, chat_template=name
            )
            if text != conversation[expected]["text"]:
                n_different += 1
                print(f"different: {text!r}\nexpected:  {conversation[expected]['text']!r}")
    n_texts = len(chat["conversations"]) * len(names)
    print(f"chat template strings: {n_texts}, {n_different} different")
    return n_different


def compare_specials(tokenizer, n_pieces):
    names = ["<|CLS|>", "<|SEP|>", "<|EOD|>", "<|MASK|>", "<|PAD|>"]
    found = tokenizer.convert_tokens_to_ids(names)
    expected = list(range(n_pieces, n_pieces + len(names)))
    usual = (tokenizer.unk_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    print(f"added specials {found}, unk, bos, eos, pad {usual}")
    return int(found != expected or usual != (0, 1, 2, 0) or len(tokenizer) != n_pieces + len(names))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--neo", required=True)
    parser.add_argument("--golden", type=pathlib.Path, default=pathlib.Path("../shared/data/golden"))
    parser.add_argument("--model", type=pathlib.Path)
    args = parser.parse_args()
    model = args.model or next((args.golden.parent / "tokenizer").glob("*.model"))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([args.neo, "tokenizer", "export", str(model), "--out", folder], check=True)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        print(f"transformers {transformers.__version__}: {type(tokenizer).__name__}, fast: {tokenizer.is_fast}")
        n_pieces = len(json.loads(pathlib.Path(folder, "tokenizer.json").read_text())["model"]["vocab"])
        n_different = compare_records(tokenizer, args.golden) + compare_chats(tokenizer, args.golden)
        n_different += compare_specials(tokenizer, n_pieces)
    sys.exit(1 if n_different or not tokenizer.is_fast else 0)


if __name__ == "__main__":
    main()
