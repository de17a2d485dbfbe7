//! `kind = "decontaminate"`: documents that repeat evaluation sets go, or the lines do that repeat them.

use std::path::{Path, PathBuf};

use super::{Fate, Judge, Kind, Ready};
use crate::{
    Document, Result,
    decontaminate::{Decontaminator, Hit, Outcome, Settings},
    engine::Fingerprint,
    write::Value,
};

/// Name of the stage in accounts.
pub(in crate::pipeline) const NAME: &str = "decontaminate";
/// Changes whenever the same rows are found in other documents.
const VERSION: u32 = 1;

pub(super) fn ready(settings: &Settings) -> Result<Ready> {
    let identity = |key: &str, path: &Path| {
        Fingerprint::of_path(path).map_err(|error| error.asked_by(|| format!("`{key}`")))
    };
    let mut contents = vec![identity("against", &settings.against)?];
    if let Some(benchmarks) = &settings.benchmarks {
        contents.push(identity("benchmarks", benchmarks)?);
    }
    let decontaminator = Decontaminator::open(settings.clone())?;
    let settings = serde_json::json!(settings);
    Ok(Ready::new(NAME, VERSION, settings, &contents, Kind::Judge(Box::new(decontaminator))))
}

pub(super) fn map_paths(settings: &mut Settings, map: impl Fn(&str) -> String) {
    let paths = [&mut settings.against].into_iter().chain(&mut settings.benchmarks);
    paths.for_each(|path| *path = PathBuf::from(map(&path.to_string_lossy())));
}

impl Judge for Decontaminator {
    fn judge(&self, document: &Document) -> Fate {
        fate(self, document, &self.find(&document.text))
    }
}

/// What becomes of a document in which these rows were found.
pub(in crate::pipeline) fn fate(
    decontaminator: &Decontaminator,
    document: &Document,
    hits: &[Hit],
) -> Fate {
    let Some(first) = hits.first() else { return Fate::Keep };
    let rule = decontaminator.rule(first).into();
    let value = Value::Text(first.value(&document.text));
    match decontaminator.outcome(&document.text, hits) {
        Outcome::Cut(text) => Fate::Cut { text, rule, value },
        Outcome::Drop | Outcome::Keep => Fate::Drop { rule, value, limit: None },
    }
}
