//! Decontamination of files, with a report by benchmark: `neo data decontaminate`.
//!
//! What happens to documents is what the stage of a recipe does; beside its files the folder of the results holds
//! `report.json`: by benchmark the rows, how they are looked for, and in how many documents they were found.

use rayon::prelude::*;

use super::{
    Single, SourceAccount,
    stage::decontaminate::{NAME, fate},
};
use crate::{
    Result,
    decontaminate::{Decontaminator, Hit, Report},
    engine::Observer,
    read::Source,
};

/// Drops or cuts the documents of a source that repeat evaluation sets.
///
/// # Errors
/// A file of the source cannot be used, writing failed, or the observer wants to stop.
pub fn decontaminate(
    single: &Single<'_>,
    decontaminator: &Decontaminator,
    source: &Source,
    observer: Observer<'_>,
) -> Result<(SourceAccount, Report)> {
    let settings = serde_json::json!(decontaminator.settings());
    let mut report = decontaminator.report();
    let account = single.pass(NAME, settings, source, observer, |batch| {
        let hits: Vec<Vec<Hit>> =
            batch.par_iter().map(|document| decontaminator.find(&document.text)).collect();
        hits.iter().for_each(|hits| report.add(hits));
        let found = batch.iter().zip(&hits);
        Ok(found.map(|(document, hits)| fate(decontaminator, document, hits)).collect())
    })?;
    report.write(single.out)?;
    Ok((account, report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Language,
        decontaminate::{Action, Settings},
        read::Format,
        write::FileFormat,
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
        let single = Single {
            out: &out,
            kept: "kept",
            format: FileFormat::Jsonl,
            memory_bytes: 0,
            index: None,
        };
        let (account, report) =
            decontaminate(&single, &decontaminator, &source, Observer::quiet()).unwrap();
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
