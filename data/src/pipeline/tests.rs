//! What the pipeline promises, on small generated corpora: books that balance, results that depend on nothing but the
//! texts and the recipe, and work that is done once.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    slice::from_ref,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use super::*;
use crate::{
    Document,
    corpus::{Corpus, Split},
    dedup::{
        Mode,
        laws::left_of,
        minhash::{Normalise, Scheme},
    },
    engine::Event,
    read::{Format, Reader, Record, Source},
    sample::{self, SampleSettings},
    tokenizer::{Tokenizer, TrainerSettings},
    write::FileFormat,
};

/// Small enough that every source has several shards.
const SHARD_BYTES: u64 = 20_000;
const MEMORY_BYTES: u64 = 32 << 20;

fn basic() -> Stage {
    Stage::Filter(Filter { rules: "basic".to_owned(), language: None, mode: None, assets: None })
}

fn engine(shard_bytes: u64, memory_bytes: u64) -> EngineSettings {
    EngineSettings { shard_bytes, memory_bytes, keep_intermediates: true }
}

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
        engine: engine(SHARD_BYTES, MEMORY_BYTES),
        stage: vec![basic(), Stage::Dedup(Dedup::Words {})],
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

/// A tokenizer that is there already.
fn tokenizer(dir: &Path) -> TokenizerSource {
    let path = dir.join("tokenizer");
    fs::create_dir(&path).unwrap();
    let texts = [("en", "some words and a few more words"), ("zh", "好的文字")];
    let trained = Tokenizer::train(texts, &TrainerSettings::neo(280), &mut |_, _| ());
    trained.unwrap().save(&path).unwrap();
    TokenizerSource { path: Some(path), train: None }
}

fn run_quietly(recipe: &Recipe, out: &Path) -> Result<Account> {
    run(recipe, out, Observer::quiet()).map(|done| done.account)
}

fn n_made(recipe: &Recipe, out: &Path) -> u64 {
    run(recipe, out, Observer::quiet()).unwrap().n_made
}

fn documents(path: &Path, format: Format) -> Vec<Document> {
    let input = vec![path.to_string_lossy().into_owned()];
    let records = Reader::open(&Source::new("x", Language::Other, input, format)).unwrap();
    let document = |record: Result<Record>| match record.unwrap() {
        Record::Document(document) => document,
        Record::Bad(bad) => panic!("{bad:?}"),
    };
    records.map(document).collect()
}

fn hash(out: &Path) -> String {
    Corpus::open(&out.join("corpus")).unwrap().hash().to_owned()
}

/// Contents of all files below a folder by name, the work folder left out.
fn results(out: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![out.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.ends_with("work") => (),
                true => folders.push(path),
                false => {
                    let name = path.strip_prefix(out).unwrap().to_owned();
                    files.insert(name, fs::read(&path).unwrap());
                }
            }
        }
    }
    files
}

fn check_books(source: &SourceAccount) {
    for stage in &source.stages {
        let (mut out, mut by_rule) = (stage.kept, Tally::default());
        out += stage.dropped;
        stage.rules.values().for_each(|&tally| by_rule += tally);
        assert_eq!(stage.input, out, "{} {}", source.name, stage.stage);
        assert_eq!(stage.dropped, by_rule, "{} {}", source.name, stage.stage);
    }
    for pair in source.stages[1..].windows(2) {
        assert_eq!(pair[0].kept, pair[1].input, "{}: {}", source.name, pair[1].stage);
    }
}

#[test]
fn everything_that_comes_in_is_accounted_for() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let account = run_quietly(&recipe(dir.path()), &out).unwrap();
    for source in &account.sources {
        check_books(source);
        let [read, filter, words] = &source.stages[..] else { panic!("three stages") };
        assert_eq!((read.kept.bytes, read.kept.chars), (filter.input.bytes, filter.input.chars));
        assert!(filter.dropped.documents > 0 && words.dropped.documents > 0, "{}", source.name);
        assert_eq!(words.kept.documents, source.train.documents + source.held_out.documents);
        assert_eq!(words.kept.bytes, source.train.bytes + source.held_out.bytes);
    }
    assert_eq!(account.sources[0].stages[0].dropped.documents, 3);
    assert!(out.join("documents/en-00001.parquet").exists(), "several shards");
    assert!(out.join("dropped/2-words/en-00000.parquet").exists());
    assert_eq!(account.shuffles[0].stage, "2-words");
    assert!(account.shuffles[0].effort.rows > 0);
}

