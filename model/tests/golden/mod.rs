//! What the conformance tests of the network share: golden folders, the device, measured errors.
//!
//! Folders come from `NEO_GOLDEN` (default `../shared/data/golden`), the device from
//! `NEO_TEST_DEVICE` (default `flex`). All sizes are read from the files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use burn::tensor::{DType, Device, Tensor, TensorData};
use neo_backends::{Precision, kernels::linear_cross_entropy::Targets};
use neo_model::{
    Parameters, Recompute, Transformer,
    transformer::{InputIds, upload_ids},
    weights::WeightReader,
};
use serde_json::Value;

/// The device named by `NEO_TEST_DEVICE`, or `flex`.
pub(crate) fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| {
        let name = device_name();
        neo_backends::device::open(&name).unwrap_or_else(|problem| panic!("`{name}`: {problem}"))
    })
}

/// What `device` opens.
pub(crate) fn device_name() -> String {
    std::env::var("NEO_TEST_DEVICE").unwrap_or_else(|_| "flex".to_owned())
}

/// One golden checkpoint.
pub(crate) struct Golden {
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    /// `expected.json`.
    pub(crate) expected: Value,
}

/// Every checkpoint in the golden folder; none, with a note, where there is no such folder.
#[expect(clippy::print_stderr, reason = "a test says why it is skipped")]
pub(crate) fn checkpoints() -> Vec<Golden> {
    let named = std::env::var_os("NEO_GOLDEN").map(PathBuf::from);
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/golden");
    let models = named.clone().unwrap_or(default).join("model");
    assert!(named.is_none() || models.is_dir(), "NEO_GOLDEN has no folder `{}`", models.display());
    if !models.is_dir() {
        eprintln!("skipped: no golden folder `{}`", models.display());
        return Vec::new();
    }
    let entries = fs::read_dir(models).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> =
        entries.filter(|dir| dir.join("config.json").exists()).collect();
    folders.sort();
    assert!(!folders.is_empty(), "no checkpoint in the golden folder");
    folders.into_iter().map(Golden::open).collect()
}

impl Golden {
    fn open(dir: PathBuf) -> Self {
        let name = dir.file_name().unwrap().to_string_lossy().into_owned();
        let expected = serde_json::from_slice(&fs::read(dir.join("expected.json")).unwrap());
        Self { name, expected: expected.unwrap(), dir }
    }

    pub(crate) fn model(&self, precision: Precision) -> Transformer {
        Transformer::load(&self.dir, precision, device()).unwrap()
    }

    /// A file of reference values, when this checkpoint has it.
    pub(crate) fn values(&self, file: &str) -> Option<Values> {
        let path = self.dir.join(file);
        path.exists().then(|| Values(WeightReader::open(&path).unwrap()))
    }
}

/// Reference values by name.
pub(crate) struct Values(pub(crate) WeightReader);

impl Values {
    pub(crate) fn floats(&self, name: &str) -> Vec<f64> {
        let tensor = self.0.read(name).unwrap();
        tensor.to_f32().into_iter().map(f64::from).collect()
    }

    pub(crate) fn ids(&self, name: &str) -> Vec<u32> {
        let ids = self.0.read(name).unwrap().to_i64();
        ids.into_iter().map(|id| u32::try_from(id).unwrap()).collect()
    }

    /// Rows of a matrix of ids.
    pub(crate) fn rows(&self, name: &str) -> Vec<Vec<u32>> {
        let columns = *self.0.spec(name).unwrap().shape.last().unwrap();
        self.ids(name).chunks_exact(columns).map(<[u32]>::to_vec).collect()
    }
}

/// The largest error of each quantity of each checkpoint, printed at the end.
#[derive(Default)]
pub(crate) struct Errors(BTreeMap<(String, String), (f64, f64)>);

impl Errors {
    /// Notes one error, and fails when it is above what is allowed or not a number.
    pub(crate) fn check(&mut self, golden: &Golden, quantity: &str, error: f64, allowed: f64) {
        let name = &golden.name;
        assert!(error <= allowed, "{name} {quantity}: error {error:.2e} > {allowed:.0e}");
        let worst = self.0.entry((name.clone(), quantity.to_owned())).or_insert((0.0, allowed));
        worst.0 = worst.0.max(error);
    }

    /// Prints the table.
    #[expect(clippy::print_stderr, reason = "measured errors are part of the test's answer")]
    pub(crate) fn print(self) {
        for ((name, quantity), (error, allowed)) in self.0 {
            eprintln!("{name:10} {quantity:38} {error:8.1e}  allowed {allowed:.0e}");
        }
    }
}

/// Largest absolute difference; not a number when one is.
pub(crate) fn distance(actual: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let differences = actual.iter().zip(expected).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst })
}

/// A tensor's values on the host.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    let values = tensor.cast(DType::F32).try_into_vec_as::<f32>().unwrap();
    values.into_iter().map(f64::from).collect()
}

/// Result of a training pass.
pub(crate) struct Trained {
    /// Of each target, unweighted.
    pub(crate) nll: Vec<f64>,
    /// Mean over the targets that the mask keeps.
    pub(crate) loss: f64,
    pub(crate) gradients: Parameters,
    pub(crate) n_tokens: f64,
}

/// Each row's tokens are predicted from the ones before; limits and positions are for a single row.
pub(crate) fn train(
    model: &Transformer,
    rows: &[Vec<u32>],
    mask: &[f64],
    document_start: Option<&[u32]>,
    positions: Option<&[u32]>,
) -> Trained {
    let seq = rows[0].len() - 1;
    let inputs: Vec<u32> = rows.iter().flat_map(|row| row[..seq].to_vec()).collect();
    let targets: Vec<u32> = rows.iter().flat_map(|row| row[1..].to_vec()).collect();
    let input = model.upload(InputIds {
        ids: &inputs,
        batch: rows.len(),
        seq,
        document_start: document_start.map(|start| &start[..seq]),
        positions: positions.map(|positions| &positions[..seq]),
    });
    let n_tokens: f64 = mask.iter().sum();
    let weights: Vec<f32> = mask.iter().map(|weight| (weight / n_tokens) as f32).collect();
    let weights = TensorData::new(weights, [mask.len()]);
    let targets = Targets {
        ids: upload_ids(&targets, device()),
        weights: Tensor::from_data(weights, (device(), DType::F32)),
    };
    let mut gradients = Parameters::zeros(&model.config, device());
    let losses = model.loss_and_gradients(&input, &targets, 0.0, Recompute::None, &mut gradients);
    let nll: Vec<f64> = host(losses.log_probs).into_iter().map(|p| -p).collect();
    let loss = nll.iter().zip(mask).map(|(nll, weight)| nll * weight).sum::<f64>() / n_tokens;
    Trained { nll, loss, gradients, n_tokens }
}
