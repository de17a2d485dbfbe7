//! Mixture: how often each source of a corpus is repeated in a training phase, and the shares that
//! follow.
//!
//! As in MAP-Neo, a source's share of the sampled tokens is proportional to its tokens times its
//! repetition ("0.5", "1", "2" rounds). Which sample comes when is the loader's business.

use std::collections::BTreeMap;

use crate::corpus::{Corpus, Split};
use crate::{Error, Result};

/// Repetitions by source name; a source that is not named is not sampled.
pub type Mixture = BTreeMap<String, f64>;

/// What the mixture makes of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceShare {
    /// Name of the source.
    pub name: String,
    /// Tokens of its training split.
    pub tokens: u64,
    /// Rounds asked for.
    pub repetition: f64,
    /// Share of all sampled tokens, above 0; the shares sum to 1.
    pub share: f64,
}

/// The sources with a repetition above 0, by name.
///
/// # Errors
/// An unknown name (with the known ones), a repetition that is no number of rounds, or
/// nothing to sample.
pub fn shares(corpus: &Corpus, mixture: &Mixture) -> Result<Vec<SourceShare>> {
    let tokens = training_tokens(corpus);
    let mut shares = Vec::new();
    for (name, &repetition) in mixture {
        if !(repetition.is_finite() && repetition >= 0.0) {
            let problem =
                format!("mixture repeats source `{name}` {repetition} times, expected 0 or more");
            return Err(Error::Setting(problem));
        }
        let tokens = *tokens.get(name.as_str()).ok_or_else(|| unknown(corpus, name, &tokens))?;
        if tokens > 0 && repetition > 0.0 {
            shares.push(SourceShare {
                name: name.clone(),
                tokens,
                repetition,
                share: tokens as f64 * repetition,
            });
        }
    }
    let total: f64 = shares.iter().map(|source| source.share).sum();
    shares.iter_mut().for_each(|source| source.share /= total);
    if shares.is_empty() || shares.iter().any(|source| !source.share.is_normal()) {
        let dir = corpus.dir().display();
        return Err(Error::Setting(format!("mixture gives nothing to sample from corpus `{dir}`")));
    }
    Ok(shares)
}

fn training_tokens(corpus: &Corpus) -> BTreeMap<&str, u64> {
    let mut tokens = BTreeMap::new();
    for entry in corpus.sources(Split::Train) {
        *tokens.entry(entry.name.as_str()).or_default() += entry.tokens;
    }
    tokens
}

fn unknown(corpus: &Corpus, name: &str, known: &BTreeMap<&str, u64>) -> Error {
    let known: Vec<String> = known.keys().map(|name| format!("`{name}`")).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let dir = corpus.dir().display();
    Error::Setting(format!(
        "mixture names source `{name}`, unknown in corpus `{dir}`, which has {known}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::toy;

    fn check(mixture: &[(&str, f64)], expected: std::result::Result<&[(&str, f64)], &str>) {
        let dir = tempfile::tempdir().unwrap();
        let sources =
            [("code", vec![vec![1; 9]]), ("en", vec![vec![1; 19]]), ("zh", vec![vec![1; 29]])];
        let corpus = toy::corpus(dir.path(), &sources);
        let mixture = mixture.iter().map(|(name, rounds)| ((*name).to_owned(), *rounds)).collect();
        match (shares(&corpus, &mixture), expected) {
            (Ok(found), Ok(expected)) => {
                let found: Vec<_> = found.iter().map(|s| (s.name.as_str(), s.share)).collect();
                assert_eq!(found, expected);
            }
            (found, expected) => {
                let message = found.unwrap_err().to_string();
                assert!(message.contains(expected.unwrap_err()), "{message}");
            }
        }
    }

    #[test]
    fn shares_are_tokens_times_repetition() {
        check(&[("en", 1.0)], Ok(&[("en", 1.0)]));
        check(&[("zh", 1.0), ("code", 1.0)], Ok(&[("code", 0.25), ("zh", 0.75)]));
        check(&[("en", 0.5), ("code", 3.0)], Ok(&[("code", 0.75), ("en", 0.25)]));
        check(&[("en", 2.0), ("code", 0.0)], Ok(&[("en", 1.0)]));
    }

    #[test]
    fn bad_mixtures_are_refused() {
        check(&[("cod", 1.0)], Err("source `cod`, unknown in corpus"));
        check(&[("cod", 1.0)], Err("which has "));
        check(&[("en", -1.0)], Err("repeats source `en` -1 times"));
        check(&[("en", f64::NAN)], Err("repeats source `en` NaN times"));
        check(&[("en", 0.0)], Err("nothing to sample"));
        check(&[], Err("nothing to sample"));
    }
}