#[test]
fn the_sample_corpus_is_cleaned_of_all_its_junk_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut recipe = recipe(dir.path());
    recipe.source[0].split_chars = None;
    recipe.output.format = FileFormat::Jsonl;
    let out = dir.path().join("out");
    run_quietly(&recipe, &out).unwrap();
    let kept = documents(&out.join("documents"), Format::Jsonl);
    assert!(kept.iter().all(|document| !document.id.contains("junk")));
    let dropped = results(&out.join("dropped"));
    let lines = dropped.values().flat_map(|file| std::str::from_utf8(file).unwrap().lines());
    let clean: Vec<&str> =
        lines.filter(|line| !line.contains("junk") && !line.contains("\"read\"")).collect();
    assert_eq!(clean, [""; 0]);
    let corpus = Corpus::open(&out.join("corpus")).unwrap();
    assert!(corpus.sources(Split::Train).all(|entry| entry.meta_nats.is_some()));
}

#[test]
fn rules_may_rewrite_what_they_keep() {
    let dir = tempfile::tempdir().unwrap();
    let rules = dir.path().join("rules.toml");
    fs::write(&rules, "measures = \"matrix-zh\"\n[rules]\nC3 = { above = 1 }\n").unwrap();
    let texts = ["甲。乙！见www.x", "甲.乙！见", "甲.乙!见", "甲。"];
    let lines = texts.map(|text| format!("{{\"text\":\"{text}\"}}\n")).concat();
    let input = dir.path().join("in.jsonl").to_string_lossy().into_owned();
    fs::write(&input, lines).unwrap();
    let mut recipe = recipe(dir.path());
    recipe.output.format = FileFormat::Jsonl;
    recipe.source = vec![Source::new("x", Language::Zh, vec![input], Format::Jsonl)];
    let rules = rules.to_string_lossy().into_owned();
    recipe.stage[0] = Stage::Filter(Filter { rules, language: None, mode: None, assets: None });
    recipe.tokenizer = tokenizer(dir.path());
    let account = run_quietly(&recipe, &dir.path().join("out")).unwrap();
    let kept = documents(&dir.path().join("out/documents"), Format::Jsonl);
    let texts: Vec<&str> = kept.iter().map(|document| document.text.as_str()).collect();
    assert_eq!(texts, ["甲.乙!见"], "copies are found after rewriting");
    let [_, filter, words] = &account.sources[0].stages[..] else { panic!("three stages") };
    assert_eq!((filter.input.chars, filter.dropped.chars, filter.kept.chars), (22, 2, 15));
    assert_eq!(filter.kept, words.input);
}

#[test]
fn documents_end_with_eod_and_decode_to_their_texts() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    run_quietly(&recipe(dir.path()), &out).unwrap();
    let corpus = Corpus::open(&out.join("corpus")).unwrap();
    let tokenizer = Tokenizer::from_path(&out.join("corpus")).unwrap();
    let entry = corpus.held_out(Language::En)[0];
    let ids = corpus.shard(entry).document(0).unwrap();
    let (last, text) = ids.split_last().unwrap();
    assert_eq!(*last, tokenizer.eod_id());
    let kept = documents(&out.join("documents"), Format::Parquet);
    let is_held_out = |d: &&Document| d.source == "en" && d.is_held_out();
    assert_eq!(tokenizer.decode(text), kept.iter().find(is_held_out).unwrap().text);
}

#[test]
fn neither_threads_nor_shards_nor_memory_change_the_result() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = recipe(dir.path());
    let with = |name: &str, n_threads: usize, engine: EngineSettings| {
        let (out, recipe) = (dir.path().join(name), Recipe { engine, ..recipe.clone() });
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| run_quietly(&recipe, &out)).unwrap();
        let texts = documents(&out.join("documents"), Format::Parquet);
        (hash(&out), texts)
    };
    let expected = with("a", 1, recipe.engine);
    assert_eq!(with("b", 3, recipe.engine), expected);
    let engine = engine(u64::MAX, 2 * MEMORY_BYTES);
    assert_eq!(with("c", 2, engine), expected);
}

