//! Weights on the host, a tensor at a time: safetensors in and out, and the conversions between them.
//!
//! `reader.rs` reads tensors where they lie, `writer.rs` streams them out while hashing, `header.rs`
//! is the one place that knows the file format. Nothing here knows burn or a device, and nothing
//! holds more than one tensor; names and shapes are checked against a model in `hf.rs`.

mod header;
mod reader;
mod writer;

use half::{bf16, f16};

pub use reader::WeightReader;
pub(crate) use writer::HashingFile;
pub use writer::{FileSummary, ShardedWeightWriter, WeightWriter};

/// Element type of a stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// bfloat16.
    BF16,
    /// IEEE half.
    F16,
    /// 64-bit integer, as token ids are stored beside reference values; never a weight.
    I64,
}

impl Dtype {
    const ALL: [Self; 4] = [Self::F32, Self::BF16, Self::F16, Self::I64];

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Self::BF16 | Self::F16 => 2,
            Self::F32 => 4,
            Self::I64 => 8,
        }
    }

    /// Whether weights can have this type.
    pub fn is_float(self) -> bool {
        self != Self::I64
    }

    /// The format's spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::BF16 => "BF16",
            Self::F16 => "F16",
            Self::I64 => "I64",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.name() == name)
    }
}

/// What a tensor is, without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Name in the file.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes, slowest first.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// A tensor of this name, type and shape.
    pub fn new(name: impl Into<String>, dtype: Dtype, shape: impl Into<Vec<usize>>) -> Self {
        Self { name: name.into(), dtype, shape: shape.into() }
    }

    /// Elements; the largest number when they cannot be counted.
    pub fn n_elements(&self) -> u64 {
        self.shape.iter().fold(1, |all: u64, &size| all.saturating_mul(size as u64))
    }

    /// Bytes of the values; the largest number when they cannot be counted.
    pub fn n_bytes(&self) -> u64 {
        self.n_elements().saturating_mul(self.dtype.size() as u64)
    }
}

/// A tensor in host memory: little-endian values, row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostTensor {
    /// Name in the file.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Sizes, slowest first.
    pub shape: Vec<usize>,
    /// The values, `dtype.size()` bytes each.
    pub bytes: Vec<u8>,
}

impl HostTensor {
    /// Stores `values` as f32.
    ///
    /// # Panics
    /// When `shape` does not have as many elements as `values`.
    pub fn from_f32(name: impl Into<String>, shape: impl Into<Vec<usize>>, values: &[f32]) -> Self {
        let TensorSpec { name, dtype, shape } = TensorSpec::new(name, Dtype::F32, shape);
        let n_elements: usize = shape.iter().product();
        assert_eq!(n_elements, values.len(), "`{name}` of shape {shape:?}");
        Self { name, dtype, shape, bytes: encode(Dtype::F32, values.iter().copied()) }
    }

    /// What the tensor is, without its values.
    pub fn spec(&self) -> TensorSpec {
        TensorSpec::new(self.name.clone(), self.dtype, self.shape.clone())
    }

    /// The values as f32; exact for the smaller floats, rounded for integers above 2^24.
    pub fn to_f32(&self) -> Vec<f32> {
        match self.dtype {
            Dtype::F32 => f32s(&self.bytes).collect(),
            Dtype::BF16 => bf16s(&self.bytes).collect(),
            Dtype::F16 => f16s(&self.bytes).collect(),
            Dtype::I64 => i64s(&self.bytes).map(|value| value as f32).collect(),
        }
    }

    /// The values as integers; floats lose their fraction.
    pub fn to_i64(&self) -> Vec<i64> {
        match self.dtype {
            Dtype::I64 => i64s(&self.bytes).collect(),
            _ => self.to_f32().into_iter().map(|value| value as i64).collect(),
        }
    }

    /// The same values in another type, rounded to nearest, ties to even.
    pub fn cast(&self, dtype: Dtype) -> Self {
        let bytes = convert(&self.bytes, self.dtype, dtype);
        Self { name: self.name.clone(), dtype, shape: self.shape.clone(), bytes }
    }

    /// Index of the first element that is infinite or not a number.
    pub fn first_non_finite(&self) -> Option<usize> {
        first_non_finite(&self.bytes, self.dtype)
    }
}

/// The same values in another type, rounded to nearest, ties to even.
fn convert(bytes: &[u8], from: Dtype, to: Dtype) -> Vec<u8> {
    match from {
        _ if from == to => bytes.to_vec(),
        Dtype::F32 => encode(to, f32s(bytes)),
        Dtype::BF16 => encode(to, bf16s(bytes)),
        Dtype::F16 => encode(to, f16s(bytes)),
        Dtype::I64 => encode(to, i64s(bytes).map(|value| value as f32)),
    }
}

