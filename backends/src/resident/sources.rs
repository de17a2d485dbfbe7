//! The CUDA C++ of `kernels/`, as it is compiled into this library.

/// A file that is compiled on its own.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Its name in `kernels/`.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

/// Reads a file of `kernels/` when this library is compiled.
macro_rules! source {
    ($name:literal) => {
        Source { name: $name, text: include_str!(concat!("kernels/", $name)) }
    };
}

/// The update.
pub const ADAMW: Source = source!("adamw.cu");
/// Attention by chunks of queries through products.
pub const ATTENTION_COMPOSED: Source = source!("attention_composed.cu");
/// Flash attention on Hopper's matrix units.
pub const ATTENTION_SM90: Source = source!("attention_sm90.cu");
/// From one number format to the other.
pub const CAST: Source = source!("cast.cu");
/// Softmax over the vocabulary, with its gradient.
pub const CROSS_ENTROPY: Source = source!("cross_entropy.cu");
/// Rows of the embedding, and sums into them.
pub const EMBEDDING: Source = source!("embedding.cu");
/// The global norm.
pub const GRAD_NORM: Source = source!("grad_norm.cu");
/// Sums of the loss.
pub const LOSS: Source = source!("loss.cu");
/// RMSNorm.
pub const RMS_NORM: Source = source!("rms_norm.cu");
/// Rotary position embedding.
pub const ROPE: Source = source!("rope.cu");
/// SwiGLU.
pub const SWIGLU: Source = source!("swiglu.cu");

/// What sources include.
pub const HEADERS: &[Source] = &[
    source!("attention_delta.cuh"),
    source!("attention_forward.cuh"),
    source!("attention_key_value.cuh"),
    source!("attention_key_value_paired.cuh"),
    source!("attention_key_value_single.cuh"),
    source!("attention_key_value_step.cuh"),
    source!("attention_query.cuh"),
    source!("attention_query_stream.cuh"),
    source!("attention_rows.cuh"),
    source!("attention_tiles.cuh"),
    source!("common.cuh"),
    source!("exp_sum.cuh"),
    source!("hopper.cuh"),
    source!("reduce.cuh"),
    source!("vector.cuh"),
    source!("wgmma.cuh"),
];

/// Every source, for the checks that compile them all.
pub const ALL: &[Source] = &[
    ADAMW,
    ATTENTION_COMPOSED,
    ATTENTION_SM90,
    CAST,
    CROSS_ENTROPY,
    EMBEDDING,
    GRAD_NORM,
    LOSS,
    RMS_NORM,
    ROPE,
    SWIGLU,
];
