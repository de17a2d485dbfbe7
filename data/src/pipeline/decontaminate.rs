//! Decontamination of files: one reading, batches in parallel, everything counted.
//!
//! Written are, below the folder of the results:
//!
//! ```text
//! kept.*        documents that stay
//! dropped.*     documents that repeat a benchmark: rule `BENCHMARK.ngram` or `.exact`, value `ROW: what matched`
//! changed.*     documents that stay without the lines that repeat one, if lines are cut
//! report.json   by benchmark: rows, how they are looked for, and in how many documents they were found
//! ```

use std::path::Path;

use rayon::prelude::*;

use super::{Event, Reason, SourceAccount, StageAccount, Tally, clean};
use crate::{
    Document, Result,
    decontaminate::{Decontaminator, Hit, Outcome, Report},
    read::{Reader, Record, Source},
    write::{Dropped, FileFormat, Value, Writer},
};

/// Name of the stage in accounts.
const STAGE: &str = "decontaminate";

/// Drops or cuts the documents of a source that repeat evaluation sets; writes the files above to `out`.
///
/// # Errors
/// A file of the source cannot be used, or writing failed.
pub fn decontaminate(
    decontaminator: &Decontaminator,
    source: &Source,
    out: &Path,
    format: FileFormat,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<(SourceAccount, Report)> {
    let mut output = Output::create(decontaminator, source, out, format)?;
    let mut reader = Reader::open(source)?;
    loop {
        let batch = clean::read_records(&mut reader)?;
        if batch.is_empty() {
            break;
        }
        let documents = output.take_bad(batch)?;
        let hits: Vec<Vec<Hit>> =
            documents.par_iter().map(|document| decontaminator.find(&document.text)).collect();
        for (document, hits) in documents.into_iter().zip(hits) {
            output.push(document, &hits)?;
        }
        let (done_bytes, total_bytes) = reader.progress();
        let (source, documents) = (source.name.as_str(), output.stage.input.documents);
        on_event(Event::Progress { stage: STAGE, source, done_bytes, total_bytes, documents });
    }
    output.finish(&reader, out)
}

/// The files and the accounts.
struct Output<'a> {
    decontaminator: &'a Decontaminator,
    source: &'a Source,
    kept: Writer<Document>,
    dropped: Writer<Dropped>,
    changed: Writer<Dropped>,
    read: StageAccount,
    stage: StageAccount,
    report: Report,
}

impl<'a> Output<'a> {
    fn create(
        decontaminator: &'a Decontaminator,
        source: &'a Source,
        out: &Path,
        format: FileFormat,
    ) -> Result<Self> {
        let settings = serde_json::json!(decontaminator.settings());
        Ok(Self {
            decontaminator,
            source,
            kept: Writer::create(out, "kept", format)?,
            dropped: Writer::create(out, "dropped", format)?,
            changed: Writer::create(out, "changed", format)?,
            read: StageAccount::new("read", serde_json::json!(source)),
            stage: StageAccount::new(STAGE, settings),
            report: decontaminator.report(),
        })
    }

    /// Writes down the records that are no documents; returns the others.
    fn take_bad(&mut self, batch: Vec<Record>) -> Result<Vec<Document>> {
        let mut documents = Vec::with_capacity(batch.len());
        for record in batch {
            match record {
                Record::Document(document) => {
                    self.read.keep(&document, Tally::of(&document));
                    documents.push(document);
                }
                Record::Bad(bad) => {
                    self.read.drop_bad(&bad, self.source);
                    self.dropped.push(&clean::row_of_bad(&bad))?;
                }
            }
        }
        Ok(documents)
    }

    fn push(&mut self, mut document: Document, hits: &[Hit]) -> Result<()> {
        self.report.add(hits);
        let Some(first) = hits.first() else {
            self.stage.keep(&document, Tally::of(&document));
            return self.kept.push(&document);
        };
        let rule = self.decontaminator.rule(first);
        let value = Value::Text(first.value(&document.text));
        let reason = Reason { rule: &rule, value, limit: None };
        match self.decontaminator.outcome(&document.text, hits) {
            Outcome::Cut(text) => {
                self.changed.push(&clean::row(&document, STAGE, &reason))?;
                let original = std::mem::replace(&mut document.text, text);
                self.stage.cut(&document, &original, &reason);
                self.kept.push(&document)
            }
            Outcome::Drop | Outcome::Keep => {
                self.stage.drop(&document, Tally::of(&document), &reason);
                self.dropped.push(&clean::row(&document, STAGE, &reason))
            }
        }
    }