/// Index of the first value whose exponent bits are all set.
pub(crate) fn first_non_finite(bytes: &[u8], dtype: Dtype) -> Option<usize> {
    let find_half = |exponent: u16| {
        let (halves, _) = bytes.as_chunks::<2>();
        halves.iter().position(|half| u16::from_le_bytes(*half) & exponent == exponent)
    };
    match dtype {
        Dtype::F32 => f32s(bytes).position(|value| !value.is_finite()),
        Dtype::BF16 => find_half(0x7F80),
        Dtype::F16 => find_half(0x7C00),
        Dtype::I64 => None,
    }
}

fn encode(dtype: Dtype, values: impl Iterator<Item = f32>) -> Vec<u8> {
    match dtype {
        Dtype::F32 => values.flat_map(f32::to_le_bytes).collect(),
        Dtype::BF16 => values.flat_map(|value| bf16::from_f32(value).to_le_bytes()).collect(),
        Dtype::F16 => values.flat_map(|value| f16::from_f32(value).to_le_bytes()).collect(),
        Dtype::I64 => values.flat_map(|value| (value as i64).to_le_bytes()).collect(),
    }
}

fn f32s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word))
}

fn bf16s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<2>().0.iter().map(|half| bf16::from_le_bytes(*half).to_f32())
}

fn f16s(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks::<2>().0.iter().map(|half| f16::from_le_bytes(*half).to_f32())
}

fn i64s(bytes: &[u8]) -> impl Iterator<Item = i64> {
    bytes.as_chunks::<8>().0.iter().map(|word| i64::from_le_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(dtype: Dtype, value: f32, expected: f32) {
        let stored = HostTensor::from_f32("x", [1], &[value]).cast(dtype).to_f32()[0];
        assert_eq!(stored.to_bits(), expected.to_bits(), "{value} as {dtype:?} is {stored}");
    }

    #[test]
    fn casts_round_to_nearest_even() {
        check(Dtype::F32, 0.1, 0.1);
        check(Dtype::BF16, 1.0 + 1.0 / 256.0, 1.0);
        check(Dtype::BF16, 1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0);
        check(Dtype::BF16, 1.0 + 1.1 / 256.0, 1.0 + 2.0 / 256.0);
        check(Dtype::BF16, -0.0, -0.0);
        check(Dtype::BF16, f32::MAX, f32::INFINITY);
        check(Dtype::F16, 1.0 + 1.0 / 2048.0, 1.0);
        check(Dtype::F16, 1.0 + 3.0 / 2048.0, 1.0 + 4.0 / 2048.0);
        check(Dtype::F16, 65_504.0, 65_504.0);
        check(Dtype::F16, f32::NEG_INFINITY, f32::NEG_INFINITY);
        check(Dtype::I64, 3.0, 3.0);
    }

    #[test]
    fn every_half_survives_the_way_through_f32() {
        let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        for dtype in [Dtype::BF16, Dtype::F16] {
            let halves =
                HostTensor { name: "x".into(), dtype, shape: vec![65_536], bytes: bytes.clone() };
            let back = halves.cast(Dtype::F32).cast(dtype);
            let differing =
                halves.bytes.chunks(2).zip(back.bytes.chunks(2)).filter(|(a, b)| a != b);
            // Signalling NaNs become quiet ones; nothing else may change.
            for (half, _) in differing {
                let value = HostTensor { bytes: half.to_vec(), shape: vec![1], ..halves.clone() };
                assert!(value.to_f32()[0].is_nan(), "{half:?}");
            }
        }
    }

    #[test]
    fn non_finite_values_are_found_in_every_float_type() {
        let values = [1.0, -0.0, f32::MIN_POSITIVE, f32::NAN, f32::INFINITY];
        for dtype in [Dtype::F32, Dtype::BF16, Dtype::F16] {
            let tensor = HostTensor::from_f32("x", [5], &values).cast(dtype);
            assert_eq!(tensor.first_non_finite(), Some(3), "{dtype:?}");
            assert_eq!(
                HostTensor::from_f32("x", [2], &[0.0, -1e4]).cast(dtype).first_non_finite(),
                None
            );
        }
    }

    #[test]
    fn sizes_that_cannot_be_counted_saturate() {
        let spec = TensorSpec::new("x", Dtype::F32, [usize::MAX, usize::MAX]);
        assert_eq!(spec.n_bytes(), u64::MAX);
        assert_eq!(TensorSpec::new("x", Dtype::F32, [usize::MAX, 0]).n_bytes(), 0);
    }
}
