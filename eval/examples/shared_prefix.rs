//! Scores a task with shared beginnings computed once and with every row computed whole, and tells
//! how far the numbers are apart and how long each took.
//!
//! `cargo run --release --example shared_prefix -- MODEL DATA mmlu_anatomy [LIMIT]`
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::path::Path;
use std::time::Instant;

use neo_backends::Precision;
use neo_data::tokenizer::Tokenizer;
use neo_eval::cache::AnswerCache;
use neo_eval::evaluation::{Outcome, Settings, evaluate};
use neo_eval::network::{Network, Sharing};
use neo_eval::task::library::Library;
use neo_model::Transformer;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model_dir, data, task, rest @ ..] = arguments.as_slice() else {
        return Err("expected MODEL DATA TASK [LIMIT]".into());
    };
    let limit = rest.first().map(|limit| limit.parse()).transpose()?;
    let device = neo_backends::device::open("auto")?;
    let model = Transformer::load(Path::new(model_dir), Precision::F32, &device)?;
    let tokenizer = Tokenizer::from_path(Path::new(model_dir))?;
    let selection =
        Library::built_in()?.select(std::slice::from_ref(task), Path::new(data), None)?;
    let settings = Settings { limit, bootstrap_draws: 0 };
    let run = |sharing| -> neo_eval::Result<(Vec<Outcome>, f64)> {
        let started = Instant::now();
        let network = Network::new(&model, &tokenizer, Vec::new(), sharing, &|_, _| {});
        let cache = &mut AnswerCache::in_memory();
        let each =
            selection.tasks.iter().map(|task| evaluate(task, &network, settings, cache, None));
        Ok((each.collect::<neo_eval::Result<_>>()?, started.elapsed().as_secs_f64()))
    };
    let (shared, shared_secs) = run(Sharing::On)?;
    let (plain, plain_secs) = run(Sharing::Off)?;
    let mut apart: f64 = 0.0;
    for (a, b) in shared.iter().zip(&plain) {
        assert_eq!(a.measures, b.measures, "the measures differ");
        for (a, b) in a.samples.iter().zip(&b.samples) {
            for (a, b) in a.responses.iter().zip(&b.responses) {
                let sum = |value: &serde_json::Value| value[0].as_f64().unwrap_or_default();
                apart = apart.max((sum(a) - sum(b)).abs());
            }
        }
    }
    println!(
        "equal measures, log-likelihoods at most {apart:.1e} apart; shared {shared_secs:.2} s, plain \
         {plain_secs:.2} s, ratio {:.2}",
        plain_secs / shared_secs
    );
    Ok(())
}
