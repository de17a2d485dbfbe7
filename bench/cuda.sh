#!/usr/bin/env bash
# Everything that only a CUDA card can show, in stages of at most ten minutes on a Hopper card:
#     bench/cuda.sh STAGE NEO [ROW..]
#     facts      the card: copies, launches, products; neo's beside PyTorch's
#     parity     `neo doctor`, the tests in TESTS, losses of 200 steps against those of the CPU
#     speed      tokens/s of neo and of PyTorch for each ROW (all unless given; see `settings` below)
#     attention  forward and backward by head dim and length, neo's beside PyTorch's
#     run        8 minutes of a 250M model on real text, killed once and gone on with bit by bit
#     memory     2,000 steps: is memory flat, and is the peak what `neo plan` said
# Each ends with a short table; all that was measured is kept in RESULTS (a temporary folder unless
# set; `run` writes checkpoints of 3 GB there). In a folder that is set the next stage goes on.
#
# The machine needs a driver, and python3 with torch; no compiler. NEO is the program with CUDA in it,
# as it is or packed by xz, which makes it small enough to be carried along:
#     cargo build --release --features cuda && strip -o neo target/release/neo && xz neo
# CORPUS (for parity, run, memory) is the folder `corpus` of the real texts, or a tar.xz of it, 14 MB:
#     neo data run data/recipes/real_small.toml --out out/real_small/data
#     tar -C out/real_small/data -cJf corpus.tar.xz corpus
# TESTS (for parity; optional) is a folder of test executables, plain, stripped or packed by xz too, of
#     cargo test --release --workspace --features cuda --no-run --test parity --test conformance_model
# with NEO_GOLDEN naming the reference values, if those are there. WHOLE=1 lets PyTorch compile models
# in one (`speed` then takes minutes a row); MINUTES is the length of `run`.
set -euo pipefail
cd "$(dirname "$0")/.."

stages='facts|parity|speed|attention|run|memory'
[[ $# -ge 2 ]] || { echo "usage: bench/cuda.sh $stages NEO [ROW..]" >&2; exit 2; }
stage="$1" packed_neo="$2"
shift 2
out="${RESULTS:-$(mktemp -d)}"
device="${DEVICE:-cuda}"
mkdir -p "$out"

# unpacked FILE: the path of an executable that may be packed by xz; Python has it where xz is not.
unpacked() {
    local target
    target="$out/$(basename "$1" .xz)"
    case "$1" in
        *.xz) [[ -x "$target" ]] || python3 - "$1" "$target" <<'END'
import lzma
import shutil
import sys

with lzma.open(sys.argv[1]) as packed, open(sys.argv[2], "wb") as plain:
    shutil.copyfileobj(packed, plain)
END
            chmod +x "$target" ;;
        *) target="$1" ;;
    esac
    echo "$target"
}

# The folder with corpus.json, unpacked where it is packed.
corpus_folder() {
    local corpus="${CORPUS:?CORPUS must name the corpus of real texts, see the head of bench/cuda.sh}"
    if [[ -f "$corpus" ]]; then
        [[ -d "$out/corpus" ]] || tar -C "$out" -xJf "$corpus"
        corpus="$out/corpus"
    fi
    echo "$corpus"
}

neo="$(unpacked "$packed_neo")"
hopper=()
[[ "$device" != cuda* ]] || hopper=(--hopper)
tables() { python3 bench/cuda_tables.py "$@"; }

# What `neo bench card` says of this card, measured once; without it PyTorch's figures stand alone.
card() {
    [[ -s "$out/card.json" ]] || "$neo" bench card --device "$device" > "$out/card.json" || {
        echo "neo bench card failed" >&2
        echo '{}' > "$out/card.json"
    }
}

facts() {
    card
    python3 bench/torch_facts.py copy launch rate matrix --beside "$out/card.json" --json "$out/facts.json"
}

attention() {
    card
    python3 bench/torch_facts.py attention --beside "$out/card.json" --json "$out/attention.json"
}

# settings ROW: the recipe and its overrides, sized for a card of 80 GB (the 7B for one of 141 GB).
settings() {
    local name="$1" seq_len="$2" micro="$3" rows="$4"
    shift 4
    echo "train/recipes/$name.toml batch.seq_len=$seq_len batch.micro_batch_sequences=$micro" \
        "phase.0.batch_sequences=$rows" "$@"
}
row_settings() {
    case "$1" in
        qwen_0.5b_1k) settings bench_qwen_0_5b 1024 16 64 ;;
        qwen_1.5b_1k) settings bench_qwen_1_5b 1024 16 64 ;;
        neo_250m_2k) settings neo_250m 2048 16 32 ;;
        neo_250m_8k) settings neo_250m 8192 4 8 ;;
        neo_2b_2k) settings neo_2b 2048 8 32 ;;
        neo_2b_8k) settings neo_2b 8192 2 8 ;;
        neo_7b_8k) settings neo_7b 8192 1 4 recompute=block optimizer.moments=bf16 ;;
        tiny) settings tiny 64 2 4 ;; # tries this script out where there is no card
        *) echo "no row \`$1\`: qwen_0.5b_1k qwen_1.5b_1k neo_250m_2k neo_250m_8k neo_2b_2k neo_2b_8k neo_7b_8k" >&2; return 2 ;;
    esac
}

