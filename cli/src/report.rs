//! A run folder as one self-contained page: what went in, how training went, what came out.
//!
//! Reads what other verbs left in the folder and shows whatever is there; a missing part is left
//! out. Curves are inline SVG (`report/chart.rs`), the page is `report.html.j2`.

mod chart;
pub(crate) mod cleaning;
mod curves;
pub(crate) mod evaluation;
mod radar;
mod retention;
mod svg;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::Result;
use neo_train::metrics::{self, EvalMetrics, Line, StepMetrics};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::Usage;
use chart::short;

/// Name of the page in the run folder.
pub(crate) const FILE_NAME: &str = "report.html";

/// What a reached loss is to be compared with: `baselines.json` of a run folder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Comparison {
    /// Held-out tokens the figures were taken on.
    pub(crate) held_out_tokens: u64,
    /// From the simplest to the best.
    pub(crate) rows: Vec<ComparisonRow>,
}

/// A predictor and how well it does on held-out text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ComparisonRow {
    /// What predicts.
    pub(crate) name: String,
    /// What kind of row it is.
    pub(crate) kind: RowKind,
    /// Over all languages.
    pub(crate) nats_per_token: f64,
    /// By language: `en`, `zh`, `code`, `other`.
    pub(crate) bits_per_byte: BTreeMap<String, f64>,
}

/// What kind of predictor a row of a [`Comparison`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RowKind {
    /// Counts over the training tokens.
    Baseline,
    /// The model of this run.
    Model,
    /// What the text itself allows.
    Floor,
}

/// A text the model wrote: an entry of `samples.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sample {
    /// What was given.
    pub(crate) prompt: String,
    /// What the model wrote after it.
    pub(crate) text: String,
    /// How it was drawn, such as `greedy`.
    pub(crate) drawn: String,
}

/// Draws `dir/report.html` from the folder's files and returns its path.
///
/// # Errors
/// The folder holds no run, a file is not what it must be, or the page cannot be written.
pub(crate) fn write(dir: &Path) -> Result<PathBuf> {
    let run = Run::read(dir)?;
    let path = dir.join(FILE_NAME);
    fs_err::write(&path, run.render()?)?;
    Ok(path)
}

/// Everything the page shows, as read.
struct Run {
    name: String,
    steps: Vec<StepMetrics>,
    evals: Vec<EvalMetrics>,
    recipe: Option<String>,
    environment: serde_json::Map<String, serde_json::Value>,
    comparison: Option<Comparison>,
    samples: Vec<Sample>,
    retention: Option<retention::Retention>,
}

/// What the template is given.
#[derive(Serialize)]
struct Page<'a> {
    name: &'a str,
    key_figures: Vec<KeyFigure>,
    comparison: Option<Table>,
    charts: Vec<curves::Figure>,
    retention: Option<&'a retention::Retention>,
    samples: &'a [Sample],
    environment: Vec<(&'a String, String)>,
    recipe: Option<&'a str>,
    version: &'a str,
}

