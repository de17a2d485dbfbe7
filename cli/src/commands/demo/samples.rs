//! A few texts by the trained model, for the report.

use anyhow::Result;
use neo_data::tokenizer::Tokenizer;
use neo_model::{
    Transformer,
    generate::{Limits, Sampling, generate},
};

use crate::{commands::generate::document_start, report::Sample};

/// Most tokens of a text.
const MAX_NEW: usize = 200;

/// Beginnings of documents that the generator could have made, and the temperature to go on with.
const PROMPTS: [(&str, f64); 5] = [
    ("Nora Holt is a baker in Elmford. Her friend", 0.0),
    ("In Foxhill there lives a", 0.8),
    ("青石镇有一位渔夫，名叫李玉兰。", 0.0),
    ("Let a = 4, b = 7 and c = 2.\n", 0.0),
    ("tree = [(3, 1), {2}]\n\ndef combine(left, right):\n", 0.0),
];

/// Continues each prompt to the end of the document.
///
/// # Errors
/// The device fails.
pub(super) fn write(model: &Transformer, tokenizer: &Tokenizer, seed: u64) -> Result<Vec<Sample>> {
    let limits = Limits {
        max_new: MAX_NEW,
        stop_ids: &[tokenizer.eod_id()],
        n_choices: tokenizer.vocab_size(),
    };
    let continued = |(prompt, temperature): (&str, f64)| {
        let sampling = Sampling { temperature, top_p: 1.0, top_k: 0, seed };
        let ids = document_start(tokenizer, prompt);
        let new = generate(model, &ids, sampling, &limits, &mut |_| {})?;
        // Decoded together, for the first new token may begin with a space that counts.
        let text = tokenizer.decode(&[&ids[1..], &new].concat());
        let text = text.strip_prefix(prompt).unwrap_or(&text).to_owned();
        let drawn = match temperature {
            0.0 => "greedy".to_owned(),
            _ => format!("temperature {temperature}, seed {seed}"),
        };
        Ok(Sample { prompt: prompt.to_owned(), text, drawn })
    };
    PROMPTS.into_iter().map(continued).collect()
}