speed() {
    local rows=("$@") row overrides recipe whole=() torch_device=cpu
    [[ ${#rows[@]} -gt 0 ]] ||
        rows=(qwen_0.5b_1k qwen_1.5b_1k neo_250m_2k neo_250m_8k neo_2b_2k neo_2b_8k neo_7b_8k)
    [[ -z "${WHOLE:-}" ]] || whole=(--whole)
    if [[ "$device" == cuda ]]; then
        torch_device=cuda
        [[ -s "$out/rate.json" ]] || python3 bench/torch_facts.py rate --json "$out/rate.json"
    fi
    for row in "${rows[@]}"; do
        read -ra overrides <<< "$(row_settings "$row")"
        recipe="${overrides[0]}"
        overrides=("${overrides[@]/#/--set=}")
        unset 'overrides[0]'
        "$neo" plan "$recipe" "${overrides[@]}" ${hopper[@]+"${hopper[@]}"} --json > "$out/$row.plan.json"
        echo "$row: neo"
        "$neo" bench step --recipe "$recipe" "${overrides[@]}" --device "$device" --steps 8 --json \
            --trace "$out/$row.trace.json" > "$out/$row.neo.json" || rm -f "$out/$row.neo.json"
        echo "$row: PyTorch"
        python3 bench/torch_step.py "$recipe" "${overrides[@]}" --device "$torch_device" --steps 11 \
            ${whole[@]+"${whole[@]}"} --json "$out/$row.torch.json" || true
    done
    tables speed "$out" "${rows[@]}"
}

# losses NAME DEVICE OVERRIDE..: 200 steps of the small model on `$corpus`, at a learning rate that does
# not amplify rounding: with the recipe's 3e-3, f32 and bf16 on one CPU come to differ by 16 %.
losses() {
    local name="$1" where="$2"
    shift 2
    "$neo" train train/recipes/real_small.toml --out "$out/losses-$name" --device "$where" \
        --set data.corpus="$corpus" --set phase.0.steps=200 --set phase.0.schedule.total_steps=200 \
        --set phase.0.schedule.peak_lr=5e-4 --set phase.0.schedule.min_lr=5e-5 \
        --set phase.1.steps=1 --set eval.max_tokens=1000 --set eval.interval_steps=100000 \
        --set checkpoint.interval_steps=100000 "$@"
}

parity() {
    local corpus
    corpus="$(corpus_folder)"
    "$neo" doctor
    local tests=() test failed=0
    [[ -z "${TESTS:-}" ]] || tests=("$TESTS"/*)
    for test in ${tests[@]+"${tests[@]}"}; do
        echo "== $(basename "$test")"
        NEO_TEST_DEVICE="$device" "$(unpacked "$test")" || failed=1
    done
    losses cpu flex &
    local on_cpu=$!
    losses f32 "$device"
    losses bf16 "$device" --set precision=bf16
    wait "$on_cpu"
    tables losses "$out/losses-cpu" "$out/losses-f32=1e-3" "$out/losses-bf16=1e-2" && [[ "$failed" == 0 ]]
}

# The 250M model on real text: the rounds of real_small.toml, in longer rows.
real_text=(
    --set "phase.0.mixture={ books = 1.0, shakespeare = 1.0, c4 = 1.0, wiki = 1.0, wikitext = 1.0, novels = 1.0, classics = 1.0, poetry = 1.0, docs = 1.0, crates = 0.5 }"
    --set batch.seq_len=2048 --set log.interval_steps=1
)

run() {
    local corpus
    corpus="$(corpus_folder)"
    python3 bench/killed_once.py --neo "$neo" --device "$device" --out "$out/run" \
        --minutes "${MINUTES:-8}" "${RUN_RECIPE:-train/recipes/neo_250m.toml}" \
        --set data.corpus="$corpus" "${real_text[@]}" --set batch.micro_batch_sequences=8 \
        --set phase.0.batch_sequences=32 --set phase.0.schedule.peak_lr=6e-4 \
        --set phase.0.schedule.min_lr=6e-5 --set phase.0.schedule.warmup_steps=100 \
        --set eval.max_tokens=100000
}

memory() {
    local corpus
    corpus="$(corpus_folder)"
    local recipe="${RUN_RECIPE:-train/recipes/neo_250m.toml}" overrides steps="${STEPS:-2000}"
    overrides=(
        --set data.corpus="$corpus" "${real_text[@]}" --set batch.micro_batch_sequences=4
        --set phase.0.batch_sequences=8 --set phase.0.steps="$steps"
        --set phase.0.schedule.total_steps="$steps" --set phase.0.schedule.warmup_steps=$((steps / 20))
        --set eval.interval_steps=500 --set eval.max_tokens=20000 --set checkpoint.interval_steps=1000000
    )
    "$neo" plan "$recipe" "${overrides[@]}" ${hopper[@]+"${hopper[@]}"} --json > "$out/memory.plan.json"
    "$neo" train "$recipe" "${overrides[@]}" --device "$device" --out "$out/memory"
    local failed=0
    tables peak "$out/memory" "$out/memory.plan.json" || failed=1
    python3 bench/memory.py flat "$out/memory" --warm-up $((steps / 10)) && [[ "$failed" == 0 ]]
}

case "|$stages|" in
    *"|$stage|"*) "$stage" "$@" ;;
    *) echo "no stage \`$stage\`, expected one of $stages" >&2; exit 2 ;;
esac
