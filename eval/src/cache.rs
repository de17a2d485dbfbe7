//! Answers of a model kept on disk as they come, so that a killed evaluation continues.
//!
//! A file of JSON lines: the first names the model, every other one is a key and an answer. A line
//! that was cut off by the kill is dropped.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::task::source::hex;
use crate::{Error, Result};

/// Answers by the hash of their request.
#[derive(Debug)]
pub struct AnswerCache {
    known: HashMap<String, Value>,
    file: Option<(PathBuf, fs_err::File)>,
    stop: Arc<AtomicBool>,
}

impl AnswerCache {
    /// A cache that forgets.
    pub fn in_memory() -> Self {
        Self { known: HashMap::new(), file: None, stop: Arc::default() }
    }

    /// Opens or begins the file at `path` for the run of this identity. When `stop` is raised the next
    /// answer is kept and the evaluation ends.
    ///
    /// # Errors
    /// A file that cannot be read or written, or that holds answers of another run.
    pub fn open(path: &Path, run: &Value, stop: Arc<AtomicBool>) -> Result<Self> {
        let header = json!({ "answers_of": run }).to_string();
        let text = match fs_err::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(neo_data::Error::io(path)(error).into()),
        };
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = complete.lines();
        let is_ours = lines.next().is_none_or(|line| line == header);
        let n_others = lines.clone().filter(|_| !is_ours).count();
        if n_others > 0 {
            return Err(Error::Setting(format!(
                "`{}` holds {n_others} answers of an unfinished evaluation with another model, tasks or \
                 settings; remove it, or write the results elsewhere",
                path.display()
            )));
        }
        let mut known = HashMap::new();
        let mut kept = format!("{header}\n");
        for line in lines.filter(|_| is_ours) {
            let Ok(entry) = serde_json::from_str::<(String, Value)>(line) else { continue };
            kept.push_str(line);
            kept.push('\n');
            known.insert(entry.0, entry.1);
        }
        fs_err::write(path, kept).map_err(neo_data::Error::io(path))?;
        let file = fs_err::OpenOptions::new().append(true).open(path);
        let file = file.map_err(neo_data::Error::io(path))?;
        Ok(Self { known, file: Some((path.to_owned(), file)), stop })
    }

    /// The key of a request.
    pub fn key(request: &Value) -> String {
        hex(&Sha256::digest(request.to_string()))
    }

    /// The answer to a request, if it is known.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.known.get(key)
    }

    /// Answers known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Keeps an answer.
    ///
    /// # Errors
    /// A file that cannot be written, or a request to stop.
    pub fn put(&mut self, key: &str, answer: &Value) -> Result<()> {
        if let Some((path, file)) = &mut self.file {
            let line = format!("{}\n", json!([key, answer]));
            file.write_all(line.as_bytes()).map_err(neo_data::Error::io(path))?;
            self.known.insert(key.to_owned(), answer.clone());
        }
        if self.stop.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }

    /// Removes the file: the evaluation is done.
    ///
    /// # Errors
    /// A file that cannot be removed.
    pub fn finish(self) -> Result<()> {
        match self.file {
            None => Ok(()),
            Some((path, _)) => {
                fs_err::remove_file(&path).map_err(|error| neo_data::Error::io(&path)(error).into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_survive_a_kill_and_a_cut_line_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers");
        let mut cache = AnswerCache::open(&path, &json!("m"), Arc::default()).unwrap();
        cache.put("a", &json!([-1.25, true])).unwrap();
        cache.put("b", &json!("text\n")).unwrap();
        drop(cache);
        let whole = fs_err::read_to_string(&path).unwrap();
        fs_err::write(&path, &whole[..whole.len() - 3]).unwrap();
        let cache = AnswerCache::open(&path, &json!("m"), Arc::default()).unwrap();
        assert_eq!(cache.get("a"), Some(&json!([-1.25, true])));
        assert_eq!(cache.get("b"), None);
        let stop = Arc::new(AtomicBool::new(true));
        let mut cache = AnswerCache::open(&path, &json!("m"), stop).unwrap();
        assert!(matches!(cache.put("c", &json!(1)), Err(Error::Stopped)));
        let of_another = AnswerCache::open(&path, &json!("other"), Arc::default()).unwrap_err();
        assert!(of_another.to_string().contains("holds 2 answers"), "{of_another}");
        fs_err::write(&path, "{}\n").unwrap();
        assert!(AnswerCache::open(&path, &json!("other"), Arc::default()).unwrap().is_empty());
    }
}