/// Label, value and unit.
type KeyFigure = (String, String, &'static str);

/// The comparison: languages in the head, one line per predictor.
#[derive(Serialize)]
struct Table {
    tokens: String,
    languages: Vec<String>,
    rows: Vec<TableLine>,
}

#[derive(Serialize)]
struct TableLine {
    name: String,
    kind: RowKind,
    nats: String,
    cells: Vec<Option<String>>,
}

impl Run {
    fn read(dir: &Path) -> Result<Self> {
        let metrics_path = dir.join(metrics::FILE_NAME);
        let recipe_path = dir.join("recipe.toml");
        if !metrics_path.exists() && !recipe_path.exists() {
            return Err(Usage::with_hint(
                format!("`{}` holds neither metrics.jsonl nor recipe.toml", dir.display()),
                "give the `--out` folder of `neo train`, or the `run` folder of `neo demo`",
            )
            .into());
        }
        let lines = if metrics_path.exists() { metrics::read(&metrics_path)? } else { Vec::new() };
        let (mut steps, mut evals) = (Vec::new(), Vec::new());
        for line in lines {
            match line {
                Line::Step(step) => steps.push(step),
                Line::Eval(eval) => evals.push(eval),
            }
        }
        let recipe =
            recipe_path.exists().then(|| fs_err::read_to_string(&recipe_path)).transpose()?;
        let table: Option<toml::Table> = recipe.as_deref().and_then(|text| text.parse().ok());
        let named = |key: &str| table.as_ref()?.get(key)?.as_str().map(str::to_owned);
        let folder = dir.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Self {
            name: named("name").or(folder).unwrap_or_else(|| "run".into()),
            steps,
            evals,
            environment: read_json(&dir.join("environment.json"))?.unwrap_or_default(),
            comparison: read_json(&dir.join("baselines.json"))?,
            samples: read_json(&dir.join("samples.json"))?.unwrap_or_default(),
            retention: retention::Retention::find(dir, table.as_ref())?,
            recipe,
        })
    }

    fn render(&self) -> Result<String> {
        let page = Page {
            name: &self.name,
            key_figures: self.key_figures(),
            comparison: self.comparison.as_ref().map(Table::of),
            charts: curves::draw(&self.steps, &self.evals, self.comparison.as_ref()),
            retention: self.retention.as_ref(),
            samples: &self.samples,
            environment: self.environment.iter().map(|(key, value)| (key, plain(value))).collect(),
            recipe: self.recipe.as_deref(),
            version: env!("CARGO_PKG_VERSION"),
        };
        render(include_str!("report.html.j2"), &page)
    }

    /// Label, value and unit of the figures at the top.
    fn key_figures(&self) -> Vec<KeyFigure> {
        let mut figures = Vec::new();
        if let Some(last) = self.steps.last() {
            let seconds = self.steps.iter().map(|step| step.step_ms).sum::<f64>() / 1e3;
            let tail = &self.steps[self.steps.len() - self.steps.len().div_ceil(20)..];
            let loss = tail.iter().map(|step| step.loss).sum::<f64>() / tail.len() as f64;
            figures.push(("training loss".into(), format!("{loss:.3}"), "nats per token"));
            figures.push(("trained on".into(), short(last.tokens as f64), "tokens"));
            figures.push(("in".into(), duration(seconds), "of steps"));
            figures.push(("speed".into(), short(median_speed(&self.steps)), "tokens/s, median"));
        }
        figures.extend(self.evaluating());
        let last = self.evals.last().map(|last| &last.eval);
        let keys = last.map(|eval| eval.keys().map(String::as_str)).into_iter().flatten();
        for key in in_reading_order(keys) {
            if let Some((language, eval)) = key.strip_prefix("bpb_").zip(last) {
                let label = format!("held-out {}", language_name(language));
                figures.push((label, format!("{:.3}", eval[key]), "bits per byte"));
            }
        }
        figures
    }
}

impl Run {
    /// The share of the run's time that went into evaluations; steps that are not logged count as the mean.
    fn evaluating(&self) -> Option<KeyFigure> {
        let millis: Vec<f64> = self.evals.iter().filter_map(|eval| eval.eval_ms).collect();
        let evaluating = millis.iter().sum::<f64>();
        let logged = self.steps.iter().map(|step| step.step_ms).sum::<f64>();
        let training = logged / self.steps.len() as f64 * self.steps.last()?.step as f64;
        let share = 100.0 * evaluating / (training + evaluating);
        (!millis.is_empty())
            .then(|| ("evaluating took".into(), format!("{share:.1} %"), "of the time"))
    }
}

impl Table {
    fn of(comparison: &Comparison) -> Self {
        let first = comparison.rows.first();
        let languages = first.map(|row| row.bits_per_byte.keys().map(String::as_str));
        let languages = in_reading_order(languages.into_iter().flatten());
        let line = |row: &ComparisonRow| {
            let cell = |language: &&str| {
                row.bits_per_byte.get(*language).map(|value| format!("{value:.3}"))
            };
            TableLine {
                name: row.name.clone(),
                kind: row.kind,
                nats: format!("{:.3}", row.nats_per_token),
                cells: languages.iter().map(cell).collect(),
            }
        };
        Self {
            tokens: short(comparison.held_out_tokens as f64),
            rows: comparison.rows.iter().map(line).collect(),
            languages: languages.iter().map(|name| language_name(name).to_owned()).collect(),
        }
    }
}

/// A page from its template; every value is escaped, and the style sheet is that of all pages.
fn render(template: &str, page: &impl Serialize) -> Result<String> {
    let mut templates = minijinja::Environment::new();
    templates.add_template("style.css", include_str!("report/style.css"))?;
    templates.add_template(FILE_NAME, template)?;
    Ok(templates.get_template(FILE_NAME)?.render(minijinja::value::Serde(page))?)
}

/// Keys with English and Chinese first, the others by name.
fn in_reading_order<'a>(keys: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let mut keys: Vec<&str> = keys.into_iter().collect();
    let place = |key: &str| ["en", "zh"].iter().position(|last| key.ends_with(last)).unwrap_or(2);
    keys.sort_by_key(|key| (place(key), *key));
    keys
}

