//! Evaluation files to rows: which texts of a record are looked for, told by a table of fields that is data.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::{Error, Result, read, toml_file};

/// The table that comes with the program.
const TABLE: &str = include_str!("benchmarks.toml");

/// A row of an evaluation file, as far as it is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// What it is called in reports.
    pub(super) id: String,
    /// What is asked, each text on its own.
    pub(super) questions: Vec<String>,
    /// Texts one of which stands near a question.
    pub(super) answers: Vec<String>,
    /// Other texts of the row.
    pub(super) contexts: Vec<String>,
}

/// Fields by file name.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    benchmark: Vec<Fields>,
}

/// What the fields of a file hold; the keys are explained at the head of `benchmarks.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    files: Vec<String>,
    id: Option<String>,
    #[serde(default)]
    question: Vec<String>,
    #[serde(default)]
    answer: Vec<String>,
    #[serde(default)]
    context: Vec<String>,
    choices: Option<String>,
    choice: Option<String>,
}

impl Table {
    /// The given table, or the program's own.
    ///
    /// # Errors
    /// The file cannot be read or is no table.
    pub(super) fn read(path: Option<&Path>) -> Result<Self> {
        let own = || toml_file::parse::<Self>(Path::new("benchmarks.toml"), TABLE, &[]);
        let (table, _) = path.map_or_else(own, |path| toml_file::read::<Self>(path, &[]))?;
        Ok(table)
    }

    fn fields(&self, name: &str) -> Option<&Fields> {
        self.benchmark.iter().find(|fields| fields.files.iter().any(|file| file == name))
    }

    /// The rows of a file, in its order.
    ///
    /// # Errors
    /// A line that is no JSON object.
    pub(super) fn rows(&self, path: &Path) -> Result<Vec<Row>> {
        let fields = self.fields(&name_of(path));
        let mut rows = Vec::new();
        read::for_each_line(path, |number, line| {
            if line.iter().all(u8::is_ascii_whitespace) {
                return Ok(());
            }
            let malformed = |problem: String| Error::Malformed {
                path: path.to_owned(),
                problem: format!("line {number} {problem}, expected a JSON object"),
            };
            let record: Value = serde_json::from_slice(line)
                .map_err(|error| malformed(format!("is not JSON ({error})")))?;
            let Value::Object(_) = &record else { return Err(malformed("is no object".into())) };
            let mut row = fields.map_or_else(|| Row::of_all(&record), |fields| fields.row(&record));
            if row.id.is_empty() {
                row.id = format!("line {number}");
            }
            rows.push(row);
            Ok(())
        })?;
        Ok(rows)
    }
}

/// The evaluation files of a folder, by name.
///
/// # Errors
/// The folder cannot be read or holds none.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = std::fs::read_dir(dir).map_err(Error::io(dir));
    for entry in entries.map_err(|error| error.asked_by(|| "`against`".to_owned()))? {
        let path = entry.map_err(Error::io(dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if [".jsonl", ".jsonl.gz", ".jsonl.zst"].iter().any(|end| name.ends_with(end)) {
            files.push(path);
        }
    }
    if files.is_empty() {
        let problem = format!("`{}` holds no `.jsonl`, `.jsonl.gz` or `.jsonl.zst`", dir.display());
        return Err(Error::Setting(problem));
    }
    files.sort();
    Ok(files)
}

/// The name of a benchmark: that of its file up to `.jsonl`.
pub(super) fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split(".jsonl").next().unwrap_or_default().to_owned()
}

impl Fields {
    fn row(&self, record: &Value) -> Row {
        let texts = |names: &[String]| {
            let mut texts = Vec::new();
            names.iter().for_each(|name| gather(&record[name.as_str()], &mut texts));
            texts
        };
        let mut answers = texts(&self.answer);
        answers.extend(self.chosen(record).map(str::to_owned));
        let mut contexts = texts(&self.context);
        // The other choices are texts of the row too.
        contexts.extend(texts(self.choices.as_slice()));
        let id = self.id.as_deref().map(|id| match &record[id] {
            Value::String(id) => id.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        });
        let questions = texts(&self.question);
        Row { id: id.unwrap_or_default(), questions, answers, contexts }
    }

    fn chosen<'a>(&self, record: &'a Value) -> Option<&'a str> {
        let idx = record[self.choice.as_deref()?].as_u64()?;
        record[self.choices.as_deref()?].get(idx as usize)?.as_str()
    }
}

impl Row {
    /// A record of an unknown file: the longest string is taken for the question, the others for answers.
    fn of_all(record: &Value) -> Self {
        let mut texts = Vec::new();
        gather(record, &mut texts);
        let longest = (0..texts.len()).max_by_key(|&idx| (texts[idx].len(), usize::MAX - idx));
        let questions = longest.map(|idx| texts.remove(idx)).into_iter().collect();
        Self { questions, answers: texts, ..Self::default() }
    }
}

/// All strings of a value, numbers as they are written.
fn gather(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Number(number) => into.push(number.to_string()),
        Value::Array(values) => values.iter().for_each(|value| gather(value, into)),
        Value::Object(fields) => fields.values().for_each(|value| gather(value, into)),
        Value::Null | Value::Bool(_) => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(name: &str, lines: &str) -> Result<Vec<Row>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, lines).unwrap();
        Table::read(None)?.rows(&path)
    }

    #[test]
    fn fields_are_found_by_the_name_of_the_file() {
        let line = r#"{"question":"q","choices":["a","b"],"answer":1}"#;
        let row = &rows("mmlu_test.jsonl", line).unwrap()[0];
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        assert_eq!((&row.questions, &row.answers), (&texts(&["q"]), &texts(&["b"])));
        assert_eq!((row.id.as_str(), &row.contexts), ("line 1", &texts(&["a", "b"])));
        let row = &rows("unheard_of.jsonl", &format!("\n{line}")).unwrap()[0];
        assert_eq!((&row.questions, &row.answers), (&texts(&["q"]), &texts(&["a", "b", "1"])));
        assert_eq!(row.id, "line 2");
    }

    #[test]
    fn what_is_no_row_is_named() {
        let check = |line: &str, expected: &str| {
            let error = rows("x.jsonl", line).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("{}\n[1]", "line 2 is no object, expected a JSON object");
        check("{", "line 1 is not JSON");
    }
}
