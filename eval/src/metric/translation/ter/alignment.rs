//! The edit distance of two lists of words, near the diagonal, with its path.

/// Cells beside the diagonal that are looked at.
const BEAM: usize = 25;

/// One edit on the way from the answer to the right text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit {
    Keep,
    Substitute,
    /// A word of the right text that the answer lacks.
    Insert,
    /// A word of the answer that the right text has not.
    Delete,
}

/// What a cell costs, and the edit that leads to it; `None` where no path leads.
type Cell = Option<(usize, Edit)>;

/// How the words of an answer and of the right text belong together.
pub(super) struct Alignment {
    /// Edits in all.
    pub(super) n_edits: usize,
    /// For each word of the right text how many words of the answer stand up to it.
    pub(super) reached: Vec<usize>,
    /// Words of the right text that are not where they belong.
    pub(super) gold_errors: Vec<bool>,
    /// Words of the answer that are not where they belong.
    pub(super) answer_errors: Vec<bool>,
}

impl Alignment {
    /// Aligns an answer with the right text.
    pub(super) fn new(answer: &[&str], gold: &[&str]) -> Self {
        let rows = distances(answer, gold);
        let n_edits = rows[answer.len()][gold.len()].map_or(0, |(cost, _)| cost);
        let mut alignment = Self {
            n_edits,
            reached: Vec::with_capacity(gold.len()),
            gold_errors: Vec::with_capacity(gold.len()),
            answer_errors: Vec::with_capacity(answer.len()),
        };
        for edit in path(&rows, answer.len(), gold.len()) {
            let is_error = edit != Edit::Keep;
            if edit != Edit::Insert {
                alignment.answer_errors.push(is_error);
            }
            if edit != Edit::Delete {
                alignment.gold_errors.push(is_error);
                alignment.reached.push(alignment.answer_errors.len());
            }
        }
        alignment
    }
}

/// The cost of each pair of beginnings, answer by row.
fn distances(answer: &[&str], gold: &[&str]) -> Vec<Vec<Cell>> {
    let ratio = if answer.is_empty() { 1.0 } else { gold.len() as f64 / answer.len() as f64 };
    let beam = match (BEAM as f64) < ratio / 2.0 {
        true => (ratio / 2.0 + BEAM as f64).ceil() as usize,
        false => BEAM,
    };
    let mut rows: Vec<Vec<Cell>> =
        vec![(0..=gold.len()).map(|i| Some((i, Edit::Insert))).collect()];
    for i in 1..=answer.len() {
        let diagonal = (i as f64 * ratio).floor() as usize;
        let end = if i == answer.len() { usize::MAX } else { diagonal + beam };
        let mut row: Vec<Cell> = vec![None; gold.len() + 1];
        for j in diagonal.saturating_sub(beam)..end.min(gold.len() + 1) {
            row[j] = cheapest(&rows[i - 1], &row, j, |j| answer[i - 1] == gold[j]);
        }
        rows.push(row);
    }
    rows
}

/// The cheapest way to a cell; the first one where several are, in Tercom's order.
fn cheapest(above: &[Cell], row: &[Cell], j: usize, is_equal: impl Fn(usize) -> bool) -> Cell {
    let step = |from: Cell, cost: usize, edit| from.map(|(before, _)| (before + cost, edit));
    let delete = step(above[j], 1, Edit::Delete);
    if j == 0 {
        return delete;
    }
    let diagonal = match is_equal(j - 1) {
        true => step(above[j - 1], 0, Edit::Keep),
        false => step(above[j - 1], 1, Edit::Substitute),
    };
    let insert = step(row[j - 1], 1, Edit::Insert);
    [diagonal, delete, insert].into_iter().flatten().min_by_key(|(cost, _)| *cost)
}

/// The edits from beginning to end.
fn path(rows: &[Vec<Cell>], mut i: usize, mut j: usize) -> Vec<Edit> {
    let mut edits = Vec::new();
    while i > 0 || j > 0 {
        let Some((_, edit)) = rows[i][j] else { break };
        edits.push(edit);
        i -= usize::from(edit != Edit::Insert);
        j -= usize::from(edit != Edit::Delete);
    }
    edits.reverse();
    edits
}
