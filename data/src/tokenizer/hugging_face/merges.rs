//! Ranked merges of pairs against scored pieces: two ways to say the same, when they agree.
//!
//! SentencePiece merges any two symbols that make a piece, by the piece's score; Hugging Face merges
//! the pairs of a list, by their place in it. The list of a vocabulary is every split of its best
//! piece, then of the second best, and so on; a list that is not of this form is refused.

use std::collections::{HashMap, HashSet};

use super::super::sentence_piece::PieceKind;
use super::super::vocabulary::Vocabulary;
use super::schema::Merge;

/// All merges of a vocabulary, the first to be made first.
pub(super) fn in_rank_order(vocabulary: &Vocabulary) -> Vec<[&str; 2]> {
    let ids = ids_of(&vocabulary.texts, |id| vocabulary.kinds[id] == PieceKind::Normal);
    let mut by_score: Vec<u32> = vocabulary.normal_ids().collect();
    by_score
        .sort_by(|&a, &b| vocabulary.scores[b as usize].total_cmp(&vocabulary.scores[a as usize]));
    let pieces = by_score.into_iter().map(|id| vocabulary.texts[id as usize].as_str());
    pieces
        .flat_map(|text| {
            let mut splits = splits(text, &ids);
            splits.sort_by_key(|[left, right]| (ids[left], ids[right]));
            splits
        })
        .collect()
}

/// Rank of every piece for `PieceProto::normal`: those that merges make in the order of the list,
/// then the other normal pieces in id order. Pieces that are not normal have some rank.
pub(super) fn ranks(
    texts: &[String],
    is_normal: impl Fn(usize) -> bool,
    merges: Vec<Merge>,
) -> Result<Vec<usize>, String> {
    let ids = ids_of(texts, &is_normal);
    let merged_ids = merged_ids(texts, &ids, merges)?;
    let mut is_made = vec![false; texts.len()];
    merged_ids.iter().for_each(|&id| is_made[id] = true);
    let others = (0..texts.len()).filter(|&id| is_normal(id) && !is_made[id]);
    let mut ranks = vec![0; texts.len()];
    for (rank, id) in merged_ids.iter().copied().chain(others).enumerate() {
        ranks[id] = rank;
    }
    Ok(ranks)
}

/// The pieces that merges make, in their order, after checking that the list has every split of
/// each of them side by side.
fn merged_ids(
    texts: &[String],
    ids: &HashMap<&str, usize>,
    merges: Vec<Merge>,
) -> Result<Vec<usize>, String> {
    let mut order = Vec::new();
    let mut made = HashSet::new();
    let mut pairs: HashSet<(String, String)> = HashSet::new();
    for merge in merges {
        let (left, right) = merge.into_pair()?;
        let joined = format!("{left}{right}");
        let known = [&left, &right, &joined].iter().all(|text| ids.contains_key(text.as_str()));
        let Some(&id) = ids.get(joined.as_str()).filter(|_| known) else {
            return Err(format!("merge of `{left}` and `{right}` is not one of pieces to a piece"));
        };
        if order.last() != Some(&id) {
            if !made.insert(id) {
                return Err(format!(
                    "merges to `{joined}` stand apart, which scores of pieces cannot express"
                ));
            }
            order.push(id);
        }
        pairs.insert((left, right));
    }
    for text in texts.iter().filter(|text| ids.contains_key(text.as_str())) {
        let lacking = splits(text, ids)
            .into_iter()
            .find(|[left, right]| !pairs.contains(&((*left).to_owned(), (*right).to_owned())));
        if let Some([left, right]) = lacking {
            return Err(format!(
                "merge of `{left}` and `{right}` is missing, which scores of pieces cannot express"
            ));
        }
    }
    Ok(order)
}

/// Ids of the normal pieces.
fn ids_of(texts: &[String], is_normal: impl Fn(usize) -> bool) -> HashMap<&str, usize> {
    texts.iter().map(String::as_str).zip(0..).filter(|&(_, id)| is_normal(id)).collect()
}

/// Every way to make a text out of two pieces.
fn splits<'t>(text: &'t str, ids: &HashMap<&str, usize>) -> Vec<[&'t str; 2]> {
    text.char_indices()
        .skip(1)
        .map(|(at, _)| [&text[..at], &text[at..]])
        .filter(|halves| halves.iter().all(|half| ids.contains_key(half)))
        .collect()
}

impl Merge {
    fn into_pair(self) -> Result<(String, String), String> {
        match self {
            Self::Pair(left, right) => Ok((left, right)),
            Self::Text(text) => match text.split_once(' ') {
                Some((left, right)) => Ok((left.to_owned(), right.to_owned())),
                None => Err(format!("merge `{text}` has no space between two pieces")),
            },
        }
    }
}
