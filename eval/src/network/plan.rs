//! What rows have in common, and batches of about equal work.
//!
//! Two things are shared: what all rows of a task begin with (the shots), and what the choices of
//! one question begin with (the question). Choices of one token are all read off the same position,
//! so such a question is one row with several targets.

use std::collections::HashMap;
use std::ops::Range;

use neo_model::branch::Branch;

/// Input tokens of one pass, about.
const PASS_TOKENS: usize = 2048;

/// A beginning shorter than this is not worth keeping.
const MIN_SHARED: usize = 8;

/// Whether beginnings that rows share are computed once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// They are.
    On,
    /// Every row is computed whole: the same numbers, slower.
    Off,
}

/// Token ids of which the last `n_targets` are scored.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) ids: Vec<u32>,
    pub(super) n_targets: usize,
    /// Whether its beginning was cut off.
    pub(super) is_cut: bool,
}

impl Row {
    /// Place of the input behind which the first target stands.
    fn start(&self) -> usize {
        self.ids.len() - 1 - self.n_targets
    }
}

/// Rows with the same context.
pub(super) type Group = Vec<usize>;

/// One pass, or two: contexts, then what continues them.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Batch {
    /// Whole rows behind the root.
    Flat { root: usize, groups: Vec<Group> },
    /// Contexts of equal length, computed once, then their rows.
    Shared { root: usize, groups: Vec<Group>, start: usize },
}

impl Batch {
    pub(super) fn root(&self) -> usize {
        match self {
            Self::Flat { root, .. } | Self::Shared { root, .. } => *root,
        }
    }

    pub(super) fn rows(&self) -> Vec<usize> {
        match self {
            Self::Flat { groups, .. } | Self::Shared { groups, .. } => groups.concat(),
        }
    }
}

/// Batches in the order in which they run, and the beginnings they share.
pub(super) struct Plan {
    /// The empty beginning, and what all rows begin with.
    pub(super) roots: Vec<Vec<u32>>,
    pub(super) batches: Vec<Batch>,
}

impl Plan {
    /// Plans all rows.
    pub(super) fn new(rows: &[Row], sharing: Sharing) -> Self {
        let (cut, whole): (Vec<usize>, Vec<usize>) = (0..rows.len()).partition(|&i| rows[i].is_cut);
        let common = match sharing {
            Sharing::On => common_beginning(rows, &whole),
            Sharing::Off => 0,
        };
        let root = whole.first().map_or(Vec::new(), |&first| rows[first].ids[..common].to_vec());
        let mut batches = batches_of(rows, &cut, 0, 0, sharing);
        batches.extend(batches_of(rows, &whole, 1, common, sharing));
        Self { roots: vec![Vec::new(), root], batches }
    }
}

/// Tokens that all rows begin with and that none of them scores.
fn common_beginning(rows: &[Row], members: &[usize]) -> usize {
    let Some((&first, others)) = members.split_first() else { return 0 };
    let first = &rows[first];
    let mut common = first.start();
    for &i in others {
        let equal = first.ids.iter().zip(&rows[i].ids).take_while(|(a, b)| a == b).count();
        common = common.min(equal).min(rows[i].start());
    }
    if common < MIN_SHARED || members.len() < 2 { 0 } else { common }
}

fn batches_of(
    rows: &[Row],
    members: &[usize],
    root: usize,
    n_shared: usize,
    sharing: Sharing,
) -> Vec<Batch> {
    let mut groups: Vec<Group> = Vec::new();
    let mut place: HashMap<&[u32], usize> = HashMap::new();
    for &i in members {
        let context = &rows[i].ids[..=rows[i].start()];
        match place.get(context).filter(|_| sharing == Sharing::On) {
            Some(&group) => groups[group].push(i),
            None => {
                place.insert(context, groups.len());
                groups.push(vec![i]);
            }
        }
    }
    let gains = |group: &Group| {
        let context = rows[group[0]].start() - n_shared;
        group.len() > 1 && context >= MIN_SHARED && group.iter().any(|&i| rows[i].n_targets > 1)
    };
    let (shared, flat): (Vec<Group>, Vec<Group>) = groups.into_iter().partition(gains);
    let mut batches = shared_batches(rows, shared, root, n_shared);
    batches.extend(flat_batches(rows, flat, root, n_shared));
    batches
}

/// Groups whose contexts have the same length, longest first.
fn shared_batches(
    rows: &[Row],
    mut groups: Vec<Group>,
    root: usize,
    n_shared: usize,
) -> Vec<Batch> {
    groups.sort_by_key(|group| (usize::MAX - rows[group[0]].start(), group[0]));
    let mut batches: Vec<Batch> = Vec::new();
    for group in groups {
        let start = rows[group[0]].start();
        if let Some(Batch::Shared { groups, start: same, .. }) = batches.last_mut()
            && *same == start
            && (groups.len() + 1) * (start - n_shared) <= PASS_TOKENS
        {
            groups.push(group);
            continue;
        }
        batches.push(Batch::Shared { root, groups: vec![group], start });
    }
    batches
}

/// Groups by the length of their longest row, longest first.
fn flat_batches(rows: &[Row], mut groups: Vec<Group>, root: usize, n_shared: usize) -> Vec<Batch> {
    let longest = |group: &Group| group.iter().map(|&i| rows[i].ids.len() - 1).max().unwrap_or(0);
    groups.sort_by_key(|group| (usize::MAX - longest(group), group[0]));
    let mut batches = Vec::new();
    let mut rest = groups.as_slice();
    while let Some(first) = rest.first() {
        let width = longest(first).saturating_sub(n_shared).max(1);
        let n = (PASS_TOKENS / width).clamp(1, rest.len());
        let (now, later) = rest.split_at(n);
        batches.push(Batch::Flat { root, groups: now.to_vec() });
        rest = later;
    }
    batches
}

