//! Deduplication against the original's results (`golden/dedup/README.md`).

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test says why it is skipped")]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use neo_data::dedup::minhash::{
    MinHash, N_BANDS, Normalise, Permutations, Scheme, Signer, band_bytes, normalise,
};
use neo_data::dedup::{Method, Mode, Outcome, lines};
use neo_data::engine::Observer;
use neo_data::pipeline::{Dedup, Single, Stage, run_single};
use neo_data::read::{Format, Reader, Record, Source};
use neo_data::write::{Dropped, FileFormat, Value, Writer};
use neo_data::{Document, Language};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// The golden folder of deduplication; none when there is none and none was asked for.
fn golden() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("NEO_GOLDEN") {
        let named = PathBuf::from(named).join("dedup");
        assert!(named.is_dir(), "`NEO_GOLDEN` is set, but `{}` is no folder", named.display());
        return Some(named);
    }
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/golden/dedup");
    if !default.is_dir() {
        println!("skipped: no folder `{}`; `NEO_GOLDEN` can name another", default.display());
        return None;
    }
    Some(default)
}

fn read_jsonl<T: DeserializeOwned>(path: &Path) -> Vec<T> {
    let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("`{}`: {e}", path.display()));
    let text = String::from_utf8(zstd::decode_all(file).unwrap()).unwrap();
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}"));
    // Not `str::lines`: it would take a carriage return off the end.
    let records: Vec<T> = text.split('\n').filter(|line| !line.is_empty()).map(parse).collect();
    assert!(!records.is_empty(), "no record in `{}`", path.display());
    records
}

#[derive(Deserialize)]
struct TextRecord {
    doc_id: String,
    raw_content: String,
}

#[derive(Deserialize)]
struct SignatureRecord {
    doc_id: String,
    normalised_sha256: String,
    bands: Vec<String>,
    /// Of some documents only.
    signature: Option<Vec<u32>>,
    /// Of the same documents; none when normalisation changes nothing.
    normalised: Option<String>,
}

/// One language of the MinHash files.
struct Corpus {
    name: String,
    documents: Vec<Document>,
    signatures: HashMap<String, SignatureRecord>,
    clusters: serde_json::Map<String, serde_json::Value>,
}

fn documents(records: Vec<TextRecord>, language: Language) -> Vec<Document> {
    let document = |record: TextRecord| Document {
        id: record.doc_id,
        text: record.raw_content,
        source: "golden".to_owned(),
        url: None,
        language,
        meta: serde_json::Map::new(),
        origin: None,
    };
    records.into_iter().map(document).collect()
}

/// Every language of which there are documents.
fn corpora(golden: &Path) -> Vec<Corpus> {
    let mut names: Vec<String> = std::fs::read_dir(golden)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter_map(|name| {
            let name = name.strip_prefix("minhash_")?.strip_suffix("_docs.jsonl.zst")?;
            Some(name.to_owned())
        })
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no MinHash documents in `{}`", golden.display());
    names.into_iter().map(|name| corpus(golden, name)).collect()
}

fn corpus(golden: &Path, name: String) -> Corpus {
    let file = |kind: &str| golden.join(format!("minhash_{name}_{kind}.jsonl.zst"));
    let language = Language::from_name(&name).unwrap_or(Language::Other);
    let documents = documents(read_jsonl(&file("docs")), language);
    let signatures: Vec<SignatureRecord> = read_jsonl(&file("signatures"));
    let signatures: HashMap<String, SignatureRecord> =
        signatures.into_iter().map(|record| (record.doc_id.clone(), record)).collect();
    assert_eq!(signatures.len(), documents.len());
    let clusters: Vec<serde_json::Map<String, serde_json::Value>> = read_jsonl(&file("clusters"));
    Corpus { name, documents, signatures, clusters: clusters.into_iter().flatten().collect() }
}

fn cluster<T: DeserializeOwned>(corpus: &Corpus, key: &str) -> T {
    serde_json::from_value(corpus.clusters[key].clone()).unwrap()
}

const SCHEME: Scheme = Scheme::Original;
const NORMALISE: Normalise = Normalise::ByLanguage;
const MODE: Mode = Mode::Faithful;

fn method() -> MinHash {
    MinHash::new(SCHEME, NORMALISE, MODE)
}

fn min_hash() -> Dedup {
    Dedup::Minhash { scheme: SCHEME, normalise: NORMALISE, mode: MODE }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Deserialize)]
struct PermutationRecord {
    seed: u32,
    a: Vec<String>,
    b: Vec<String>,
}

