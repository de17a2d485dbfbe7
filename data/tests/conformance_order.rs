//! Megatron's data order against `train/data_order.json` of the golden folder, case by case,
//! through the loader.
//!
//! The folder is `NEO_GOLDEN`, or `../shared/data/golden` beside the workspace; without it the test
//! says so and passes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use neo_data::Language;
use neo_data::corpus::{Corpus, CorpusWriter, Split, Vocabulary};
use neo_data::loader::{Loader, LoaderSettings, Order};
use neo_data::megatron::{Blend, DocumentOrder, GptOrder};
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    eod: u32,
    sequence: usize,
    documents: Vec<Vec<u32>>,
    cases: Vec<Case>,
    blends: Vec<BlendCase>,
}

#[derive(Deserialize)]
struct Case {
    samples_wanted: u64,
    shuffle_documents: bool,
    seed: u64,
    epochs: u64,
    tokens_per_epoch: u64,
    separate_final_epoch: bool,
    document_index: Vec<u32>,
    sample_index: Vec<(usize, u64)>,
    samples: Vec<Sample>,
    shuffle_index: Vec<u32>,
    unused_tail_tokens: u64,
}

#[derive(Deserialize)]
struct Sample {
    inputs: Vec<u32>,
    labels: Vec<u32>,
    loss_mask: Vec<f32>,
}

#[derive(Deserialize)]
struct BlendCase {
    weights: Vec<f64>,
    source: Vec<usize>,
    index_in_source: Vec<u64>,
}

/// The golden file; `None`, said aloud, when there is no golden folder and none was asked for.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn golden() -> Option<Golden> {
    let asked = std::env::var_os("NEO_GOLDEN").map(PathBuf::from);
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/golden");
    let folder = asked.clone().unwrap_or(default);
    if asked.is_none() && !folder.exists() {
        eprintln!("skipped: no golden folder at `{}`", folder.display());
        return None;
    }
    let path = folder.join("train/data_order.json");
    let text = fs_err::read_to_string(&path).expect("the golden file is readable");
    Some(serde_json::from_str(&text).expect("the golden file has the fields of its README"))
}

impl Golden {
    fn document_offsets(&self) -> Vec<u64> {
        let mut end = 0;
        let ends = self.documents.iter().map(|document| {
            end += document.len() as u64;
            end
        });
        std::iter::once(0).chain(ends).collect()
    }

    fn corpus(&self, dir: &Path) -> Arc<Corpus> {
        let size = self.documents.iter().flatten().max().map_or(0, |id| *id as usize) + 1;
        let vocabulary = Vocabulary { hash: "00".repeat(32), size, eod_id: self.eod };
        let mut writer = CorpusWriter::create(dir, vocabulary).unwrap();
        for ids in &self.documents {
            writer.push("toy", Language::Other, Split::Train, ids, 0, None).unwrap();
        }
        writer.finish().unwrap();
        Arc::new(Corpus::open(dir).unwrap())
    }
}

impl Case {
    fn documents(&self) -> DocumentOrder {
        if self.shuffle_documents { DocumentOrder::Shuffled } else { DocumentOrder::Stored }
    }
}

#[test]
fn conformance_megatron_tables() {
    let Some(golden) = golden() else { return };
    assert!(!golden.cases.is_empty(), "no case");
    for case in &golden.cases {
        let offsets = golden.document_offsets();
        assert_eq!(offsets.last(), Some(&case.tokens_per_epoch));
        let order = GptOrder::new(
            offsets,
            golden.sequence,
            case.samples_wanted,
            case.seed,
            case.documents(),
        )
        .unwrap();
        assert_eq!(order.epochs(), case.epochs);
        assert_eq!(order.separate_final_epoch(), case.separate_final_epoch);
        assert_eq!(order.document_index(), case.document_index);
        assert_eq!(order.shuffle_index(), case.shuffle_index);
        assert_eq!(order.unused_tail_tokens(), case.unused_tail_tokens);
        assert_eq!(order.n_samples() as usize + 1, case.sample_index.len());
        for (sample, start) in (0..).zip(&case.sample_index) {
            assert_eq!(order.sample_start(sample), *start, "sample {sample}");
        }
    }
}

#[test]
fn conformance_megatron_batches() {
    let Some(golden) = golden() else { return };
    assert!(!golden.cases.is_empty(), "no case");
    let dir = tempfile::tempdir().unwrap();
    let corpus = golden.corpus(dir.path());
    for case in &golden.cases {
        let order =
            Order::Megatron { total_samples: case.samples_wanted, documents: case.documents() };
        let settings = LoaderSettings {
            mixture: [("toy".to_owned(), 1.0)].into(),
            seed: case.seed,
            seq_len: golden.sequence,
            batch_sequences: 1,
            order,
        };
        let loader = Loader::new(corpus.clone(), settings).unwrap();
        for (drawn, &sample) in (0..case.samples_wanted).zip(&case.shuffle_index) {
            let Sample { inputs, labels, loss_mask } = &case.samples[sample as usize];
            let batch = loader.batch(drawn).unwrap();
            assert_eq!(batch.ids[..golden.sequence], inputs[..], "sample {sample}");
            assert_eq!(batch.ids[1..], labels[..], "sample {sample}");
            assert_eq!(batch.loss_mask, *loss_mask, "sample {sample}");
        }
    }
}

#[test]
fn conformance_megatron_blends() {
    let Some(golden) = golden() else { return };
    assert!(!golden.blends.is_empty(), "no case");
    for BlendCase { weights, source, index_in_source } in &golden.blends {
        let blend = Blend::new(weights, source.len() as u64).unwrap();
        let places = blend.locate(0..source.len() as u64).unwrap();
        let expected: Vec<_> =
            source.iter().copied().zip(index_in_source.iter().copied()).collect();
        assert_eq!(places, expected, "weights {weights:?}");
    }
}
