//! Data files to documents: JSON lines or a JSON array, plain, gzip or zstd, checked against the
//! task's checksum.
//!
//! As in the `datasets` library, a document has every field that any document of its file has; what
//! it lacks is `None`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use minijinja::value::Serde;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::definition::Definition;
use crate::{Error, Result};

/// One row of a data file.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its fields.
    pub fields: Map<String, Value>,
    /// The same for templates.
    pub(crate) context: minijinja::Value,
}

impl Document {
    /// A document of these fields.
    pub fn new(fields: Map<String, Value>) -> Self {
        let context = minijinja::Value::from(Serde(&fields));
        Self { fields, context }
    }
}

/// Documents of the splits by name.
pub type Splits = BTreeMap<String, Arc<Vec<Document>>>;

/// Reads data files for tasks, each once.
#[derive(Debug, Default)]
pub struct Data {
    folder: PathBuf,
    rows: BTreeMap<PathBuf, Arc<Vec<Map<String, Value>>>>,
    sums: BTreeMap<PathBuf, String>,
}

impl Data {
    /// Data files with relative names lie in `folder`.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), ..Self::default() }
    }

    /// The folder that relative names start from.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads every split that a task names.
    ///
    /// # Errors
    /// A file that is missing, malformed or altered, or a task that names none.
    pub fn splits(&mut self, task: &Definition) -> Result<Splits> {
        let mut splits = Splits::new();
        for (split, paths) in data_files(task)? {
            let mut documents = Vec::new();
            for path in paths {
                let path = self.folder.join(path);
                let rows = self.rows(task, &path)?;
                self.check_sum(task, &split, &path)?;
                let [first, end] = task.own.rows.get(&split).copied().unwrap_or([0, usize::MAX]);
                let end = end.min(rows.len());
                documents.extend(select(&rows[first.min(end)..end], &task.own.r#where));
            }
            if let Some(join) = &task.own.join {
                let added = self.rows(task, &self.folder.join(&join.file))?;
                documents = documents.into_iter().map(|d| joined(d, &added, &join.by)).collect();
            }
            splits.insert(split, Arc::new(documents));
        }
        Ok(splits)
    }

    fn rows(&mut self, task: &Definition, path: &Path) -> Result<Arc<Vec<Map<String, Value>>>> {
        if let Some(rows) = self.rows.get(path) {
            return Ok(rows.clone());
        }
        let bytes = unpacked(path).map_err(|error| missing(task, path, error))?;
        self.sums.insert(path.to_owned(), hex(&Sha256::digest(&bytes)));
        let rows = Arc::new(parse(path, &bytes)?);
        self.rows.insert(path.to_owned(), rows.clone());
        Ok(rows)
    }

    fn check_sum(&self, task: &Definition, split: &str, path: &Path) -> Result<()> {
        let (Some(expected), Some(found)) = (task.own.sha256.get(split), self.sums.get(path))
        else {
            return Ok(());
        };
        if found == expected {
            return Ok(());
        }
        let path = path.display();
        Err(Error::Task {
            task: task.task.clone(),
            problem: format!("data file `{path}` has the checksum {found}, expected {expected}"),
            hint: Some("scores over altered data compare with nothing; get the file anew".into()),
        })
    }
}

/// SHA-256 in hexadecimal.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads rows of a file, as a split without a task.
///
/// # Errors
/// A file that is missing or malformed.
pub fn read_documents(path: &Path, filter: &BTreeMap<String, Value>) -> Result<Vec<Document>> {
    let rows = parse(path, &unpacked(path)?)?;
    Ok(select(&rows, filter))
}

/// Paths by split, as `dataset_kwargs.data_files` gives them.
fn data_files(task: &Definition) -> Result<Vec<(String, Vec<String>)>> {
    let files = task.given.get("dataset_kwargs").and_then(|kwargs| kwargs.get("data_files"));
    let names = |value: &Value| match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) => {
            several.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    match files {
        Some(Value::Object(splits)) => {
            Ok(splits.iter().map(|(split, files)| (split.clone(), names(files))).collect())
        }
        Some(files @ (Value::String(_) | Value::Array(_))) => {
            Ok(vec![("train".to_owned(), names(files))])
        }
        _ => Err(Error::Task {
            task: task.task.clone(),
            problem: "no data file is named".into(),
            hint: Some(
                "set `dataset_path: json` and `dataset_kwargs: {data_files: {test: FILE.jsonl}}`"
                    .into(),
            ),
        }),
    }
}

fn missing(task: &Definition, path: &Path, error: Error) -> Error {
    let is_missing = matches!(&error, Error::Data(neo_data::Error::Io { source, .. })
        if source.kind() == std::io::ErrorKind::NotFound);
    if !is_missing {
        return error;
    }
    let hint = match &task.own.bring {
        Some(bring) => bring.clone(),
        None => "name the folder of the evaluation sets: `--data DIR`, or `eval.data` in a training recipe".into(),
    };
    Error::Task {
        task: task.task.clone(),
        problem: format!("data file `{}` is missing", path.display()),
        hint: Some(hint),
    }
}

fn unpacked(path: &Path) -> Result<Vec<u8>> {
    let io = || neo_data::Error::io(path);
    let bytes = fs_err::read(path).map_err(io())?;
    let mut out = Vec::new();
    match bytes.get(..4) {
        Some([0x28, 0xb5, 0x2f, 0xfd]) => {
            zstd::Decoder::new(&bytes[..])
                .and_then(|mut d| d.read_to_end(&mut out))
                .map_err(io())?;
        }
        Some([0x1f, 0x8b, ..]) => {
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut out).map_err(io())?;
        }
        _ => out = bytes,
    }
    Ok(out)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Map<String, Value>>> {
    let malformed = |problem: String| -> Error {
        neo_data::Error::Malformed { path: path.to_owned(), problem }.into()
    };
    let text = std::str::from_utf8(bytes).map_err(|problem| malformed(problem.to_string()))?;
    let mut rows: Vec<Map<String, Value>> = if text.trim_start().starts_with('[') {
        serde_json::from_str(text).map_err(|problem| malformed(problem.to_string()))?
    } else {
        let lines = text.split('\n').enumerate().filter(|(_, line)| !line.trim().is_empty());
        let row = |(idx, line): (usize, &str)| {
            serde_json::from_str(line)
                .map_err(|problem| malformed(format!("line {}: {problem}", idx + 1)))
        };
        lines.map(row).collect::<Result<_>>()?
    };
    complete(&mut rows);
    Ok(rows)
}

/// Gives every row the fields of all rows.
fn complete(rows: &mut [Map<String, Value>]) {
    let mut fields: Map<String, Value> = Map::new();
    for row in rows.iter() {
        for key in row.keys().filter(|key| !fields.contains_key(*key)).cloned().collect::<Vec<_>>()
        {
            fields.insert(key, Value::Null);
        }
    }
    for row in rows.iter_mut().filter(|row| row.len() < fields.len()) {
        for key in fields.keys() {
            row.entry(key.clone()).or_insert(Value::Null);
        }
    }
}

/// The document with the fields of the row that has the same value in the field `by`.
fn joined(document: Document, rows: &[Map<String, Value>], by: &str) -> Document {
    let mut fields = document.fields;
    let same = rows.iter().find(|row| row.get(by) == fields.get(by));
    for (key, value) in same.into_iter().flatten() {
        fields.entry(key.clone()).or_insert_with(|| value.clone());
    }
    Document::new(fields)
}

fn select(rows: &[Map<String, Value>], filter: &BTreeMap<String, Value>) -> Vec<Document> {
    let passes = |row: &&Map<String, Value>| filter.iter().all(|(k, v)| row.get(k) == Some(v));
    rows.iter().filter(passes).cloned().map(Document::new).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_get_the_fields_that_others_have() {
        let text = b"{\"a\": 1}\n\n{\"b\": 2, \"a\": 0}\n";
        let rows = parse(Path::new("x.jsonl"), text).unwrap();
        assert_eq!(json!(rows), json!([{"a": 1, "b": null}, {"b": 2, "a": 0}]));
        assert_eq!(json!(parse(Path::new("x"), b"[{\"a\": 1}]").unwrap()), json!([{"a": 1}]));
    }

    #[test]
    fn a_broken_line_is_named() {
        let problem = parse(Path::new("x.jsonl"), b"{\"a\": 1}\n{").unwrap_err().to_string();
        assert!(problem.contains("x.jsonl") && problem.contains("line 2"), "{problem}");
    }
}
