//! Rows too short for an n-gram: the whole question, with an answer near it.
//!
//! A question of two words would be found everywhere, and so would an answer. Together, and no further apart than
//! the row itself could put them, they are the row.

use rustc_hash::FxHashMap;

use super::{
    grams::Filter,
    units::{MAX_UNITS, Units},
};

/// Units of the beginnings by which questions are found; each is found by the longest that it has.
const ANCHORS: [usize; 4] = [1, 2, 4, 8];
/// Units that may stand between question and answer besides the row's other answers, such as `Answer: (B)`.
const REACH: usize = 8;
/// Units of a question that is looked for without an answer, when its row has none.
const MIN_ALONE: usize = 8;
/// Words of a question, numbers not counted, that make it one whatever its marks are; `4 + 3` must have the plus.
const MIN_WORDS: usize = 3;

/// Short questions, by their beginnings.
#[derive(Debug)]
pub(super) struct ShortQuestions {
    questions: Vec<Question>,
    by_anchor: FxHashMap<u64, Vec<u32>>,
    filter: Filter,
}

/// A question as it is looked for.
#[derive(Clone, Debug)]
pub(super) struct Question {
    n_units: usize,
    hash: u64,
    /// Lengths and hashes of the answers; none if the question is enough.
    answers: Vec<(usize, u64)>,
    /// How many units may stand between question and answer.
    reach: usize,
    /// The text without white space, in lower case, where it must be the same.
    marks: Option<String>,
    row: u32,
}

impl Question {
    /// `None` when there is too little to look for.
    pub(super) fn new(
        question: &str,
        answers: &[String],
        n_others: usize,
        row: u32,
    ) -> Option<Self> {
        let units = Units::of(question);
        let n_units = units.len().min(MAX_UNITS);
        let of_answer = |answer: &String| {
            let units = Units::of(answer);
            (1..=MAX_UNITS)
                .contains(&units.len())
                .then(|| (units.len(), units.hash(0, units.len())))
        };
        let answers: Vec<(usize, u64)> = answers.iter().filter_map(of_answer).collect();
        let least = if answers.is_empty() { MIN_ALONE } else { 1 };
        if n_units < least {
            return None;
        }
        let has_words = units.n_words(question, 0, n_units) >= MIN_WORDS;
        let marks = (!has_words).then(|| squeezed(&question[units.bytes(0, n_units)]));
        let reach = REACH + n_others + units.len() - n_units;
        Some(Self { n_units, hash: units.hash(0, n_units), answers, reach, marks, row })
    }

    /// The run of units from question to answer, if the question stands at `at`.
    fn found(&self, text: &str, units: &Units, at: usize) -> Option<(usize, usize)> {
        let end = at + self.n_units;
        if end > units.len() || units.hash(at, self.n_units) != self.hash {
            return None;
        }
        let has_marks = |marks: &String| squeezed(&text[units.bytes(at, self.n_units)]) == *marks;
        if !self.marks.as_ref().is_none_or(has_marks) {
            return None;
        }
        if self.answers.is_empty() {
            return Some((at, self.n_units));
        }
        self.answers.iter().find_map(|&(n, hash)| {
            let is_answer =
                |&start: &usize| start + n <= units.len() && units.hash(start, n) == hash;
            let after = (end..=end + self.reach).find(is_answer).map(|start| (at, start + n - at));
            let earliest = at.saturating_sub(self.reach + n);
            let mut before = earliest..(at + 1).saturating_sub(n);
            after.or_else(|| before.find(is_answer).map(|start| (start, end - start)))
        })
    }
}

impl ShortQuestions {
    pub(super) fn new(questions: Vec<(Question, u64)>) -> Self {
        let mut filter = Filter::new(16 * questions.len());
        let mut by_anchor: FxHashMap<u64, Vec<u32>> = FxHashMap::default();
        for (number, (_, anchor)) in (0..).zip(&questions) {
            filter.insert(*anchor);
            by_anchor.entry(*anchor).or_default().push(number);
        }
        let questions = questions.into_iter().map(|(question, _)| question).collect();
        Self { questions, by_anchor, filter }
    }

    /// The hash of the beginning by which a question is found.
    pub(super) fn anchor(question: &str) -> u64 {
        let units = Units::of(question);
        let n = ANCHORS.into_iter().rev().find(|&n| n <= units.len());
        n.map_or(0, |n| units.hash(0, n))
    }

    /// Tells every row whose question and answer stand in a text, with the run of units that they span.
    pub(super) fn find(&self, text: &str, units: &Units, mut tell: impl FnMut(u32, usize, usize)) {
        for at in 0..units.len() {
            for n in ANCHORS.into_iter().take_while(|n| at + n <= units.len()) {
                let anchor = units.hash(at, n);
                if !self.filter.may_contain(anchor) {
                    continue;
                }
                for &number in self.by_anchor.get(&anchor).into_iter().flatten() {
                    let question = &self.questions[number as usize];
                    if let Some((start, n)) = question.found(text, units, at) {
                        tell(question.row, start, n);
                    }
                }
            }
        }
    }
}

/// A text without white space, in lower case.
fn squeezed(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(question: &str, answers: &[&str], n_others: usize, text: &str) -> Option<String> {
        let answers: Vec<String> = answers.iter().map(|&answer| answer.to_owned()).collect();
        let anchor = ShortQuestions::anchor(question);
        let question = Question::new(question, &answers, n_others, 3)?;
        let questions = ShortQuestions::new(vec![(question, anchor)]);
        let units = Units::of(text);
        let mut found = None;
        questions.find(text, &units, |row, at, n| {
            assert_eq!(row, 3);
            found = Some(text[units.bytes(at, n)].to_owned());
        });
        found
    }

    #[test]
    fn question_and_answer_stand_together() {
        let check = |text: &str, expected: Option<&str>| {
            let found = found("Who wrote Hamlet?", &["Bacon", "Shakespeare"], 2, text);
            assert_eq!(found.as_deref(), expected, "{text}");
        };
        check("so: who wrote HAMLET, Shakespeare", Some("who wrote HAMLET, Shakespeare"));
        check("Bacon. Who wrote Hamlet", Some("Bacon. Who wrote Hamlet"));
        check("who wrote hamlet", None);
        check(
            &format!("who wrote hamlet {} Bacon", "x ".repeat(10)),
            Some(&format!("who wrote hamlet {} Bacon", "x ".repeat(10))),
        );
        check(&format!("who wrote hamlet {} Bacon", "x ".repeat(11)), None);
        check(&format!("Bacon {} who wrote hamlet", "x ".repeat(11)), None);
    }

    #[test]
    fn numbers_must_stand_between_the_same_marks() {
        let check = |text: &str, is_found: bool| {
            assert_eq!(found("4 + (-3) =", &["1"], 4, text).is_some(), is_found, "{text}");
        };
        check("4+(-3)=\n7\n1", true);
        check("| 4 | 3 | 1 |", false);
    }

    #[test]
    fn a_question_without_answers_must_be_long_enough() {
        let long = "a question of the eight words it needs";
        assert_eq!(found(long, &[], 0, long).as_deref(), Some(long));
        assert_eq!(found(long, &["?"], 0, long).as_deref(), Some(long));
        assert_eq!(found("too short alone", &[], 0, "too short alone"), None);
        assert_eq!(found("", &["answer"], 0, "answer"), None);
    }
}
