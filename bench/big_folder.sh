#!/bin/sh
# Memory of import and export: a folder of MAP-Neo 2B's shape (4.49 GB in bf16, five shards) goes in
# and out, and the peak resident memory of each command must stay under 2 GiB.
#
#     bench/big_folder.sh target/release/neo [scratch folder with 20 GB free]
#
# Needs python3 (standard library only) to make the folder and to read the peak. Everything it made is
# deleted at the end. Exits 1 when a command fails, needs more, or changes a byte of the weights.
set -eu

neo=$(realpath "${1:?usage: big_folder.sh NEO [SCRATCH]}")
scratch=$(mktemp -d "${2:-${TMPDIR:-/tmp}}/neo-big-folder.XXXXXX")
trap 'rm -rf "$scratch"' EXIT INT TERM

python3 - "$neo" "$scratch" <<'PYTHON'
import hashlib, json, os, pathlib, resource, struct, subprocess, sys, time

LIMIT_BYTES = 2 << 30
N_LAYERS, D_MODEL, N_HEADS, N_KV_HEADS, HEAD_DIM, D_FF, VOCAB = 18, 2048, 8, 1, 256, 16384, 64128
neo, scratch = sys.argv[1], pathlib.Path(sys.argv[2])


def parameters():
    yield "model.embed_tokens.weight", [VOCAB, D_MODEL]
    for layer in range(N_LAYERS):
        block = f"model.layers.{layer}"
        yield f"{block}.input_layernorm.weight", [D_MODEL]
        yield f"{block}.self_attn.q_proj.weight", [N_HEADS * HEAD_DIM, D_MODEL]
        yield f"{block}.self_attn.k_proj.weight", [N_KV_HEADS * HEAD_DIM, D_MODEL]
        yield f"{block}.self_attn.v_proj.weight", [N_KV_HEADS * HEAD_DIM, D_MODEL]
        yield f"{block}.self_attn.o_proj.weight", [D_MODEL, N_HEADS * HEAD_DIM]
        yield f"{block}.post_attention_layernorm.weight", [D_MODEL]
        yield f"{block}.mlp.gate_proj.weight", [D_FF, D_MODEL]
        yield f"{block}.mlp.up_proj.weight", [D_FF, D_MODEL]
        yield f"{block}.mlp.down_proj.weight", [D_MODEL, D_FF]
    yield "model.norm.weight", [D_MODEL]
    yield "lm_head.weight", [VOCAB, D_MODEL]


def size(shape):
    n_bytes = 2
    for width in shape:
        n_bytes *= width
    return n_bytes


def block_of(name):
    """64 KiB of finite bf16 values, different for every tensor: exponent bits are never all set."""
    noise = hashlib.shake_256(name.encode()).digest(1 << 16)
    return bytes(byte & 0xBF if odd else byte for odd, byte in zip([False, True] * (1 << 15), noise))


def write_shard(path, tensors):
    header, begin = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensors:
        end = begin + size(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors:
            block = block_of(name)
            for done in range(0, size(shape), len(block)):
                file.write(block[: size(shape) - done])


def make_folder(folder, max_shard_bytes=1_000_000_000):
    folder.mkdir()
    shards = [[]]
    for name, shape in parameters():
        if shards[-1] and sum(size(s) for _, s in shards[-1]) + size(shape) > max_shard_bytes:
            shards.append([])
        shards[-1].append((name, shape))
    weight_map = {}
    for idx, tensors in enumerate(shards, 1):
        file = f"model-{idx:05}-of-{len(shards):05}.safetensors"
        write_shard(folder / file, tensors)
        weight_map.update({name: file for name, _ in tensors})
    index = {"metadata": {"total_size": sum(size(s) for _, s in parameters())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": D_MODEL,
        "num_hidden_layers": N_LAYERS, "num_attention_heads": N_HEADS, "num_key_value_heads": N_KV_HEADS,
        "head_dim": HEAD_DIM, "intermediate_size": D_FF, "vocab_size": VOCAB, "rms_norm_eps": 1e-5,
        "max_position_embeddings": 8192, "rope_theta": 10000.0, "torch_dtype": "bfloat16",
        "tie_word_embeddings": False, "hidden_act": "silu", "bos_token_id": 1, "eos_token_id": 2,
    }
    (folder / "config.json").write_text(json.dumps(config))


def tensor_hashes(folder):
    hashes = {}
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as file:
            start = struct.unpack("<Q", file.read(8))[0]
            header = json.loads(file.read(start))
            for name, entry in header.items():
                if name == "__metadata__":
                    continue
                begin, end = entry["data_offsets"]
                file.seek(8 + start + begin)
                digest, left = hashlib.sha256(), end - begin
                while left:
                    piece = file.read(min(left, 1 << 24))
                    digest.update(piece)
                    left -= len(piece)
                hashes[name] = (entry["dtype"], entry["shape"], digest.hexdigest())
    return hashes


def measured(*command):
    """Runs a command and prints its peak, which the system never puts below this script's own."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}: status {status}")
    peak = usage.ru_maxrss * 1024
    seconds = time.monotonic() - start
    verdict = "ok" if peak < LIMIT_BYTES else "TOO MUCH"
    print(f"{command[1]:<8}{seconds:>8.1f} s{peak / 2**20:>10.1f} MiB  {verdict}", flush=True)
    return peak < LIMIT_BYTES


source, imported, exported, wide = (scratch / name for name in ("source", "imported", "exported", "f32"))
make_folder(source)
n_bytes = sum(path.stat().st_size for path in source.glob("*.safetensors"))
print(f"folder of {n_bytes / 1e9:.2f} GB in {len(list(source.glob('*.safetensors')))} shards", flush=True)
print(f"{'command':<8}{'time':>10}{'peak memory':>14}")
fine = measured(neo, "import", "--from", str(source), "--out", str(imported))
fine &= measured(neo, "export", "--model", str(imported), "--out", str(exported), "--max-shard-gb", "2")
same = tensor_hashes(source) == tensor_hashes(exported)
print("weights came out as they went in" if same else "WEIGHTS DIFFER")
for done in (source, exported):
    subprocess.run(["rm", "-rf", str(done)], check=True)
fine &= measured(neo, "export", "--model", str(imported), "--out", str(wide), "--dtype", "f32")
fine &= measured(neo, "verify", str(imported))
sys.exit(0 if fine and same else 1)
PYTHON
