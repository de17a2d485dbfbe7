//! Every kernel against plain f64 loops, in bf16, where the device has it.
//!
//! Apart from `parity.rs` because the portable form that Flex takes for bf16 counts as a fallback,
//! and the counter belongs to the process.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod oracle;

use burn::tensor::DType;
use neo_backends::fallback;
use oracle::{Form, Setup, cases, device, on_flex};

#[test]
#[expect(clippy::print_stderr, reason = "a test says why it is skipped")]
fn bf16_is_close_and_counts_what_is_slow() {
    if !device().supports_dtype(DType::BF16) {
        eprintln!("skipped: the device has no bf16");
        return;
    }
    // The kernel, and whether Flex has a host form of it that bf16 tensors cannot take.
    let kernels: [(fn(Setup), bool); 10] = [
        (cases::linear, true),
        (cases::rope, true),
        (cases::linear_cross_entropy, true),
        (cases::embedding, false),
        (cases::adamw, false),
        (cases::rms_norm, true),
        (cases::swiglu, true),
        (cases::attention, true),
        (cases::attention_decoding, true),
        (cases::grad_norm, true),
    ];
    for (idx, (kernel, needs_f32)) in kernels.into_iter().enumerate() {
        for (seed, form) in [(3, Form::OfDevice), (4, Form::Portable)] {
            let before = fallback::count();
            kernel(Setup { dtype: DType::BF16, form, tolerance: 2e-2, seed });
            let fell_back = fallback::count() > before;
            let expected = needs_f32 && form == Form::OfDevice && on_flex();
            assert_eq!(fell_back, expected, "kernel {idx} {form:?}");
        }
    }
}