#[test]
fn a_second_run_finds_nothing_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(dir.path()), dir.path().join("out"));
    assert!(n_made(&recipe, &out) > 0);
    let before = results(&out);
    assert_eq!(n_made(&recipe, &out), 0);
    assert_eq!(results(&out), before);
}

#[test]
fn a_changed_setting_is_felt_from_its_stage_on() {
    let dir = tempfile::tempdir().unwrap();
    let (mut recipe, out) = (recipe(dir.path()), dir.path().join("out"));
    recipe.stage.push(Stage::Dedup(Dedup::Paragraph { mode: Mode::Faithful }));
    run_quietly(&recipe, &out).unwrap();
    let units = |stage: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(out.join("work").join(stage)).unwrap();
        let mut units: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        units.sort();
        units
    };
    let stages = ["0-read", "1-filter", "2-words", "3-paragraph"];
    let before = stages.map(units);
    recipe.stage[2] = Stage::Dedup(Dedup::Paragraph { mode: Mode::Corrected });
    run_quietly(&recipe, &out).unwrap();
    let after = stages.map(units);
    assert_eq!(before[..3], after[..3]);
    assert!(before[3].iter().all(|unit| !after[3].contains(unit)), "and the old ones are gone");
    let fresh = dir.path().join("fresh");
    run_quietly(&recipe, &fresh).unwrap();
    assert_eq!(results(&out), results(&fresh));
}

#[test]
fn a_damaged_shard_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(dir.path()), dir.path().join("out"));
    run_quietly(&recipe, &out).unwrap();
    let before = results(&out);
    for name in ["documents/en-00001.parquet", "corpus/zh-zh-train-000.bin"] {
        let mut bytes = before[Path::new(name)].clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        // In place, as a bad disk would: the link and the unit are one file.
        fs::write(out.join(name), bytes).unwrap();
        let warnings = AtomicU64::new(0);
        let on_event = |event: Event<'_>| {
            if let Event::Warning(what) = event {
                warnings.fetch_add(what.contains("is damaged and is made again").into(), Relaxed);
            }
        };
        let never = AtomicBool::new(false);
        let done = run(&recipe, &out, Observer::new(&on_event, &never)).unwrap();
        assert!(done.n_made > 0 && warnings.into_inner() > 0, "{name}");
        assert_eq!(results(&out), before, "{name}");
    }
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_result() {
    let dir = tempfile::tempdir().unwrap();
    let mut recipe = recipe(dir.path());
    recipe.stage.push(Stage::Dedup(Dedup::Substring { mode: Mode::Corrected }));
    let (whole, out) = (dir.path().join("whole"), dir.path().join("out"));
    run_quietly(&recipe, &whole).unwrap();
    let mut n_interruptions = 0;
    for patience in (0..).step_by(40) {
        let (events, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let on_event = |_: Event<'_>| {
            if events.fetch_add(1, Relaxed) >= patience {
                stop.store(true, Relaxed);
            }
        };
        match run(&recipe, &out, Observer::new(&on_event, &stop)) {
            Ok(_) => break,
            Err(error) => assert!(matches!(error, Error::Interrupted), "{error}"),
        }
        n_interruptions += 1;
    }
    assert!(n_interruptions > 3, "{n_interruptions}");
    let same = |(name, _): &(PathBuf, Vec<u8>)| name.as_os_str() != "account.json";
    let results = |out: &Path| results(out).into_iter().filter(same).collect::<Vec<_>>();
    assert_eq!(results(&out), results(&whole));
}

#[test]
fn one_run_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let (recipe, out) = (recipe(dir.path()), dir.path().join("out"));
    let _first = Work::open(&out.join("work"), Observer::quiet()).unwrap();
    let error = run_quietly(&recipe, &out).unwrap_err();
    assert!(error.is_input() && error.hint().is_some(), "{error}");
}

#[test]
fn an_empty_result_says_where_everything_went() {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("in.jsonl");
    fs::write(&path, "{\"text\":\"short\"}\n{\"text\":\"stub\"}\n{\"txt\":1}\n").unwrap();
    let mut recipe = recipe(dir.path());
    recipe.source.truncate(1);
    recipe.source[0].input = vec![path.to_string_lossy().into_owned()];
    let error = run_quietly(&recipe, &dir.path().join("out")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no document is left of `sample`: of 3 records were dropped 2 by `filter.n_chars`, 1 by `read.no_text`"
    );
    assert!(error.is_input() && dir.path().join("out/account.json").exists());
    fs::write(&path, "\n").unwrap();
    let error = run_quietly(&recipe, &dir.path().join("out")).unwrap_err();
    assert!(error.to_string().contains("the input holds no record"), "{error}");
}

