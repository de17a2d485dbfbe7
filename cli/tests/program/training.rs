//! What tests that train start from.

use super::program::Workplace;

impl Workplace {
    /// A corpus in `data/corpus` and a training recipe for it, `train.toml`.
    pub(crate) fn prepare_training(&self) {
        self.write_raw_text();
        self.neo(&["data", "run", "data.toml", "--out", "data"]).check(0, &[]);
        self.write("train.toml", TRAIN_RECIPE);
    }
}

/// Eight steps in two phases with a checkpoint every other step, in seconds.
pub(crate) const TRAIN_RECIPE: &str = "\
name = \"test\"
seed = 1
precision = \"f32\"
recompute = \"mlp\"
attention_span = \"document\"
[model]
vocab_size = 384
n_layers = 2
d_model = 32
n_heads = 4
n_kv_heads = 2
head_dim = 8
d_ff = 64
max_seq_len = 32
rope_base = 10000.0
norm_eps = 1e-5
init_std = 0.02
[data]
corpus = \"data/corpus\"
order = \"neo\"
[batch]
seq_len = 32
micro_batch_sequences = 2
[optimizer]
beta1 = 0.9
beta2 = 0.95
eps = 1e-8
weight_decay = 0.1
clip_norm = 1.0
moments = \"bf16\"
z_loss = 0.0
[[phase]]
name = \"fundamental\"
steps = 5
batch_sequences = 4
optimizer_state = \"fresh\"
mixture = { en = 1.0, zh = 1.0 }
[phase.schedule]
kind = \"cosine\"
peak_lr = 1e-2
min_lr = 1e-3
warmup_steps = 2
warmup_from_lr = 0.0
total_steps = 5
[[phase]]
name = \"decay\"
steps = 3
batch_sequences = 4
optimizer_state = \"fresh\"
mixture = { en = 1.0, zh = 2.0 }
[phase.schedule]
kind = \"exponential\"
peak_lr = 1e-3
min_lr = 1e-4
half_life_steps = 2.0
[eval]
interval_steps = 4
max_tokens = 200
[checkpoint]
interval_steps = 2
keep = 3
[log]
interval_steps = 1
";
