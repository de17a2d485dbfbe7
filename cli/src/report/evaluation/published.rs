//! MAP-Neo-7B's published values, to stand beside ours, with where each comes from.
//!
//! Nine were measured from the radar figure of MAP-Neo's repository, within about half a point; the
//! others are of its early table, whose model was not the final one (map-neo.md 7.2 and 7.3).

/// A benchmark with the value published for MAP-Neo-7B.
pub(super) struct Axis {
    /// As the paper spells it.
    pub(super) name: &'static str,
    /// neo's task or group that asks the same.
    pub(super) task: &'static str,
    /// In percent.
    pub(super) percent: f64,
    /// Where it comes from.
    pub(super) source: Source,
    /// How neo's set differs from the benchmark's usual form.
    pub(super) note: &'static str,
}

/// Where a published value comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// `figure/eval_radar.png`, measured.
    Figure,
    /// `figure/base_eval_results.jpg`, an earlier state of the model.
    EarlyTable,
}

impl Source {
    /// How the page cites it.
    pub(super) fn citation(self) -> &'static str {
        match self {
            Self::Figure => "read off figure/eval_radar.png, ± 0.5",
            Self::EarlyTable => "figure/base_eval_results.jpg, an earlier state",
        }
    }
}

const fn figure(name: &'static str, task: &'static str, percent: f64) -> Axis {
    Axis { name, task, percent, source: Source::Figure, note: "" }
}

const fn early(name: &'static str, task: &'static str, percent: f64) -> Axis {
    Axis { name, task, percent, source: Source::EarlyTable, note: "" }
}

/// The paper's axes in its figure's order, then those of the early table alone.
pub(super) const AXES: [Axis; 18] = [
    figure("MMLU", "mmlu", 58.2),
    figure("HellaSwag", "hellaswag", 71.0),
    figure("ARC-c", "arc_challenge", 68.1),
    figure("MBPP", "mbpp", 35.1),
    figure("HumanEval", "humaneval", 24.0),
    figure("MATH", "math", 20.5),
    figure("GSM8K", "gsm8k", 53.7),
    figure("C-Eval", "ceval", 57.7),
    figure("CMMLU", "cmmlu", 55.2),
    Axis { note: "two choices here, usually three", ..early("SIQA", "siqa", 68.22) },
    early("WinoGrande", "winogrande", 59.83),
    early("OpenBookQA", "openbook_qa", 82.0),
    Axis {
        note: "four choices here, usually five",
        ..early("CommonsenseQA", "commonsense_qa", 69.94)
    },
    early("BoolQ", "boolq", 81.07),
    early("PIQA", "piqa", 76.55),
    early("NQ", "nq_open", 9.97),
    early("TriviaQA", "triviaqa", 42.36),
    early("SQuAD 2.0", "squad2", 30.98),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_is_a_task_of_ours() {
        let library = neo_eval::task::library::Library::built_in().unwrap();
        let known: Vec<&str> = library.names().collect();
        for axis in &AXES {
            assert!(known.contains(&axis.task), "{}", axis.task);
        }
    }
}