// ---- comparing documents ----

fn methods() -> Vec<Dedup> {
    let (faithful, scheme) = (Mode::Faithful, Scheme::Fast);
    vec![
        Dedup::Exact {},
        Dedup::Words {},
        Dedup::Minhash { scheme, normalise: Normalise::ByLanguage, mode: faithful },
        Dedup::Paragraph { mode: faithful },
        Dedup::Paragraph { mode: Mode::Corrected },
        Dedup::Substring { mode: faithful },
        Dedup::Lines { proportion: 0.1 },
    ]
}

/// Records with copies, repeated parts, and one that is no document, in a fixed order.
fn records() -> Vec<String> {
    let record = |i: usize| {
        let common = "A sentence that many of the documents have in common, word for word. ";
        let own = format!("Number {} and only {} is told of here.", i / 2, i / 2);
        let text = format!("{own}\\n{}{}", common.repeat(i % 3), own.repeat(i % 2));
        format!("{{\"id\":\"d{i:02}\",\"text\":\"{text}\"}}")
    };
    let mut records: Vec<String> = (0..40).map(record).collect();
    records.push("{\"id\":\"bad\"}".to_owned());
    records.extend((0..10).map(|i| record(i).replace("\"d", "\"copy")));
    records
}

/// What the stages leave of documents, by id, and the account; the records lie in so many files and shards.
fn clean_in_shards(
    stages: &[Dedup],
    records: &[String],
    n_files: usize,
    shard_bytes: u64,
) -> (Vec<(String, String)>, SourceAccount) {
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("raw");
    fs::create_dir(&raw).unwrap();
    for (i, part) in records.chunks(records.len().div_ceil(n_files)).enumerate() {
        fs::write(raw.join(format!("{i}.jsonl")), part.join("\n")).unwrap();
    }
    let input = vec![raw.to_string_lossy().into_owned()];
    let recipe = Recipe {
        name: "shards".to_owned(),
        engine: engine(shard_bytes, MEMORY_BYTES),
        source: vec![Source::new("s", Language::En, input, Format::Jsonl)],
        stage: stages.iter().cloned().map(Stage::Dedup).collect(),
        tokenizer: tokenizer(dir.path()),
        output: Output { format: FileFormat::Jsonl },
    };
    let out = dir.path().join("out");
    let mut account = run_quietly(&recipe, &out).unwrap();
    let kept = documents(&out.join("documents"), Format::Jsonl);
    let mut kept: Vec<_> = kept.into_iter().map(|document| (document.id, document.text)).collect();
    kept.sort();
    (kept, account.sources.remove(0))
}

#[test]
fn a_shuffle_equals_its_definition() {
    let lines = records();
    let documents: Vec<Document> = lines
        .iter()
        .filter(|line| line.contains("text"))
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            let field = |name: &str| record[name].as_str().unwrap().to_owned();
            crate::dedup::laws::document(&field("id"), &field("text"))
        })
        .collect();
    for dedup in methods() {
        let method = dedup.method();
        let expected = left_of(method.as_ref(), &documents);
        for shard_bytes in [1, 700, u64::MAX] {
            let (kept, account) = clean_in_shards(from_ref(&dedup), &lines, 1, shard_bytes);
            assert_eq!(kept, expected, "{} {shard_bytes}", method.name());
            check_books(&account);
            assert!(account.stages[1].dropped.bytes > 0, "{} finds nothing", method.name());
        }
    }
}

#[test]
fn neither_files_nor_order_nor_shards_matter() {
    let mut turned = records();
    turned.reverse();
    for dedup in methods().into_iter().filter(|dedup| !matches!(dedup, Dedup::Words {})) {
        let (kept, account) = clean_in_shards(from_ref(&dedup), &records(), 1, u64::MAX);
        for (records, n_files) in [(&records(), 5), (&turned, 1), (&turned, 3)] {
            let (again, account_again) = clean_in_shards(from_ref(&dedup), records, n_files, 500);
            assert_eq!(again, kept, "{}", account.stages[1].stage);
            assert_eq!(account_again.stages[1], account.stages[1]);
        }
    }
}

