//! From a data recipe to a corpus folder: read, clean, deduplicate, hold out, tokenize, everything counted.
//!
//! [`run`] calls the stages in that order. Text streams through: each stage reads what the one before wrote,
//! and only one batch and the keys of deduplication are in memory. The result is the same for any number of
//! threads. What a stage decides is in its own module; this file knows their order and where their files lie:
//!
//! ```text
//! out/data_recipe.toml        the recipe as used
//! out/account.json            what went in, what was kept, what was dropped by which rule
//! out/documents/SOURCE.*      kept documents of each source
//! out/dropped.*               every dropped document with rule, value, threshold and sample
//! out/corpus/                 token shards, corpus.json, tokenizer
//! ```

mod account;
mod clean;
mod decontaminate;
mod deduplicate;
mod recipe;
mod tokenize;

use std::path::Path;

pub use self::account::{
    Account, KeptAndDropped, Lengths, Reason, Reservoir, Rewritten, SAMPLE_CHARS, SAMPLE_DOCUMENTS,
    Sample, SourceAccount, StageAccount, Tally, TokenTally,
};
pub use self::clean::{CleanSettings, Cleaner};
pub use self::decontaminate::decontaminate;
pub use self::deduplicate::deduplicate;
use self::recipe::Ready;
pub use self::recipe::{Clean, Dedup, Output, Recipe, TokenizerSource};
pub use self::tokenize::{tokenize, train_tokenizer};
use crate::{
    Error, Language, Result, toml_file,
    write::{Writer, write_file},
};

/// What a stage tells while it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// How far it has come.
    Progress {
        /// The stage: `clean`, `train tokenizer`, `tokenize`.
        stage: &'static str,
        /// The source at hand.
        source: &'a str,
        /// Bytes of its files read, as they lie on disk.
        done_bytes: u64,
        /// Bytes of its files.
        total_bytes: u64,
        /// Documents so far.
        documents: u64,
    },
    /// Something that a user should know and that is no error.
    Warning(&'a str),
}