/// English name of a language key.
fn language_name(key: &str) -> &str {
    match key {
        "en" => "English",
        "zh" => "Chinese",
        other => other,
    }
}

fn median_speed(steps: &[StepMetrics]) -> f64 {
    let mut speeds: Vec<f64> = steps.iter().map(|step| step.tokens_per_sec).collect();
    speeds.sort_by(f64::total_cmp);
    speeds[speeds.len() / 2]
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// A JSON value without the quotes of strings and the brackets of lists and objects.
fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "unknown".to_owned(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        serde_json::Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("{key}: {}", plain(value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// The content of a JSON file, or nothing when there is no such file.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = fs_err::read(path)?;
    let content = serde_json::from_slice(&bytes).map_err(|error| neo_data::Error::Malformed {
        path: path.to_owned(),
        problem: error.to_string(),
    })?;
    Ok(Some(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = concat!(
        r#"{"step":1,"tokens":64,"phase":"one","loss":4.0,"lr":0.1,"grad_norm":1.0,"#,
        r#""tokens_per_sec":50.0,"step_ms":2.0}"#,
        "\n",
        r#"{"step":2,"tokens":128,"phase":"two","loss":2.0,"lr":0.1,"grad_norm":1.0,"#,
        r#""tokens_per_sec":50.0,"step_ms":2.0}"#,
        "\n",
        r#"{"step":3,"tokens":192,"phase":"two","loss":1.5,"lr":0.1,"grad_norm":1.0,"#,
        r#""tokens_per_sec":50.0,"step_ms":2.0}"#,
        "\n",
        r#"{"step":3,"eval":{"bpb_zh":1.25,"bpb_en":1.5,"acc_boolq":0.5},"eval_ms":2.0}"#,
        "\n",
    );

    const COMPARISON: &str = r#"{"held_out_tokens": 900, "rows": [
        {"name": "bigram", "kind": "baseline", "nats_per_token": 3.5, "bits_per_byte": {"en": 2.0}},
        {"name": "neo", "kind": "model", "nats_per_token": 2.5, "bits_per_byte": {"en": 1.5}}]}"#;

    /// The page of a run folder with these files.
    fn page(files: &[(&str, &str)]) -> Result<String> {
        let dir = tempfile::tempdir()?;
        for (name, content) in files {
            fs_err::write(dir.path().join(name), content)?;
        }
        Ok(fs_err::read_to_string(write(dir.path())?)?)
    }

    #[test]
    fn metrics_alone_make_a_page() {
        let page = page(&[("metrics.jsonl", METRICS)]).unwrap();
        let parts = [
            "<b>Loss</b>",
            "held-out Chinese",
            "<b>Throughput</b>",
            ">two</text>",
            "<b>Choices</b>",
            "25.0 %",
        ];
        for part in parts {
            assert!(page.contains(part), "{part} is missing");
        }
        for part in ["<h2>Samples</h2>", "<h2>Data</h2>", "<h2>Recipe</h2>", "<script", "src="] {
            assert!(!page.contains(part), "{part} is there");
        }
    }

    #[test]
    fn every_part_is_shown_and_escaped() {
        let page = page(&[
            ("metrics.jsonl", METRICS),
            ("recipe.toml", "name = \"a <b> run\"\n"),
            ("environment.json", r#"{"host": {"threads": 2}, "commit": null}"#),
            ("baselines.json", COMPARISON),
            ("samples.json", r#"[{"prompt": "if a", "text": " < b", "drawn": "greedy"}]"#),
        ])
        .unwrap();
        let parts = [
            "<h1>a &lt;b&gt; run</h1>",
            "threads: 2",
            "<dd>unknown</dd>",
            ">bigram 3.5</text>",
            "<tr class=\"model\"><td>neo</td><td>2.500</td><td>1.500</td></tr>",
            "if a</span> &lt; b",
        ];
        for part in parts {
            assert!(page.contains(part), "{part} is missing");
        }
    }

    #[test]
    fn what_is_no_run_is_refused() {
        let check = |files: &[(&str, &str)], expected: &str| {
            let failure = page(files).unwrap_err().to_string();
            assert!(failure.contains(expected), "{failure}");
        };
        check(&[], "holds neither metrics.jsonl nor recipe.toml");
        check(&[("metrics.jsonl", METRICS), ("samples.json", "{}")], "samples.json");
    }
}
