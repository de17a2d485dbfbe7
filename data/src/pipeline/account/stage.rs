//! The books of one stage, entered document by document; those of parts add up to those of the whole.

use std::{collections::BTreeMap, ops::AddAssign};

use serde::{Deserialize, Serialize};

use super::{
    lengths::Lengths,
    sample::{Reason, Reservoir, Sample, clip},
    tally::{KeptAndDropped, Rewritten, Tally},
};
use crate::{Document, Language, read::BadRecord, read::Source, write::Value};

/// In and out of one stage: `input` = `kept` + `dropped`, and `dropped` is the sum over `rules`. Only a stage that
/// rewrites texts (`filter`, by rules that say so) may keep other bytes and characters than came in.
///
/// Its size is bounded by the number of rules, whatever came in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageAccount {
    /// Name of the stage.
    pub stage: String,
    /// Everything that the stage's work depends on besides its input: rules with their limits, mode, assets.
    #[serde(default)]
    pub settings: serde_json::Value,
    /// What came in.
    pub input: Tally,
    /// What went on.
    pub kept: Tally,
    /// What did not.
    #[serde(default)]
    pub dropped: Tally,
    /// The dropped by rule.
    pub rules: BTreeMap<String, Tally>,
    /// Kept documents whose texts were changed or cut.
    #[serde(default)]
    pub rewritten: Rewritten,
    /// Personal data that gave way to placeholders, by kind.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub masked: BTreeMap<String, u64>,
    /// Lengths of what was kept, as it was kept.
    #[serde(default)]
    pub kept_lengths: Lengths,
    /// Lengths of the documents that were dropped. Bad records have none.
    #[serde(default)]
    pub dropped_lengths: Lengths,
    /// Kept and dropped by language.
    #[serde(default)]
    pub languages: BTreeMap<Language, KeptAndDropped>,
    /// A sample of the kept documents.
    #[serde(default)]
    pub kept_samples: Reservoir,
    /// A sample of the dropped documents of every rule; where parts are cut out of a kept document, of those too.
    #[serde(default)]
    pub dropped_samples: BTreeMap<String, Reservoir>,
}

impl StageAccount {
    /// An empty account of a stage.
    pub fn new(stage: &str, settings: serde_json::Value) -> Self {
        Self { stage: stage.to_owned(), settings, ..Self::default() }
    }

    /// A document goes on as it is; `tally` is [`Tally::of`] it.
    pub fn keep(&mut self, document: &Document, tally: Tally) {
        self.input += tally;
        self.pass_on(document, tally);
    }

    /// A document goes on in another form than it came in; `before` and `after` are the tallies of the two.
    pub fn rewrite(&mut self, document: &Document, before: Tally, after: Tally) {
        self.input += before;
        self.rewritten += Rewritten { before, after };
        self.pass_on(document, after);
    }

    /// So much personal data of each kind gave way to placeholders in a document.
    pub fn mask(&mut self, counts: &BTreeMap<&'static str, u64>) {
        for (kind, count) in counts {
            *self.masked.entry((*kind).to_owned()).or_default() += count;
        }
    }

    /// A document goes on without some of its parts, which count as dropped; `original` is its text before.
    pub fn cut(&mut self, document: &Document, original: &str, reason: &Reason<'_>) {
        let (before, after) = (Tally::of_text(original), Tally::of(document));
        self.rewrite(document, before, after);
        self.leave_out(document.language, reason.rule, before.without(after));
        self.sample(reason).offer_lazily(&document.id, |rank| Sample {
            text: clip(original),
            ..Sample::new(rank, document, before.chars, Some(reason))
        });
    }

    /// A document goes no further; `tally` is [`Tally::of`] it.
    pub fn drop(&mut self, document: &Document, tally: Tally, reason: &Reason<'_>) {
        self.input += tally;
        self.leave_out(document.language, reason.rule, tally);
        self.dropped_lengths.add(tally.chars);
        self.sample(reason).offer(document, tally.chars, Some(reason));
    }

    /// A record of a source is no document.
    pub fn drop_bad(&mut self, bad: &BadRecord, source: &Source) {
        let rule = bad.reason.name();
        let tally = Tally { documents: 1, bytes: bad.bytes, chars: 0 };
        self.input += tally;
        self.leave_out(source.language, rule, tally);
        let samples = self.dropped_samples.entry(rule.to_owned()).or_default();
        samples.offer_lazily(&bad.place, |rank| Sample {
            rank,
            id: clip(&bad.place),
            source: clip(&source.name),
            language: source.language,
            value: Some(Value::Text(clip(&bad.detail))),
            limit: None,
            n_chars: 0,
            text: String::new(),
        });
    }

