//! Golden checkpoints through the host side: both configurations, names, shapes, and the way in and out.
//!
//! Reads the folder named by `NEO_GOLDEN`; without that variable `../shared/data/golden` is used when
//! it is there.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test says why it is skipped")]

use std::fs;
use std::path::{Path, PathBuf};

use neo_model::hf::{self, HfConfig};
use neo_model::weights::{Dtype, WeightReader};

/// The folder with reference values, or none when there is none and none was asked for.
fn golden_models() -> Option<PathBuf> {
    let named = std::env::var_os("NEO_GOLDEN").map(PathBuf::from);
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/golden");
    let models = named.clone().unwrap_or(default).join("model");
    assert!(named.is_none() || models.is_dir(), "NEO_GOLDEN has no folder `{}`", models.display());
    if !models.is_dir() {
        println!("skipped: no golden folder");
        return None;
    }
    Some(models)
}

/// Runs `check` on every golden checkpoint.
fn for_each_checkpoint(check: impl Fn(&Path)) {
    let Some(models) = golden_models() else { return };
    let entries = fs::read_dir(models).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<PathBuf> = entries.filter(|path| path.join("config.json").exists()).collect();
    assert!(!folders.is_empty(), "no checkpoint in the golden folder");
    folders.iter().for_each(|folder| check(folder));
}

#[test]
fn conformance_both_configurations_describe_the_weights() {
    for_each_checkpoint(|folder| {
        let older = HfConfig::read(folder).unwrap();
        let newer = HfConfig::read_file(&folder.join("config_v5.json")).unwrap();
        assert_eq!(older, newer, "{}", folder.display());
        let weights = WeightReader::open(folder).unwrap();
        let specs = hf::check_parameters(&weights, &older.model).unwrap();
        let n_params: u64 = specs.iter().map(|spec| spec.n_elements()).sum();
        let expected: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
        assert_eq!(Some(n_params), expected["parameters"].as_u64(), "{}", folder.display());
        assert_eq!(n_params, older.model.num_params());
    });
}

#[test]
fn conformance_import_and_export_keep_every_bit() {
    for_each_checkpoint(|folder| {
        let dir = tempfile::tempdir().unwrap();
        let (imported, exported) = (dir.path().join("imported"), dir.path().join("exported"));
        hf::import(folder, &imported, &mut |_, _| ()).unwrap();
        let largest = WeightReader::open(folder).unwrap();
        let largest = largest.names().map(|name| largest.spec(name).unwrap().n_bytes()).max();
        hf::export(&imported, &exported, None, largest.unwrap(), &mut |_, _| ()).unwrap();
        assert!(exported.join("model.safetensors.index.json").exists(), "more than one shard");
        assert!(exported.join("generation_config.json").exists());
        assert_eq!(HfConfig::read(&exported).unwrap(), HfConfig::read(folder).unwrap());
        let [before, after] = [folder, &exported].map(|path| WeightReader::open(path).unwrap());
        assert_eq!(before.names().count(), after.names().count());
        for name in before.names() {
            assert_eq!(before.read(name).unwrap(), after.read(name).unwrap(), "{name}");
        }
    });
}

#[test]
fn conformance_casting_on_export_rounds_to_nearest() {
    for_each_checkpoint(|folder| {
        let dir = tempfile::tempdir().unwrap();
        let narrow = dir.path().join("narrow");
        hf::export(folder, &narrow, Some(Dtype::BF16), u64::MAX, &mut |_, _| ()).unwrap();
        let [wide, narrow] = [folder, &narrow].map(|path| WeightReader::open(path).unwrap());
        for name in wide.names() {
            let stored = narrow.read(name).unwrap();
            assert_eq!(stored.dtype, Dtype::BF16);
            for (exact, rounded) in wide.read(name).unwrap().to_f32().iter().zip(stored.to_f32()) {
                let half_step = f32::from_bits(exact.to_bits() & 0x7F80_0000) / 256.0;
                assert!((exact - rounded).abs() <= half_step, "{name}: {exact} became {rounded}");
            }
        }
    });
}
