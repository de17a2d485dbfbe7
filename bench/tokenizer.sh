#!/usr/bin/env bash
# The tokenizer beside SentencePiece and Hugging Face's tokenizers on this machine, in alternating
# rounds: encoding on one thread and on two, worst cases, training with its memory.
#     bench/tokenizer.sh NEO PYTHON [DATA]
# NEO is the program, PYTHON an interpreter with sentencepiece, tokenizers and zstandard, DATA a
# folder with corpus/, tokenizer/ and golden/tokenizer/ (default ../shared/data). Speeds are taken by
# processor time too, which other work on the machine disturbs less than the clock.
set -euo pipefail
cd "$(dirname "$0")/.."
neo="$1" python="$2" data="${3:-../shared/data}"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

cargo build --release --quiet --example tokenizer_speed
speed="${CARGO_TARGET_DIR:-target}/release/examples/tokenizer_speed"
model="$(echo "$data"/tokenizer/*.model)"
"$neo" tokenizer export "$model" --out "$folder/hf" > /dev/null
"$python" bench/tokenizer.py "$neo" "$speed" "$model" "$data" "$folder" --rounds "${ROUNDS:-3}"
