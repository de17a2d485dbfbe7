#!/bin/sh
# MAP-Neo's cleaning code, as released, against neo, side by side on one thread; then neo on two.
#
#   git clone https://github.com/multimodal-art-projection/MAP-NEO MAP-NEO
#   bench/matrix.sh MAP-NEO GOLDEN [WORK]
#
# GOLDEN is a folder with the reference documents (`matrix/` with `data/`, and `dedup/`); WORK, by default
# out/matrix, is where Python's packages and the inputs go. Rounds of theirs and ours alternate, the best of each
# counts: on a shared machine the ratios are provisional all the same.
set -eu
map_neo=$(realpath "$1") golden=$(realpath "$2") work=${3:-out/matrix}
mkdir -p "$work"
target=${CARGO_TARGET_DIR:-target}
cargo build --release --bin neo --example filter_speed
if [ ! -x "$work/venv/bin/python" ]; then
    python3 -m venv "$work/venv"
    "$work/venv/bin/pip" install -q 'numpy<2' nltk jieba fasttext-wheel scikit-learn datasketch ftfy zstandard
fi
python="$work/venv/bin/python"
"$python" bench/matrix.py --map-neo "$map_neo" --golden "$golden/matrix" --work "$work" \
    --speed "$target/release/examples/filter_speed"
"$python" bench/dedup.py --neo "$target/release/neo" --english "$golden/dedup/minhash_en_docs.jsonl.zst" \
    --chinese "$golden/dedup/minhash_zh_docs.jsonl.zst" --lines "$golden/dedup/similar_line.jsonl.zst"
