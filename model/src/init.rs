//! Initial weights: a pure function of (seed, parameter name), equal on every backend.
//!
//! Each value comes from a counter, not from a state: value `i` of a parameter hashes
//! `(key, i)` with SplitMix64's finaliser (Steele et al., OOPSLA 2014) and turns two uniforms into
//! a normal by Box and Muller. So neither threads nor the order of parameters matter.

use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::{ModelConfig, parameters::Parameters};

/// Parameters as MAP-Neo initialises them: norms 1, matrices `N(0, init_std)`, the attention output
/// and the down projection `N(0, init_std / sqrt(2 n_layers))` (sheet 1.1).
pub(crate) fn parameters(config: &ModelConfig, seed: u64, device: &Device) -> Parameters {
    let make = |name: &str, shape: [usize; 2]| {
        let values = values(config, seed, name, shape.iter().product());
        Ok::<_, std::convert::Infallible>(Tensor::from_data(TensorData::new(values, shape), device))
    };
    let Ok(parameters) = Parameters::build(config, make);
    parameters
}

/// The `n` initial values of one parameter.
pub fn values(config: &ModelConfig, seed: u64, name: &str, n: usize) -> Vec<f32> {
    match std_of(config, name) {
        Some(std) => normal(seed, name, n, std),
        None => vec![1.0; n],
    }
}

/// Standard deviation of a parameter; `None` for a norm.
fn std_of(config: &ModelConfig, name: &str) -> Option<f64> {
    if name.ends_with("norm.weight") {
        None
    } else if name.ends_with("o_proj.weight") || name.ends_with("down_proj.weight") {
        Some(config.init_std / (2.0 * config.n_layers as f64).sqrt())
    } else {
        Some(config.init_std)
    }
}

/// `n` draws of `N(0, std)` that depend on nothing but the arguments.
fn normal(seed: u64, name: &str, n: usize, std: f64) -> Vec<f32> {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(name.as_bytes());
    let digest = hash.finalize();
    let key = u64::from_le_bytes(digest[..8].try_into().expect("a digest has 32 bytes"));
    (0..n)
        .into_par_iter()
        .with_min_len(4096)
        .map(|i| {
            let counter = 2 * i as u64;
            let (a, b) = (uniform(key, counter), uniform(key, counter + 1));
            let radius = (-2.0 * a.ln()).sqrt();
            (radius * (std::f64::consts::TAU * b).cos() * std) as f32
        })
        .collect()
}

/// A uniform in `(0, 1)` with 53 bits.
pub(crate) fn uniform(key: u64, counter: u64) -> f64 {
    let mut z = key.wrapping_add(counter.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    ((z >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_normal_and_keyed() {
        let draws = normal(7, "a", 100_000, 0.02);
        let mean = draws.iter().map(|&x| f64::from(x)).sum::<f64>() / draws.len() as f64;
        let variance =
            draws.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / draws.len() as f64;
        let within = draws.iter().filter(|x| x.abs() < 0.02).count() as f64 / draws.len() as f64;
        assert!(mean.abs() < 3e-4, "mean {mean}");
        assert!((variance.sqrt() / 0.02 - 1.0).abs() < 0.01, "std {}", variance.sqrt());
        assert!((within - 0.6827).abs() < 0.01, "share within one std: {within}");
        assert_eq!(draws[..10], normal(7, "a", 10, 0.02)[..]);
        assert_ne!(draws[..10], normal(8, "a", 10, 0.02)[..]);
        assert_ne!(draws[..10], normal(7, "b", 10, 0.02)[..]);
    }
}
