//! Whole files: what a line that cannot be used does to the lines after it.
//!
//! The original reads a file in one loop inside one `try`, so its first bad line ends the file. The corrected mode
//! passes over bad lines.

use rayon::prelude::*;
use serde_json::{Map, Value};

use super::MatrixZh;
use crate::filter::{Mode, Verdict};

/// Why a line holds no document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadLine {
    /// It is no JSON; nor is a blank line.
    NotJson,
    /// It is JSON, but no object.
    NotAnObject,
    /// The object has no `raw_content`.
    NoText,
}

impl BadLine {
    /// Whether the original notes it in its log. On other bad lines the code that would note them fails itself.
    pub fn is_logged(self) -> bool {
        self == Self::NotJson
    }
}

/// A document of a file, after the rules.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedLine {
    /// Index of its line.
    pub idx: usize,
    /// The record; that of a kept document has the rewritten text.
    pub record: Map<String, Value>,
    /// What the rules say.
    pub verdict: Verdict,
}

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JudgedFile {
    /// Its documents in order.
    pub lines: Vec<JudgedLine>,
    /// Lines without a document: in faithful mode at most one, after which nothing was read.
    pub bad_lines: Vec<(usize, BadLine)>,
}

impl JudgedFile {
    /// Whether the original ends the file's log properly and marks the file as done.
    pub fn is_marked_done(&self) -> bool {
        self.bad_lines.iter().all(|(_, bad)| bad.is_logged())
    }
}

impl MatrixZh {
    /// Judges the lines of a file of JSON objects, each with the text in `raw_content` and its address in `url`.
    pub fn judge_file(&self, lines: &[&str]) -> JudgedFile {
        let mut file = JudgedFile::default();
        let mut records = Vec::new();
        for (idx, line) in lines.iter().enumerate() {
            match parse(line) {
                Ok(record) => records.push((idx, record)),
                Err(bad) => file.bad_lines.push((idx, bad)),
            }
            if self.mode == Mode::Faithful && !file.bad_lines.is_empty() {
                break;
            }
        }
        let judged = records.into_par_iter().map(|(idx, record)| self.judge_line(idx, record));
        file.lines = judged.collect();
        file
    }

    fn judge_line(&self, idx: usize, mut record: Map<String, Value>) -> JudgedLine {
        let text = record.get("raw_content").and_then(Value::as_str);
        let verdict = self.judge(text, record.get("url").and_then(Value::as_str));
        if let Verdict::Rewrite(text) = &verdict {
            record.insert("raw_content".to_owned(), Value::String(text.clone()));
        }
        JudgedLine { idx, record, verdict }
    }
}

fn parse(line: &str) -> Result<Map<String, Value>, BadLine> {
    match serde_json::from_str(line) {
        Ok(Value::Object(record)) if record.contains_key("raw_content") => Ok(record),
        Ok(Value::Object(_)) => Err(BadLine::NoText),
        Ok(_) => Err(BadLine::NotAnObject),
        Err(_) => Err(BadLine::NotJson),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::filter::matrix_zh::CORRECTED;

    #[test]
    fn a_bad_line_ends_the_file_in_faithful_mode_only() {
        let lines = ["", r#"{"raw_content": "一。二。"}"#, "[1]", r#"{"url": ""}"#, "{"];
        let check = |mode: Mode, n_lines: usize, bad_lines: &[(usize, BadLine)]| {
            let rules = CORRECTED.replace("\nC1 = {}", "").replace("\nC14 = { min = 0.4 }", "");
            let filter = MatrixZh::parse(&rules, Path::new("r"), Some(mode), None).unwrap();
            let file = filter.judge_file(&lines);
            assert_eq!((file.lines.len(), &*file.bad_lines), (n_lines, bad_lines));
        };
        check(Mode::Faithful, 0, &[(0, BadLine::NotJson)]);
        let all = [BadLine::NotJson, BadLine::NotAnObject, BadLine::NoText, BadLine::NotJson];
        check(Mode::Corrected, 1, &[(0, all[0]), (2, all[1]), (3, all[2]), (4, all[3])]);
    }
}