/// A pass's row with the rows whose targets it holds.
pub(super) struct Planned {
    row: usize,
    input: (usize, Range<usize>),
    targets: Vec<(usize, u32)>,
    /// Rows, and where their targets are among the branch's.
    pub(super) members: Vec<(usize, Range<usize>)>,
}

impl Planned {
    /// The same with its ids.
    pub(super) fn borrowed<'a>(&'a self, rows: &'a [Row]) -> Branch<'a> {
        let (row, range) = &self.input;
        Branch { row: self.row, ids: &rows[*row].ids[range.clone()], targets: &self.targets }
    }
}

/// Branches of groups behind `start` positions, in passes of about equal size.
///
/// In a shared batch each group continues a row of its own.
pub(super) fn branches(
    rows: &[Row],
    groups: &[Group],
    start: usize,
    is_shared: bool,
) -> Vec<Vec<Planned>> {
    let mut all: Vec<Planned> = Vec::new();
    for (idx, group) in groups.iter().enumerate() {
        let row = if is_shared { idx } else { 0 };
        if group.iter().all(|&i| rows[i].n_targets == 1) {
            all.push(one_for_all(rows, group, row, start));
        } else {
            all.extend(group.iter().map(|&i| one_for_all(rows, &[i], row, start)));
        }
    }
    all.sort_by_key(|planned| usize::MAX - planned.input.1.len());
    let mut passes = Vec::new();
    while let Some(first) = all.first() {
        let n = (PASS_TOKENS / first.input.1.len().max(1)).clamp(1, all.len());
        let later = all.split_off(n);
        passes.push(std::mem::replace(&mut all, later));
    }
    passes
}

/// One input for rows that differ in their targets alone, all of the same places.
fn one_for_all(rows: &[Row], members: &[usize], row: usize, start: usize) -> Planned {
    let first = &rows[members[0]];
    let mut planned = Planned {
        row,
        input: (members[0], start..first.ids.len() - 1),
        targets: Vec::new(),
        members: Vec::new(),
    };
    for &member in members {
        let from = planned.targets.len();
        let Row { ids, n_targets, .. } = &rows[member];
        let places = rows[member].start() - start..ids.len() - 1 - start;
        planned.targets.extend(places.zip(ids[ids.len() - n_targets..].iter().copied()));
        planned.members.push((member, from..planned.targets.len()));
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ids: &[u32], n_targets: usize) -> Row {
        Row { ids: ids.to_vec(), n_targets, is_cut: false }
    }

    /// Every target of every row is asked once, behind all that stands before it.
    fn check(rows: &[Row], sharing: Sharing) -> usize {
        let plan = Plan::new(rows, sharing);
        let mut asked = vec![0; rows.len()];
        let mut n_tokens = 0;
        for batch in &plan.batches {
            let n_root = plan.roots[batch.root()].len();
            let (groups, start, is_shared) = match batch {
                Batch::Flat { groups, .. } => (groups, n_root, false),
                Batch::Shared { groups, start, .. } => (groups, *start, true),
            };
            n_tokens += if is_shared { groups.len() * (start - n_root) } else { 0 };
            for planned in branches(rows, groups, start, is_shared).iter().flatten() {
                let branch = planned.borrowed(rows);
                n_tokens += branch.ids.len();
                for (member, range) in &planned.members {
                    asked[*member] += 1;
                    let row = &rows[*member];
                    let context = if is_shared { &rows[groups[branch.row][0]] } else { row };
                    let mut seen = plan.roots[batch.root()].clone();
                    seen.extend(&context.ids[n_root..start]);
                    for (i, (place, id)) in branch.targets[range.clone()].iter().enumerate() {
                        let mut before = seen.clone();
                        before.extend(&branch.ids[..=*place]);
                        let at = row.ids.len() - row.n_targets + i;
                        assert_eq!((&before[..], *id), (&row.ids[..at], row.ids[at]));
                    }
                }
            }
        }
        assert!(asked.iter().all(|&n| n == 1), "{asked:?}");
        n_tokens
    }

    #[test]
    fn plans_ask_every_target_behind_its_own_context() {
        let shots: Vec<u32> = (100..140).collect();
        let mut rows = Vec::new();
        for question in 0..5u32 {
            let mut context = shots.clone();
            context.extend((0..10 + question % 2).map(|i| 10 * question + i));
            for choice in 0..4u32 {
                let mut ids = context.clone();
                ids.extend((0..=choice).map(|i| 200 + choice + i));
                rows.push(row(&ids, choice as usize + 1));
            }
        }
        let plain: usize = rows.iter().map(|row| row.ids.len() - 1).sum();
        assert_eq!(check(&rows, Sharing::Off), plain);
        assert!(check(&rows, Sharing::On) < plain / 5);
    }

    #[test]
    fn choices_of_one_token_are_one_row() {
        let rows: Vec<Row> = (0..4).map(|choice| row(&[1, 2, 3, 10 + choice], 1)).collect();
        assert_eq!(check(&rows, Sharing::On), 3);
        assert_eq!(check(&rows, Sharing::Off), 12);
        let mut rows = rows;
        rows.push(Row { ids: vec![9, 9], n_targets: 1, is_cut: true });
        assert_eq!(check(&rows, Sharing::On), 4);
    }
}