/// Substrings aside: what lay on both sides of a deletion becomes neighbours.
#[test]
fn a_second_time_changes_nothing() {
    let methods = methods().into_iter().filter(|dedup| !matches!(dedup, Dedup::Substring { .. }));
    for dedup in methods {
        let (_, account) = clean_in_shards(&[dedup.clone(), dedup], &records(), 1, 900);
        let [_, once, twice] = &account.stages[..] else { panic!("three stages") };
        assert!(once.dropped.bytes > 0, "{}", once.stage);
        assert_eq!((twice.kept, twice.dropped), (once.kept, Tally::default()), "{}", once.stage);
    }
}

#[test]
fn little_memory_spills_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut recipe = recipe(dir.path());
    let settings = SampleSettings { seed: 7, documents: 4000, junk_share: 0.3 };
    sample::write(dir.path(), &settings).unwrap();
    recipe.stage = vec![Stage::Dedup(Dedup::Substring { mode: Mode::Corrected })];
    let with = |memory_bytes: u64| {
        let out = dir.path().join(memory_bytes.to_string());
        let engine = EngineSettings { memory_bytes, ..recipe.engine };
        let account = run_quietly(&Recipe { engine, ..recipe.clone() }, &out).unwrap();
        (hash(&out), account.shuffles[0].effort.spilled_bytes)
    };
    let (little, much) = (with(16 << 20), with(1 << 30));
    assert_eq!(little.0, much.0);
    assert!(little.1 > 0 && much.1 == 0, "{} and {} bytes spilled", little.1, much.1);
}

#[test]
fn the_recipes_of_the_repository_are_recipes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let mut n_recipes = 0;
    for entry in fs::read_dir(folder).unwrap() {
        Recipe::read(&entry.unwrap().path(), &[]).unwrap();
        n_recipes += 1;
    }
    assert!(n_recipes >= 4);
}

/// Files of kept documents in the work folder, by stage.
fn intermediates(out: &Path) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    for stage in fs::read_dir(out.join("work")).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(units) = fs::read_dir(&stage) else { continue };
        let n = units.filter(|unit| unit.as_ref().unwrap().path().join("kept.parquet").exists());
        found.insert(stage.file_name().unwrap().to_string_lossy().into_owned(), n.count());
    }
    found.retain(|_, n| *n > 0);
    found
}

#[test]
fn without_intermediates_results_are_the_same_and_nothing_is_done_twice() {
    let dir = tempfile::tempdir().unwrap();
    let whole = Recipe { tokenizer: tokenizer(dir.path()), ..recipe(&dir.path().join("raw")) };
    let engine = EngineSettings { keep_intermediates: false, ..whole.engine };
    let lean = Recipe { engine, ..whole.clone() };
    let [kept, out] = ["kept", "lean"].map(|name| dir.path().join(name));
    run_quietly(&whole, &kept).unwrap();
    run_quietly(&lean, &out).unwrap();
    let same = |recipe: &Recipe| {
        let fresh = tempfile::tempdir().unwrap();
        run_quietly(recipe, fresh.path()).unwrap();
        let recipe_file = Path::new("data_recipe.toml");
        let of = |out: &Path| {
            let mut results = results(out);
            results.remove(recipe_file);
            results
        };
        assert!(of(&out) == of(fresh.path()));
    };
    same(&whole);
    assert_eq!(intermediates(&kept).len(), 3);
    assert_eq!(intermediates(&out).keys().collect::<Vec<_>>(), ["2-words"]);
    assert_eq!(n_made(&lean, &out), 0);
    // A stage whose documents are gone: changed, taken away, added.
    let stages = |stage: Vec<Stage>| Recipe { stage, ..lean.clone() };
    for changed in [
        stages(vec![basic(), Stage::Dedup(Dedup::Exact {})]),
        stages(vec![basic()]),
        stages(vec![basic(), Stage::Dedup(Dedup::Words {}), Stage::Dedup(Dedup::Exact {})]),
    ] {
        run_quietly(&changed, &out).unwrap();
        same(&Recipe { engine: whole.engine, ..changed.clone() });
        assert_eq!(intermediates(&out).len(), 1);
        assert_eq!(n_made(&changed, &out), 0);
    }
}
