//! What the kernel tests share: the device, seeded inputs, and the comparison of a tensor with f64.
//!
//! `reference.rs` holds plain f64 loops, `cases.rs` runs every kernel against them, `random.rs` draws
//! inputs. A test binary picks the number format and the form and calls one function of `cases` per
//! kernel.

pub(crate) mod cases;
mod random;
pub(crate) mod reference;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
pub(crate) use random::Random;

/// The device named by `NEO_TEST_DEVICE`, or `flex`.
pub(crate) fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let name = device_name();
        neo_backends::device::open(&name).unwrap_or_else(|problem| panic!("`{name}`: {problem}"))
    })
}

fn device_name() -> String {
    std::env::var("NEO_TEST_DEVICE").unwrap_or_else(|_| "flex".to_owned())
}

/// Whether the tests run on the CPU backend, which has host forms and time for every case.
pub(crate) fn on_flex() -> bool {
    device_name() == "flex"
}

/// Whether the tests run on ATen's operations.
pub(crate) fn on_libtorch() -> bool {
    device_name().starts_with("tch")
}

/// All cases where kernels come compiled; the first `few` where each shape is compiled anew.
pub(crate) fn thinned<T>(cases: &[T], few: usize) -> &[T] {
    if on_flex() || on_libtorch() { cases } else { &cases[..few.min(cases.len())] }
}

/// Which of a kernel's two forms is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// What the kernel takes by itself: on Flex the host form where there is one.
    OfDevice,
    /// The portable form: tensors of an autodiff device, which no host form takes.
    Portable,
}

/// Number format, form and inputs of one run over all cases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) dtype: DType,
    pub(crate) form: Form,
    pub(crate) tolerance: f64,
    pub(crate) seed: u64,
}

impl Setup {
    /// Draws for one case of this run.
    pub(crate) fn random(&self, case_idx: usize) -> Random {
        Random::new(self.seed << 32 | case_idx as u64)
    }

    /// An input in the number format of the run.
    pub(crate) fn tensor<const D: usize>(&self, values: &[f64], shape: [usize; D]) -> Tensor<D> {
        self.wide(values, shape).cast(self.dtype)
    }

    /// An input that is f32 in every precision: sums, weights of the loss, optimizer state.
    pub(crate) fn wide<const D: usize>(&self, values: &[f64], shape: [usize; D]) -> Tensor<D> {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let tensor = Tensor::from_data(TensorData::new(values, shape), (device(), DType::F32));
        match self.form {
            Form::OfDevice => tensor,
            Form::Portable => tensor.autodiff(),
        }
    }

    /// Ids on the device, autodiff or not as the inputs.
    pub(crate) fn ids(&self, ids: &[usize]) -> Tensor<1, Int> {
        let ids: Vec<i64> = ids.iter().map(|&id| id as i64).collect();
        let n = ids.len();
        Tensor::from_data(TensorData::new(ids, [n]), &self.device())
    }

    pub(crate) fn device(&self) -> Device {
        match self.form {
            Form::OfDevice => device().clone(),
            Form::Portable => device().clone().autodiff(),
        }
    }

    /// Normal draws times `scale`, each a number that the format of the run holds exactly.
    pub(crate) fn normal(&self, random: &mut Random, n: usize, scale: f64) -> Vec<f64> {
        (0..n).map(|_| self.rounded(random.normal() * scale)).collect()
    }

    fn rounded(&self, value: f64) -> f64 {
        let value = value as f32;
        match self.dtype {
            DType::BF16 => f64::from(f32::from_bits(value.to_bits() & 0xffff_0000)),
            _ => f64::from(value),
        }
    }
}

/// The largest error of each quantity of one kernel.
pub(crate) struct Report {
    kernel: &'static str,
    setup: Setup,
    worst: BTreeMap<&'static str, (f64, String)>,
}

impl Report {
    pub(crate) fn new(kernel: &'static str, setup: Setup) -> Self {
        Self { kernel, setup, worst: BTreeMap::new() }
    }

    /// Compares a result with its reference by `||a - b|| / ||b||`.
    pub(crate) fn check<const D: usize>(
        &mut self,
        quantity: &'static str,
        case: &dyn std::fmt::Debug,
        actual: Tensor<D>,
        expected: &[f64],
    ) {
        let actual = host(actual);
        assert_eq!(actual.len(), expected.len(), "{} {quantity} {case:?}", self.kernel);
        let error = relative(&actual, expected);
        let case = format!("{case:?}");
        let Self { kernel, setup: Setup { dtype, form, tolerance, .. }, .. } = *self;
        assert!(
            error <= tolerance,
            "{kernel} {quantity} {case} {dtype:?} {form:?}: error {error:.2e} > {tolerance:e}"
        );
        let worst = self.worst.entry(quantity).or_insert((0.0, String::new()));
        if error >= worst.0 {
            *worst = (error, case);
        }
    }

    /// Prints the largest errors.
    #[expect(clippy::print_stderr, reason = "measured errors are part of the test's answer")]
    pub(crate) fn finish(self) {
        assert!(!self.worst.is_empty(), "{}: no case ran", self.kernel);
        let Setup { dtype, form, .. } = self.setup;
        for (quantity, (error, case)) in self.worst {
            let kernel = self.kernel;
            eprintln!("{kernel:>21} {quantity:12} {dtype:?} {form:?} {error:.1e} at {case}");
        }
    }
}

/// A tensor's values on the host.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let plain = if tensor.is_autodiff() { tensor.without_autodiff() } else { tensor };
    let values = plain.cast(DType::F32).try_into_vec_as::<f32>().unwrap();
    values.into_iter().map(f64::from).collect()
}

/// `||a - b|| / ||b||`, or the root mean square of a where b is zero.
pub(crate) fn relative(actual: &[f64], expected: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut actual.iter().zip(expected).map(|(a, b)| a - b));
    let size = norm(&mut expected.iter().copied());
    difference / if size == 0.0 { (actual.len() as f64).sqrt() } else { size }
}