    /// The languages of the documents that came in.
    pub fn languages(&self) -> impl Iterator<Item = Language> {
        self.languages.keys().copied()
    }

    fn pass_on(&mut self, document: &Document, tally: Tally) {
        self.kept += tally;
        self.kept_lengths.add(tally.chars);
        self.languages.entry(document.language).or_default().kept += tally;
        self.kept_samples.offer(document, tally.chars, None);
    }

    fn leave_out(&mut self, language: Language, rule: &str, tally: Tally) {
        self.dropped += tally;
        self.languages.entry(language).or_default().dropped += tally;
        match self.rules.get_mut(rule) {
            Some(of_rule) => *of_rule += tally,
            None => *self.rules.entry(rule.to_owned()).or_default() += tally,
        }
    }

    fn sample(&mut self, reason: &Reason<'_>) -> &mut Reservoir {
        self.dropped_samples.entry(reason.rule.to_owned()).or_default()
    }
}

/// Adds the account of the same stage over other documents. Name and settings stay, unless there were none.
impl AddAssign for StageAccount {
    fn add_assign(&mut self, other: Self) {
        if self.stage.is_empty() {
            (self.stage, self.settings) = (other.stage, other.settings);
        }
        self.input += other.input;
        self.kept += other.kept;
        self.dropped += other.dropped;
        self.rewritten += other.rewritten;
        self.kept_lengths += other.kept_lengths;
        self.dropped_lengths += other.dropped_lengths;
        self.kept_samples += other.kept_samples;
        merge(&mut self.masked, other.masked);
        merge(&mut self.rules, other.rules);
        merge(&mut self.languages, other.languages);
        merge(&mut self.dropped_samples, other.dropped_samples);
    }
}

fn merge<K: Ord, V: AddAssign + Default>(into: &mut BTreeMap<K, V>, from: BTreeMap<K, V>) {
    for (key, value) in from {
        *into.entry(key).or_default() += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Limit;

    fn document(i: usize) -> Document {
        Document {
            id: format!("d{i}"),
            text: "字 ".repeat(i),
            source: format!("s{}", i % 3),
            url: None,
            language: Language::ALL[i % 4],
            meta: serde_json::Map::new(),
            origin: None,
        }
    }

    /// The account of documents, of which every fifth is dropped, rewritten, or cut.
    fn account(of: impl Iterator<Item = usize>) -> StageAccount {
        let mut account = StageAccount::new("filter", serde_json::json!({ "rules": "basic" }));
        for i in of {
            let document = document(i);
            let tally = Tally::of(&document);
            let limit = Some(Limit::Max(3.0));
            let reason = Reason { rule: "n_chars", value: Value::Number(i as f64), limit };
            match i % 5 {
                0 => account.drop(&document, tally, &reason),
                1 => account.rewrite(&document, Tally::of_text("before"), tally),
                2 => account.cut(&document, &format!("{} and more", document.text), &reason),
                _ => account.keep(&document, tally),
            }
        }
        account
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let whole = account(0..300);
        let mut parts = StageAccount::default();
        for k in [2, 0, 1] {
            parts += account((0..300).rev().filter(|i| i % 3 == k));
        }
        assert_eq!(parts, whole);
        assert_eq!(whole.rewritten.before.documents, 120);
    }

    #[test]
    fn every_number_tells_of_the_same_documents() {
        let account = account(0..300);
        let documents: u64 = account.kept_lengths.buckets().iter().sum();
        assert_eq!(documents, account.kept.documents);
        let documents: u64 = account.dropped_lengths.buckets().iter().sum();
        assert_eq!(documents, account.dropped.documents);
        let mut split = KeptAndDropped::default();
        account.languages.values().for_each(|of_language| split += *of_language);
        assert_eq!(split, KeptAndDropped { kept: account.kept, dropped: account.dropped });
        assert_eq!(account.rules["n_chars"], account.dropped);
    }

    #[test]
    fn accounts_come_back_from_their_files() {
        let account = account(0..50);
        let json = serde_json::to_string(&account).unwrap();
        assert_eq!(serde_json::from_str::<StageAccount>(&json).unwrap(), account);
        let old = r#"{"stage": "read", "input": {}, "kept": {}, "rules": {}}"#;
        assert_eq!(serde_json::from_str::<StageAccount>(old).unwrap().stage, "read");
    }
}