/// Makes a corpus folder from a recipe, below `out`, and tells what became of every document.
///
/// # Errors
/// A recipe that makes no sense, input that cannot be read, a failed write, or that no document is left; the
/// account on disk then tells where they went.
pub fn run(recipe: &Recipe, out: &Path, on_event: &mut dyn FnMut(Event<'_>)) -> Result<Account> {
    recipe.validate()?;
    // A tokenizer that cannot be read should not be found out after hours of cleaning.
    let ready = recipe.tokenizer.ready()?;
    write_file(&out.join("data_recipe.toml"), toml_file::to_string(recipe)?.as_bytes())?;
    let mut account = Account { recipe: recipe.name.clone(), sources: Vec::new() };
    let documents = clean(recipe, out, &mut account, on_event)?;
    account.write(out)?;
    if account.is_empty() {
        return Err(Error::Setting(account.where_everything_went()));
    }
    let tokenizer = match ready {
        Ready::Loaded(tokenizer) => *tokenizer,
        Ready::ToTrain(settings) => train_tokenizer(&documents, settings, on_event)?,
    };
    let manifest = tokenize(&documents, &tokenizer, &out.join("corpus"), on_event)?;
    account.add_tokens(&manifest);
    account.write(out)?;
    warn_of_gaps(&account, on_event);
    Ok(account)
}

/// Cleans every source into a document file of its own; returns the files.
fn clean(
    recipe: &Recipe,
    out: &Path,
    account: &mut Account,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Vec<std::path::PathBuf>> {
    let settings = recipe.clean.settings(recipe.output.format)?;
    let mut cleaner = Cleaner::create(settings, out)?;
    let mut files = Vec::new();
    for source in &recipe.source {
        let mut kept = Writer::create(&out.join("documents"), &source.name, recipe.output.format)?;
        account.sources.push(cleaner.clean(source, &mut kept, on_event)?);
        files.push(kept.finish()?);
    }
    cleaner.finish()?;
    Ok(files)
}

fn warn_of_gaps(account: &Account, on_event: &mut dyn FnMut(Event<'_>)) {
    for source in account.sources.iter().filter(|source| source.kept().documents == 0) {
        on_event(Event::Warning(&format!("source `{}` has no document left", source.name)));
    }
    for language in Language::ALL {
        let of_language = || account.sources.iter().filter(|source| source.language == language);
        let trained: u64 = of_language().map(|source| source.train.documents).sum();
        let held_out: u64 = of_language().map(|source| source.held_out.documents).sum();
        if trained > 0 && held_out == 0 {
            let what = format!(
                "no document of language `{language}` is held out, so it has no held-out figures"
            );
            on_event(Event::Warning(&what));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::{
        corpus::{Corpus, Split},
        filter::{RuleSet, RuleSource},
        read::{Format, Source},
        sample::{self, SampleSettings},
        tokenizer::TrainerSettings,
        write::FileFormat,
    };

    /// A recipe over a generated corpus in `dir`.
    fn recipe(dir: &Path) -> Recipe {
        let settings = SampleSettings { seed: 5, documents: 400, junk_share: 0.3 };
        sample::write(dir, &settings).unwrap();
        let source = |name: &str, language, limit| {
            let input = vec![dir.join(format!("{name}-*")).to_string_lossy().into_owned()];
            Source { split_chars: limit, ..Source::new(name, language, input, Format::Jsonl) }
        };
        Recipe {
            name: "sample".to_owned(),
            clean: Clean {
                rules: "basic".to_owned(),
                mode: None,
                assets: None,
                dedup: Dedup::Exact,
            },
            tokenizer: TokenizerSource { path: None, train: Some(TrainerSettings::neo(900)) },
            output: Output { format: FileFormat::Parquet },
            source: vec![
                source("en", Language::En, Some(300)),
                source("zh", Language::Zh, None),
                source("math", Language::Other, None),
                source("code", Language::Code, None),
            ],
        }
    }

    fn run_quietly(recipe: &Recipe, out: &Path) -> Result<Account> {
        run(recipe, out, &mut |_| ())
    }

    #[test]
    fn everything_that_comes_in_is_accounted_for() {
        let dir = tempfile::tempdir().unwrap();
        let account = run_quietly(&recipe(dir.path()), &dir.path().join("out")).unwrap();
        for source in &account.sources {
            let [read, filter, exact] = &source.stages[..] else { panic!("three stages") };
            for stage in [read, filter, exact] {
                let (mut out, mut by_rule) = (stage.kept, Tally::default());
                out += stage.dropped;
                stage.rules.values().for_each(|&tally| by_rule += tally);
                assert_eq!(stage.input, out, "{} {}", source.name, stage.stage);
                assert_eq!(stage.dropped, by_rule, "{} {}", source.name, stage.stage);
            }
            assert_eq!(
                (read.kept.bytes, read.kept.chars),
                (filter.input.bytes, filter.input.chars)
            );
            assert_eq!(filter.kept, exact.input);
            assert!(filter.dropped.documents > 0 && exact.dropped.documents > 0, "{}", source.name);
            assert_eq!(exact.kept.documents, source.train.documents + source.held_out.documents);
            assert_eq!(exact.kept.bytes, source.train.bytes + source.held_out.bytes);
        }
        assert_eq!(account.sources[0].stages[0].dropped.documents, 3);
    }

    #[test]
    fn the_sample_corpus_is_cleaned_of_all_its_junk_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let mut recipe = recipe(dir.path());
        recipe.source[0].split_chars = None;
        recipe.output.format = FileFormat::Jsonl;
        let out = dir.path().join("out");
        run_quietly(&recipe, &out).unwrap();
        let input = vec![out.join("documents").to_string_lossy().into_owned()];
        let source = Source::new("x", Language::Other, input, Format::Jsonl);
        let records = crate::read::Reader::open(&source).unwrap();
        let mut junk = Vec::new();
        for record in records {
            let crate::read::Record::Document(document) = record.unwrap() else { panic!("bad") };
            if document.id.contains("junk") {
                junk.push((document.id, document.text));
            }
        }
        assert_eq!(junk, []);
        let dropped = std::fs::read_to_string(out.join("dropped.jsonl")).unwrap();
        let clean_dropped: Vec<&str> = dropped
            .lines()
            .filter(|line| !line.contains("junk") && !line.contains("\"read\""))
            .collect();
        assert_eq!(clean_dropped, [""; 0]);
        let corpus = Corpus::open(&out.join("corpus")).unwrap();
        assert!(corpus.sources(Split::Train).all(|entry| entry.meta_nats.is_some()));
    }

    #[test]
    fn rules_may_rewrite_what_they_keep() {
        let dir = tempfile::tempdir().unwrap();
        let rules = dir.path().join("rules.toml");
        std::fs::write(&rules, "measures = \"matrix-zh\"\n[rules]\nC3 = { above = 1 }\n").unwrap();
        let texts = ["甲。乙！见www.x", "甲.乙！见", "甲.乙!见", "甲。"];
        let lines = texts.map(|text| format!("{{\"text\":\"{text}\"}}\n")).concat();
        let input = dir.path().join("in.jsonl").to_string_lossy().into_owned();
        std::fs::write(&input, lines).unwrap();
        let settings = CleanSettings {
            rules: RuleSet::read(RuleSource {
                name: &rules.to_string_lossy(),
                ..RuleSource::default()
            })
            .unwrap(),
            dedup: Dedup::Exact,
            format: FileFormat::Jsonl,
        };
        let mut cleaner = Cleaner::create(settings, dir.path()).unwrap();
        let mut kept = Writer::create(dir.path(), "kept", FileFormat::Jsonl).unwrap();
        let source = Source::new("x", Language::Zh, vec![input], Format::Jsonl);
        let account = cleaner.clean(&source, &mut kept, &mut |_| ()).unwrap();
        let kept = std::fs::read_to_string(kept.finish().unwrap()).unwrap();
        assert_eq!(kept.lines().count(), 1, "copies are found after rewriting");
        assert!(kept.contains("\"甲.乙!见\""), "{kept}");
        let [_, filter, exact] = &account.stages[..] else { panic!("three stages") };
        assert_eq!((filter.input.chars, filter.dropped.chars, filter.kept.chars), (22, 2, 15));
        assert_eq!(filter.kept, exact.input);
    }

    #[test]
    fn the_corpus_does_not_depend_on_the_number_of_threads() {
        let dir = tempfile::tempdir().unwrap();
        let recipe = recipe(dir.path());
        let hash = |n_threads: usize| {
            let out = dir.path().join(n_threads.to_string());
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            pool.install(|| run_quietly(&recipe, &out)).unwrap();
            Corpus::open(&out.join("corpus")).unwrap().hash().to_owned()
        };
        assert_eq!(hash(1), hash(3));
    }

    #[test]
    fn documents_end_with_eod_and_decode_to_their_texts() {
        let dir = tempfile::tempdir().unwrap();
        let recipe = recipe(dir.path());
        let out = dir.path().join("out");
        run_quietly(&recipe, &out).unwrap();
        let corpus = Corpus::open(&out.join("corpus")).unwrap();
        let tokenizer = crate::tokenizer::Tokenizer::from_path(&out.join("corpus")).unwrap();
        let entry = corpus.held_out(Language::En)[0];
        let ids = corpus.shard(entry).document(0).unwrap();
        let (last, text) = ids.split_last().unwrap();
        assert_eq!(*last, tokenizer.eod_id());
        let text = tokenizer.decode(text);
        let path = out.join("documents/en.parquet").to_string_lossy().into_owned();
        let source = Source::new("x", Language::Other, vec![path], Format::Parquet);
        let held_out =
            crate::read::Reader::open(&source).unwrap().find_map(|record| match record.unwrap() {
                crate::read::Record::Document(document) if document.is_held_out() => Some(document),
                _ => None,
            });
        assert_eq!(text, held_out.unwrap().text);
    }

    #[test]
    fn cleaning_again_drops_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let recipe = recipe(dir.path());
        let out = dir.path().join("out");
        run_quietly(&recipe, &out).unwrap();
        let settings = CleanSettings {
            rules: RuleSet::basic(),
            dedup: Dedup::Exact,
            format: FileFormat::Jsonl,
        };
        let mut cleaner = Cleaner::create(settings, dir.path()).unwrap();
        let mut kept = Writer::create(dir.path(), "again", FileFormat::Jsonl).unwrap();
        let input = vec![out.join("documents").to_string_lossy().into_owned()];
        let source = Source::new("x", Language::Other, input, Format::Parquet);
        let account = cleaner.clean(&source, &mut kept, &mut |_| ()).unwrap();
        assert_eq!(account.kept(), account.input());
        assert!(account.kept().documents > 100);
    }

    #[test]
    fn an_empty_result_says_where_everything_went() {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join("in.jsonl");
        std::fs::write(&path, "{\"text\":\"short\"}\n{\"text\":\"stub\"}\n{\"txt\":1}\n").unwrap();
        let mut recipe = recipe(dir.path());
        recipe.source.truncate(1);
        recipe.source[0].input = vec![path.to_string_lossy().into_owned()];
        let error = run_quietly(&recipe, &dir.path().join("out")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no document is left of `sample`: of 3 records were dropped 2 by `filter.n_chars`, 1 by `read.no_text`"
        );
        assert!(error.is_input() && dir.path().join("out/account.json").exists());
        std::fs::write(&path, "\n").unwrap();
        let error = run_quietly(&recipe, &dir.path().join("out")).unwrap_err();
        assert!(error.to_string().contains("the input holds no record"), "{error}");
    }
}
