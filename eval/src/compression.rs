//! What a general compressor makes of the held-out text: a line to read bits per byte against.

use neo_data::tokenizer::Tokenizer;

use crate::{Error, Result, held_out::HeldOutDocument};

/// Bits per byte of all texts in one zstd stream, the file's own context included.
///
/// # Errors
/// The compressor fails, or there is no text.
pub fn zstd_bits_per_byte(
    documents: &[HeldOutDocument],
    tokenizer: &Tokenizer,
    level: i32,
) -> Result<f64> {
    let texts = documents.iter().map(|document| {
        // The first id is the context, the last the document's end; neither is text.
        let text_ids = &document.ids[1..document.ids.len() - 1];
        tokenizer.decode(text_ids)
    });
    let text = texts.collect::<Vec<_>>().join("\n");
    if text.is_empty() {
        return Err(Error::Setting("there is no held-out text to compress".to_owned()));
    }
    let compressed = zstd::bulk::compress(text.as_bytes(), level)
        .map_err(|problem| Error::Setting(format!("zstd failed: {problem}")))?;
    Ok(compressed.len() as f64 * 8.0 / text.len() as f64)
}
