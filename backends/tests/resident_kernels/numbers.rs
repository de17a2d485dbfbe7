//! Number formats of arrays on a card, as f64 on the host, and how close results must come.

use neo_backends::Precision;

use crate::random::Random;

/// Format of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Format {
    F32,
    Bf16,
    I32,
    F64,
}

pub(crate) use Format::{Bf16, F32, F64, I32};

/// The formats that kernels are compiled for.
pub(crate) const ELEMENTS: [Format; 2] = [F32, Bf16];

impl Format {
    /// Largest `||a - b|| / ||b||` of a result that is stored in this format.
    ///
    /// In f32 nothing but the last digits may differ: on the emulated card 2.6e-6 is the most that is
    /// seen, of gradients that are differences, and fast exponentials and divisions of a real one cost
    /// a few digits more. Rounding to bf16 once costs 1.7e-3 and up to 3.9e-3 of a single number; what
    /// rounds in between reaches 3.3e-3. Sums in f64 are those of short runs in f32: 4.7e-8 is seen.
    pub(crate) fn tolerance(self) -> f64 {
        match self {
            F32 => 1e-5,
            Bf16 => 5e-3,
            F64 => 1e-6,
            I32 => 0.0,
        }
    }

    /// The macro value that selects this format.
    pub(crate) fn c_name(self) -> String {
        let name = match self {
            F32 => "float",
            Bf16 => "bf16",
            I32 | F64 => unreachable!("kernels compute with floats of at most 32 bits"),
        };
        name.to_owned()
    }

    pub(crate) fn precision(self) -> Precision {
        if self == Bf16 { Precision::Bf16 } else { Precision::F32 }
    }

    pub(crate) fn bytes(self) -> usize {
        match self {
            Bf16 => 2,
            F32 | I32 => 4,
            F64 => 8,
        }
    }

    /// Elements that kernels take at once, where rows allow it.
    pub(crate) fn width(self) -> usize {
        16 / self.bytes()
    }

    /// The nearest number that the format holds, the even one of two.
    pub(crate) fn rounded(self, value: f64) -> f64 {
        match self {
            F32 => f64::from(value as f32),
            Bf16 => f64::from(f32::from_bits(u32::from(bf16_bits(value as f32)) << 16)),
            I32 | F64 => value,
        }
    }

    pub(crate) fn encode(self, values: &[f64]) -> Vec<u8> {
        let bytes = |&value: &f64| match self {
            F32 => (value as f32).to_le_bytes().to_vec(),
            Bf16 => bf16_bits(value as f32).to_le_bytes().to_vec(),
            I32 => (value as i32).to_le_bytes().to_vec(),
            F64 => value.to_le_bytes().to_vec(),
        };
        values.iter().flat_map(bytes).collect()
    }

    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f64> {
        let value = |bytes: &[u8]| match self {
            F32 => f64::from(f32::from_le_bytes(bytes.try_into().unwrap())),
            Bf16 => f64::from(f32::from_le_bytes([0, 0, bytes[0], bytes[1]])),
            I32 => f64::from(i32::from_le_bytes(bytes.try_into().unwrap())),
            F64 => f64::from_le_bytes(bytes.try_into().unwrap()),
        };
        bytes.chunks_exact(self.bytes()).map(value).collect()
    }

    /// Normal draws times `scale`, each a number that the format holds.
    pub(crate) fn normal(self, random: &mut Random, n: usize, scale: f64) -> Vec<f64> {
        (0..n).map(|_| self.rounded(random.normal() * scale)).collect()
    }

    /// Each value as the format holds it.
    pub(crate) fn all_rounded(self, values: &[f64]) -> Vec<f64> {
        values.iter().map(|&value| self.rounded(value)).collect()
    }
}

/// The upper half of the f32 that is nearest, the even one of two.
fn bf16_bits(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// `||a - b|| / ||b||`; the norm of a where b is zero.
pub(crate) fn relative(found: &[f64], expected: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let gap = norm(&mut found.iter().zip(expected).map(|(a, b)| a - b));
    let size = norm(&mut expected.iter().copied());
    if size == 0.0 { gap } else { gap / size }
}
