//! The part of `tokenizer.json` that decides ids, and what of it is supported.

use serde::Deserialize;
use serde_json::Value;

use super::super::sentence_piece::MARKER;

/// A whole file; what does not touch the ids of a text is left out.
#[derive(Deserialize)]
pub(super) struct TokenizerJson {
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedToken>,
    normalizer: Option<Value>,
    pre_tokenizer: Option<Value>,
    decoder: Option<Value>,
    pub(super) model: Model,
}

/// A token that is found in texts before anything else.
#[derive(Deserialize)]
pub(super) struct AddedToken {
    pub(super) id: usize,
    pub(super) content: String,
    #[serde(default)]
    pub(super) special: bool,
}

/// The vocabulary and its merges.
#[derive(Deserialize)]
pub(super) struct Model {
    r#type: Option<String>,
    dropout: Option<f64>,
    pub(super) unk_token: Option<String>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    /// By text; an array of scored pieces in a unigram model, which is why it is not typed.
    vocab: Value,
    #[serde(default)]
    pub(super) merges: Vec<Merge>,
}

/// Both spellings: a text with a space between, or a pair.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Merge {
    /// `"a b"`.
    Text(String),
    /// `["a", "b"]`.
    Pair(String, String),
}

impl TokenizerJson {
    /// Refuses what is not byte-fallback BPE over spaces made U+2581; tells whether texts get a
    /// dummy prefix.
    pub(super) fn check(&self) -> Result<bool, String> {
        self.model.check()?;
        let has_prefix = match &self.normalizer {
            None => return Err(unsupported("normalizer", &Value::Null)),
            Some(normalizer) => prefix_of(normalizer)?,
        };
        if let Some(splitter) = self.pre_tokenizer.as_ref().filter(|value| !value.is_null()) {
            return Err(unsupported("pre_tokenizer", splitter));
        }
        let decoders = self.decoder.as_ref().map(steps).unwrap_or_default();
        if !decoders.iter().any(|step| kind(step) == "ByteFallback") {
            return Err(unsupported("decoder", self.decoder.as_ref().unwrap_or(&Value::Null)));
        }
        Ok(has_prefix)
    }

    /// Texts by id; every id from 0 must be taken once.
    pub(super) fn texts_in_id_order(&self) -> Result<Vec<String>, String> {
        let Value::Object(vocab) = &self.model.vocab else {
            return Err("vocabulary is no map from text to id".to_owned());
        };
        let mut texts = vec![None; vocab.len()];
        for (text, id) in vocab {
            let place = id.as_u64().and_then(|id| texts.get_mut(usize::try_from(id).ok()?));
            match place {
                Some(place @ None) => *place = Some(text.clone()),
                Some(Some(first)) => {
                    return Err(format!("pieces `{first}` and `{text}` have the same id {id}"));
                }
                None => {
                    let n = vocab.len();
                    return Err(format!("piece `{text}` has id {id}, expected less than {n}"));
                }
            }
        }
        Ok(texts.into_iter().flatten().collect())
    }
}

impl Model {
    fn check(&self) -> Result<(), String> {
        let kind = self.r#type.as_deref().unwrap_or("BPE");
        if kind != "BPE" {
            return Err(format!("has model `{kind}`, only `BPE` is supported"));
        }
        if !self.byte_fallback {
            return Err("has no `byte_fallback`, expected a vocabulary with all bytes".to_owned());
        }
        if self.dropout.is_some_and(|share| share > 0.0) {
            return Err("has `dropout`, which is not supported".to_owned());
        }
        if self.ignore_merges {
            return Err("has `ignore_merges`, which is not supported".to_owned());
        }
        let is_set = |affix: &Option<String>| affix.as_ref().is_some_and(|text| !text.is_empty());
        if is_set(&self.continuing_subword_prefix) {
            return Err("has `continuing_subword_prefix`, which is not supported".to_owned());
        }
        if is_set(&self.end_of_word_suffix) {
            return Err("has `end_of_word_suffix`, which is not supported".to_owned());
        }
        Ok(())
    }
}

/// Whether a normalizer, which must turn spaces into U+2581, puts one in front of every text.
///
/// The pre-tokenizer `Metaspace` is not taken for it: it leaves out the prefix before a space, and
/// SentencePiece does not.
fn prefix_of(normalizer: &Value) -> Result<bool, String> {
    let steps = steps(normalizer);
    let marker = MARKER.to_string();
    let is_prepend = |step: &&Value| kind(step) == "Prepend" && step["prepend"] == marker;
    let is_replace = |step: &Value| {
        kind(step) == "Replace" && step["pattern"]["String"] == " " && step["content"] == marker
    };
    let has_prefix = steps.first().copied().filter(is_prepend).is_some();
    match &steps[usize::from(has_prefix)..] {
        [replace] if is_replace(replace) => Ok(has_prefix),
        _ => Err(unsupported("normalizer", normalizer)),
    }
}

/// The steps of a `Sequence`, or the one step.
fn steps(value: &Value) -> Vec<&Value> {
    let lists = ["normalizers", "decoders"];
    match lists.iter().find_map(|list| value[*list].as_array()) {
        Some(steps) => steps.iter().collect(),
        None => vec![value],
    }
}

fn kind(step: &Value) -> &str {
    step["type"].as_str().unwrap_or("none")
}

fn unsupported(part: &str, value: &Value) -> String {
    let kinds: Vec<&str> = steps(value).into_iter().map(kind).collect();
    let expected = match part {
        "normalizer" => "`Prepend` of U+2581, then `Replace` of the space by U+2581",
        "pre_tokenizer" => "none",
        _ => "one with `ByteFallback`",
    };
    format!("has {part} `{}`, which is not supported, expected {expected}", kinds.join(", "))
}