    fn finish(self, reader: &Reader, out: &Path) -> Result<(SourceAccount, Report)> {
        self.kept.finish()?;
        self.dropped.finish()?;
        self.changed.finish()?;
        self.report.write(out)?;
        let account = SourceAccount {
            name: self.source.name.clone(),
            language: self.source.language,
            unread: reader.limits(),
            stages: vec![self.read, self.stage],
            train: Default::default(),
            held_out: Default::default(),
        };
        Ok((account, self.report))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Language,
        decontaminate::{Action, Settings},
        read::Format,
    };

    const ROWS: &str = concat!(
        r#"{"question": "A farmer has twelve hens and each lays two eggs a day for seven days in a row.", "answer": "168"}"#,
        "\n",
        r#"{"question": "Who wrote Hamlet?", "answer": "Shakespeare"}"#,
        "\n",
    );

    fn run(action: Action) -> (SourceAccount, Report, String) {
        let dir = tempfile::tempdir().unwrap();
        let eval = dir.path().join("eval");
        std::fs::create_dir(&eval).unwrap();
        std::fs::write(eval.join("quiz.jsonl"), ROWS).unwrap();
        let documents = [
            r"Nothing of the kind is in this text.\nAnd nothing in this line.",
            r"A line before.\nWe read: each lays TWO eggs a day, for seven days - in a row.\nAnd one long enough after.",
            r"Who wrote Hamlet? Answer: Shakespeare",
            r"A play is a play, said the one who wrote Hamlet, and left.",
        ];
        let lines: Vec<String> =
            documents.iter().map(|text| format!("{{\"text\": \"{text}\"}}")).collect();
        let input = dir.path().join("in.jsonl");
        std::fs::write(&input, lines.join("\n")).unwrap();
        let input = vec![input.to_string_lossy().into_owned()];
        let source = Source::new("s", Language::En, input, Format::Jsonl);
        let settings = Settings { action, words: 9, ..Settings::new(&eval) };
        let decontaminator = Decontaminator::open(settings).unwrap();
        let out = dir.path().join("out");
        let (account, report) =
            decontaminate(&decontaminator, &source, &out, FileFormat::Jsonl, &mut |_| ()).unwrap();
        let json = std::fs::read_to_string(out.join("report.json")).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
        (account, report, std::fs::read_to_string(out.join("kept.jsonl")).unwrap())
    }

    #[test]
    fn documents_that_repeat_a_row_go() {
        let (account, report, kept) = run(Action::Drop);
        let stage = &account.stages[1];
        assert_eq!((stage.kept.documents, kept.lines().count()), (2, 2));
        let rules: Vec<(&str, u64)> =
            stage.rules.iter().map(|(rule, tally)| (rule.as_str(), tally.documents)).collect();
        assert_eq!(rules, [("quiz.exact", 1), ("quiz.ngram", 1)]);
        let value = stage.dropped_samples["quiz.ngram"].samples()[0].value.clone().unwrap();
        assert_eq!(value.to_string(), "line 1: each lays TWO eggs a day, for seven days");
        let quiz = &report.benchmarks[0];
        assert_eq!((quiz.rows, quiz.rows_by_ngram, quiz.rows_by_exact), (2, 1, 1));
        assert_eq!((quiz.documents_by_ngram, quiz.documents_by_exact), (1, 1));
        assert_eq!((report.documents, report.contaminated), (4, 2));
    }

    #[test]
    fn lines_that_repeat_a_row_are_cut() {
        let (account, _, kept) = run(Action::Cut);
        assert!(kept.contains(r"A line before.\nAnd one long enough after."), "{kept}");
        let stage = &account.stages[1];
        assert_eq!((stage.kept.documents, stage.rewritten.before.documents), (3, 1));
        let mut out = stage.kept;
        out += stage.dropped;
        assert_eq!(stage.input, out);
    }
}
