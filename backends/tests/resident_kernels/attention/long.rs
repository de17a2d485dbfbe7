//! All flash kernels in a row against the composed form: as many tiles as real rows have.

use super::{Problem, Shape, composed, flash::Flash};
use crate::{
    bench::on_cards,
    numbers::{Bf16, F32},
};

/// Lengths for a card of silicon; the emulated one is too slow for them.
const LONG: [usize; 2] = [2048, 8192];
/// Longer than all stages of a ring together.
const SHORT: [usize; 1] = [600];

/// Head sizes for which the flash kernels are tuned.
const HEAD_DIMS: [usize; 4] = [64, 128, 192, 256];
const GRADIENTS: [&str; 3] = ["long d_query", "long d_key", "long d_value"];

#[test]
fn flash_attention_of_long_rows_is_composed_attention() {
    on_cards(|bench| {
        let is_emulated = bench.card.name() == "emulated card";
        let lengths: &[usize] = if is_emulated { &SHORT } else { &LONG };
        for (&seq, documents) in lengths.iter().flat_map(|seq| [(seq, false), (seq, true)]) {
            for head_dim in HEAD_DIMS {
                let Some(flash) = Flash::compile(bench, head_dim) else { return };
                let shape = Shape { batch: 1, seq, heads: 2, kv_heads: 1, head_dim, documents };
                let problem = Problem::new(shape, Bf16);
                let (found, expected) = (flash.attend(&problem), composed::attend(bench, &problem));
                bench.close("long out", Bf16, &found.out, &expected.out, &shape);
                bench.close("long lse", F32, &found.lse, &expected.lse, &shape);
                let gradients =
                    shape.parts(&found.d_qkv).into_iter().zip(shape.parts(&expected.d_qkv));
                for ((found, expected), what) in gradients.zip(GRADIENTS) {
                    bench.close(what, Bf16, &found, &expected, &shape);
                }
            }
        }
    });
}
