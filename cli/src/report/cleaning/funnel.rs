//! What is left after every stage, beside what the paper kept after the stage that does the same.

use std::collections::BTreeMap;

use neo_data::{
    Language,
    pipeline::{StageAccount, Tally},
};
use serde::Serialize;

use super::{bytes, percent};
use crate::report::{chart::short, language_name};

/// A stage of the paper's figures: our stages that do the same, its name there, and the percentage of the raw crawl
/// kept after it (MAP-Neo's repository, `english_data_pipeline.png` and `chinese_data_pipeline.png`).
type PaperStage = (&'static [&'static str], &'static str, f64);

const PAPER_EN: [PaperStage; 5] = [
    (&["filter"], "heuristic filter", 20.0),
    (&["exact", "words"], "exact document dedup", 12.0),
    (&["minhash"], "MinHash LSH dedup", 7.0),
    (&["paragraph"], "paragraph dedup", 4.0),
    (&["substring"], "exact substring dedup", 4.0),
];

const PAPER_ZH: [PaperStage; 4] = [
    (&["filter"], "heuristic filter", 38.0),
    (&["exact", "words"], "exact document dedup", 26.0),
    (&["minhash"], "MinHash dedup", 19.0),
    (&["lines"], "similar-line dedup", 15.0),
];

/// The staircase of one language.
#[derive(Debug, Serialize)]
pub(super) struct Funnel {
    language: String,
    has_paper: bool,
    steps: Vec<Step>,
}

/// A stage of the staircase.
#[derive(Debug, PartialEq, Serialize)]
struct Step {
    /// Our stage; nothing if only the paper has it.
    stage: Option<String>,
    documents: String,
    bytes: String,
    /// Percent of the bytes that came in, as printed and as a width.
    kept: String,
    kept_width: f64,
    dropped_width: f64,
    /// The paper's stage, and what it kept.
    paper: Option<(&'static str, f64)>,
}

/// The staircases of every language of which text came in.
pub(super) fn draw(stages: &[StageAccount]) -> Vec<Funnel> {
    let funnel = |language: &Language| {
        let input = stages.iter().find_map(|stage| came_in(stage, *language))?;
        Some(Funnel::of(*language, input, stages))
    };
    Language::ALL.iter().filter_map(funnel).collect()
}

/// What came into a stage of a language, if anything.
fn came_in(stage: &StageAccount, language: Language) -> Option<Tally> {
    let split = stage.languages.get(&language)?;
    let mut input = split.kept;
    input += split.dropped;
    (input.documents > 0).then_some(input)
}

impl Funnel {
    fn of(language: Language, input: Tally, stages: &[StageAccount]) -> Self {
        let paper: &[PaperStage] = match language {
            Language::En => &PAPER_EN,
            Language::Zh => &PAPER_ZH,
            Language::Code | Language::Other => &[],
        };
        let mut left = input.bytes;
        let mut compared = BTreeMap::new();
        let mut steps = Vec::new();
        for stage in stages {
            let Some(split) = stage.languages.get(&language) else { continue };
            let place = paper.iter().position(|(ours, ..)| ours.contains(&stage.stage.as_str()));
            place.map(|place| compared.insert(place, ()));
            let beside = place.map(|place| (paper[place].1, paper[place].2));
            steps.push(Step::of(stage, split.kept, left, input, beside));
            left = split.kept.bytes;
        }
        let missing = paper.iter().enumerate().filter(|(place, _)| !compared.contains_key(place));
        steps.extend(missing.map(|(_, (_, name, kept))| Step::of_paper_only(name, *kept)));
        Self {
            language: language_name(language.name()).to_owned(),
            has_paper: !paper.is_empty(),
            steps,
        }
    }
}

impl Step {
    fn of(
        stage: &StageAccount,
        kept: Tally,
        before_bytes: u64,
        input: Tally,
        paper: Option<(&'static str, f64)>,
    ) -> Self {
        let width = |n: u64| 100.0 * n as f64 / input.bytes.max(1) as f64;
        Self {
            stage: Some(stage.stage.clone()),
            documents: short(kept.documents as f64),
            bytes: bytes(kept.bytes),
            kept: percent(kept.bytes, input.bytes),
            kept_width: width(kept.bytes).min(100.0),
            dropped_width: width(before_bytes.saturating_sub(kept.bytes)).min(100.0),
            paper,
        }
    }

    fn of_paper_only(name: &'static str, kept: f64) -> Self {
        Self {
            stage: None,
            documents: String::new(),
            bytes: String::new(),
            kept: String::new(),
            kept_width: 0.0,
            dropped_width: 0.0,
            paper: Some((name, kept)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str, kept: u64, dropped: u64) -> StageAccount {
        let tally = |n: u64| serde_json::json!({ "documents": n, "bytes": n });
        let (kept, dropped) = (tally(kept), tally(dropped));
        let account = serde_json::json!({
            "stage": name, "input": {}, "kept": kept, "rules": {},
            "languages": { "zh": { "kept": kept, "dropped": dropped } },
        });
        serde_json::from_value(account).unwrap()
    }

    #[test]
    fn stages_stand_beside_those_of_the_paper() {
        let stages = [stage("read", 200, 0), stage("filter", 100, 100), stage("lines", 50, 50)];
        let funnels = draw(&stages);
        let [funnel] = &funnels[..] else { panic!("one language") };
        let shown: Vec<(Option<&str>, f64, Option<&str>)> = funnel
            .steps
            .iter()
            .map(|step| (step.stage.as_deref(), step.kept_width, step.paper.map(|paper| paper.0)))
            .collect();
        let expected = [
            (Some("read"), 100.0, None),
            (Some("filter"), 50.0, Some("heuristic filter")),
            (Some("lines"), 25.0, Some("similar-line dedup")),
            (None, 0.0, Some("exact document dedup")),
            (None, 0.0, Some("MinHash dedup")),
        ];
        assert_eq!(shown, expected);
        assert_eq!(funnel.steps[1].dropped_width, 50.0);
    }
}