fn permutation_record(golden: &Path) -> PermutationRecord {
    let text = std::fs::read_to_string(golden.join("minhash_permutations.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn conformance_permutations() {
    let Some(golden) = golden() else { return };
    let expected = permutation_record(&golden);
    assert!(!expected.a.is_empty());
    let found = Permutations::new(expected.seed, expected.a.len());
    let text = |values: &[u64]| values.iter().map(u64::to_string).collect::<Vec<_>>();
    assert_eq!((text(&found.a), text(&found.b)), (expected.a, expected.b));
    println!("{} permutations equal", found.a.len());
}

#[test]
fn conformance_normalised_texts() {
    let Some(golden) = golden() else { return };
    for corpus in corpora(&golden) {
        let (mut different, mut n_changed) = (Vec::new(), 0);
        for document in &corpus.documents {
            let record = &corpus.signatures[&document.id];
            let normalised = method().normalised(document).into_owned();
            n_changed += usize::from(normalised != document.text);
            if record.signature.is_some() {
                let expected = record.normalised.as_ref().unwrap_or(&document.text);
                assert_eq!(&normalised, expected, "`{}`", document.id);
            }
            if hex(&Sha256::digest(&normalised)) != record.normalised_sha256 {
                different.push(document.id.as_str());
            }
        }
        assert_eq!(different, [""; 0], "of {} normalised texts", corpus.documents.len());
        println!(
            "{}: {} normalised texts equal, {n_changed} of them not the raw text",
            corpus.name,
            corpus.documents.len()
        );
    }
    assert_eq!(normalise::english(""), "");
}

#[test]
fn conformance_signatures_and_bands() {
    let Some(golden) = golden() else { return };
    let record = permutation_record(&golden);
    let signer = Signer::new(&Permutations::new(record.seed, record.a.len()));
    for corpus in corpora(&golden) {
        let mut n_signatures = 0;
        for document in &corpus.documents {
            let expected = &corpus.signatures[&document.id];
            let signature = signer.signature(&method().normalised(document));
            if let Some(expected) = &expected.signature {
                assert_eq!(&signature, expected, "signature of `{}`", document.id);
                n_signatures += 1;
            }
            let bands: Vec<String> = (0..N_BANDS)
                .map(|band| hex(&Sha256::digest(band_bytes(&signature, band))[..8]))
                .collect();
            assert_eq!(bands, expected.bands, "bands of `{}`", document.id);
        }
        assert!(n_signatures > 0, "no signature in `{}`", corpus.name);
        println!(
            "{}: {n_signatures} signatures and {} times {N_BANDS} bands equal",
            corpus.name,
            corpus.documents.len()
        );
    }
}

/// Every two documents that have a key in common, the smaller id first.
fn pairs(method: &dyn Method, documents: &[Document]) -> BTreeSet<(String, String)> {
    let mut by_key: HashMap<_, Vec<&str>> = HashMap::new();
    for document in documents {
        for (_, key) in method.keys(document) {
            by_key.entry(key).or_default().push(&document.id);
        }
    }
    let mut pairs = BTreeSet::new();
    for ids in by_key.values_mut() {
        ids.sort_unstable();
        for (i, &a) in ids.iter().enumerate() {
            pairs.extend(ids[i + 1..].iter().map(|&b| (a.to_owned(), b.to_owned())));
        }
    }
    pairs
}

/// Documents by the one that stays for them; those that stay alone are left out.
fn components(dedup: Dedup, documents: &[Document]) -> Vec<Vec<String>> {
    let mut components: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in deduplicate(dedup, documents).1 {
        let Value::Text(first) = row.value else { panic!("a copy of {:?}", row.value) };
        let component = components.entry(first.clone()).or_insert_with(|| vec![first]);
        component.push(row.id);
    }
    let mut components: Vec<Vec<String>> = components.into_values().collect();
    components.iter_mut().for_each(|component| component.sort());
    components.sort();
    components
}

/// What the program keeps and drops of documents.
fn deduplicate(dedup: Dedup, documents: &[Document]) -> (Vec<Document>, Vec<Dropped>) {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(dir.path(), "in", FileFormat::Jsonl).unwrap();
    documents.iter().for_each(|document| writer.push(document).unwrap());
    let input = vec![writer.finish().unwrap().to_string_lossy().into_owned()];
    let source = Source::new("golden", Language::Other, input, Format::Jsonl);
    let out = dir.path().join("out");
    let single = Single {
        out: &out,
        kept: "kept",
        format: FileFormat::Jsonl,
        memory_bytes: 64 << 20,
        index: None,
    };
    run_single(&single, Some(&Stage::Dedup(dedup)), &source, Observer::quiet()).unwrap();
    let kept = vec![out.join("kept.jsonl").to_string_lossy().into_owned()];
    let kept = Reader::open(&Source::new("kept", Language::Other, kept, Format::Jsonl)).unwrap();
    let document = |record| match record {
        Record::Document(document) => document,
        Record::Bad(bad) => panic!("{bad:?}"),
    };
    let kept = kept.map(|record| document(record.unwrap())).collect();
    let dropped = std::fs::read_to_string(out.join("dropped.jsonl")).unwrap();
    let dropped = dropped.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (kept, dropped)
}

/// Ids and texts of what stays, by id.
fn kept(dedup: Dedup, documents: &[Document]) -> Vec<(String, String)> {
    let kept = deduplicate(dedup, documents).0;
    let mut kept: Vec<(String, String)> =
        kept.into_iter().map(|document| (document.id, document.text)).collect();
    kept.sort();
    kept
}

fn kept_ids(dedup: Dedup, documents: &[Document]) -> Vec<String> {
    kept(dedup, documents).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn conformance_pairs_components_and_survivors() {
    let Some(golden) = golden() else { return };
    for corpus in corpora(&golden) {
        let expected: BTreeSet<(String, String)> = cluster(&corpus, "pairs");
        assert!(pairs(&method(), &corpus.documents) == expected, "pairs of {}", corpus.name);
        let mut groups: Vec<Vec<String>> = cluster(&corpus, "components");
        groups.iter_mut().for_each(|group| group.sort());
        groups.sort();
        assert_eq!(components(min_hash(), &corpus.documents), groups, "{}", corpus.name);
        let survivors: Vec<String> = cluster(&corpus, "survivors");
        assert_eq!(kept_ids(min_hash(), &corpus.documents), survivors, "{}", corpus.name);
        println!(
            "{}: {} pairs, {} components, {} survivors equal",
            corpus.name,
            expected.len(),
            groups.len(),
            survivors.len()
        );
    }
}

#[test]
fn conformance_exact() {
    let Some(golden) = golden() else { return };
    let documents: Vec<Document> =
        corpora(&golden).into_iter().flat_map(|corpus| corpus.documents).collect();
    let expected: Vec<BTreeMap<String, Vec<String>>> =
        read_jsonl(&golden.join("exact_expected.jsonl.zst"));
    let survivors = &expected[0]["survivors"];
    assert_eq!(&kept_ids(Dedup::Exact {}, &documents), survivors);
    println!("{} survivors of {} documents equal", survivors.len(), documents.len());
}

fn check_parts(name: &str, dedup: Dedup) {
    let Some(golden) = golden() else { return };
    let documents =
        documents(read_jsonl(&golden.join("paragraph_substring_docs.jsonl.zst")), Language::En);
    let expected: Vec<TextRecord> = read_jsonl(&golden.join(format!("{name}_expected.jsonl.zst")));
    let mut expected: Vec<(String, String)> =
        expected.into_iter().map(|record| (record.doc_id, record.raw_content)).collect();
    expected.sort();
    let found = kept(dedup, &documents);
    let ids = |records: &[(String, String)]| -> Vec<String> {
        records.iter().map(|(id, _)| id.clone()).collect()
    };
    assert_eq!(ids(&found), ids(&expected));
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    println!("{} documents after {name} equal, of {}", expected.len(), documents.len());
}

#[test]
fn conformance_paragraph() {
    check_parts("paragraph", Dedup::Paragraph { mode: Mode::Faithful });
}

#[test]
fn conformance_substring() {
    check_parts("substring", Dedup::Substring { mode: Mode::Faithful });
}

#[derive(Deserialize)]
struct LineRecord {
    id: String,
    text: String,
    pieces: usize,
    /// None when nothing is taken out.
    expected: Option<String>,
}

#[test]
fn conformance_similar_lines() {
    let Some(golden) = golden() else { return };
    let records: Vec<LineRecord> = read_jsonl(&golden.join("similar_line.jsonl.zst"));
    let method = lines::Lines { proportion: lines::PROPORTION };
    let mut n_changed = 0;
    for record in &records {
        assert_eq!(lines::split(&record.text).len(), record.pieces, "pieces of `{}`", record.id);
        let found = match method.take_out(&record.text, &[]) {
            Outcome::Cut { text, .. } => Some(text),
            _ => None,
        };
        assert_eq!(found, record.expected, "text of `{}`", record.id);
        n_changed += usize::from(found.is_some());
    }
    println!("{} texts equal, {n_changed} of them change", records.len());
}
