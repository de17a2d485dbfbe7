//! Does a device compute correctly? One product of matrices against the same product on the host.
//!
//! For `neo doctor`: a driver that is installed but wrong, or that rounds where f32 was asked for,
//! shows here before it shows in a loss curve.

use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, TensorData};

use crate::Error;

/// Odd sizes, so that no tile of a fast kernel is full.
const SIZES: [usize; 3] = [67, 129, 83];
/// Largest deviation that f32 arithmetic explains.
const TOLERANCE: f64 = 1e-5;

/// What a device made of the product.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// `||found - expected|| / ||expected||`.
    pub relative_error: f64,
    /// Time of the product, with everything that the first one has to prepare.
    pub elapsed: Duration,
}

impl Probe {
    /// Whether the deviation is one that f32 explains.
    pub fn is_correct(&self) -> bool {
        self.relative_error <= TOLERANCE
    }
}

/// Multiplies two matrices on the device called `name` and compares with f64 on the host.
///
/// # Errors
/// The device cannot be opened or does not give its result back.
pub fn run(name: &str) -> Result<Probe, Error> {
    let device = crate::device::open(name)?;
    let [rows, inner, columns] = SIZES;
    let (left, right) = (values(rows * inner, 1), values(inner * columns, 2));
    let started = Instant::now();
    let product =
        upload(&left, [rows, inner], &device).matmul(upload(&right, [inner, columns], &device));
    let unavailable = |problem: String| Error::Unavailable { name: name.to_owned(), problem };
    let found = product
        .try_into_data()
        .map_err(|problem| unavailable(problem.to_string()))?
        .convert::<f32>()
        .try_into_vec::<f32>()
        .map_err(|problem| unavailable(format!("{problem:?}")))?;
    let elapsed = started.elapsed();
    let expected = product_in_f64(&left, &right);
    Ok(Probe { relative_error: relative_error(&found, &expected), elapsed })
}

fn upload(values: &[f32], shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device)
}

/// Numbers between -1 and 1 that look random and are the same everywhere.
fn values(n: usize, stream: u32) -> Vec<f32> {
    let mut state = stream.wrapping_mul(0x9e37_79b9);
    let mut next = || {
        // xorshift32 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (f64::from(state) / f64::from(u32::MAX) * 2.0 - 1.0) as f32
    };
    (0..n).map(|_| next()).collect()
}

fn product_in_f64(left: &[f32], right: &[f32]) -> Vec<f64> {
    let [rows, inner, columns] = SIZES;
    let entry = |row: usize, column: usize| -> f64 {
        (0..inner)
            .map(|k| f64::from(left[row * inner + k]) * f64::from(right[k * columns + column]))
            .sum()
    };
    (0..rows).flat_map(|row| (0..columns).map(move |column| entry(row, column))).collect()
}

fn relative_error(found: &[f32], expected: &[f64]) -> f64 {
    let difference: f64 = found
        .iter()
        .zip(expected)
        .map(|(found, expected)| (f64::from(*found) - expected).powi(2))
        .sum();
    let size: f64 = expected.iter().map(|expected| expected.powi(2)).sum();
    (difference / size).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_device_is_correct() {
        let name = crate::device::compiled_in().pop().unwrap();
        let probe = run(name).unwrap();
        assert!(probe.is_correct(), "{name}: {probe:?}");
    }

    #[test]
    fn a_wrong_entry_is_seen() {
        let [rows, inner, columns] = SIZES;
        let expected = product_in_f64(&values(rows * inner, 1), &values(inner * columns, 2));
        let mut found: Vec<f32> = expected.iter().map(|value| *value as f32).collect();
        let check = |found: &[f32], correct: bool| {
            let relative_error = relative_error(found, &expected);
            let probe = Probe { relative_error, elapsed: Duration::ZERO };
            assert_eq!(probe.is_correct(), correct, "{probe:?}");
        };
        check(&found, true);
        found[17] += 0.1;
        check(&found, false);
    }
}
