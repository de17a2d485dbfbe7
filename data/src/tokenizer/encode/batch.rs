//! Many texts on many threads: long ones fall into parts and short ones come together, so that no thread is left alone
//! with the last books.

use rayon::prelude::*;

use super::{Encoder, MARKER, Workspace};

/// Bytes of a part, which goes on from there to the next place where its text can be cut; and of the parts that a thread
/// takes at once.
const PART_BYTES: usize = 1 << 16;

/// A stretch of one of many texts.
struct Part<'a> {
    text: &'a str,
    /// Whether its text begins with it.
    is_first: bool,
}

/// Working memory that goes back to its encoder.
struct Lent<'a> {
    encoder: &'a Encoder,
    workspace: Workspace,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.encoder.give_back(std::mem::take(&mut self.workspace));
    }
}

/// Parts that come one after another, together about so many bytes.
fn jobs<'a, 'b>(mut parts: &'b [Part<'a>], n_bytes: usize) -> Vec<&'b [Part<'a>]> {
    let mut jobs = Vec::new();
    while !parts.is_empty() {
        let mut total = 0;
        let is_enough = |part: &Part<'_>| {
            total += part.text.len();
            total >= n_bytes
        };
        let end = parts.iter().position(is_enough).map_or(parts.len(), |last| last + 1);
        let (job, after) = parts.split_at(end);
        jobs.push(job);
        parts = after;
    }
    jobs
}

impl Encoder {
    /// The ids of every text, on the threads of rayon's current pool.
    pub(crate) fn encode_all(&self, texts: &[&str]) -> Vec<Vec<u32>> {
        self.encode_in_parts(texts, PART_BYTES)
    }

    pub(super) fn encode_in_parts(&self, texts: &[&str], part_bytes: usize) -> Vec<Vec<u32>> {
        let parts = texts.iter().flat_map(|text| self.parts(text, part_bytes));
        let parts: Vec<Part<'_>> = parts.collect();
        let lend = || Lent { encoder: self, workspace: self.take_workspace() };
        let encode = |lent: &mut Lent<'_>, job: &&[Part<'_>]| -> Vec<Vec<u32>> {
            let ids = |part: &Part<'_>| {
                let mut ids = Vec::with_capacity(part.text.len() / 4);
                self.encode_part(part.text, part.is_first, &mut lent.workspace, &mut ids);
                ids
            };
            job.iter().map(ids).collect()
        };
        // A job is never put together with others, whose sizes rayon does not know.
        let jobs = jobs(&parts, part_bytes);
        let encoded: Vec<Vec<Vec<u32>>> =
            jobs.par_iter().with_max_len(1).map_init(lend, encode).collect();
        let mut texts: Vec<Vec<u32>> = Vec::with_capacity(texts.len());
        for (part, ids) in parts.iter().zip(encoded.into_iter().flatten()) {
            match texts.last_mut().filter(|_| !part.is_first) {
                Some(text) => text.extend(ids),
                None => texts.push(ids),
            }
        }
        texts
    }

    /// A text in parts whose ids are those of the whole; an empty text is one part.
    fn parts<'a>(&self, text: &'a str, part_bytes: usize) -> impl Iterator<Item = Part<'a>> {
        let mut rest = Some(text);
        std::iter::from_fn(move || {
            let whole = rest.take()?;
            let is_first = whole.len() == text.len();
            let (part, after) = whole.split_at(self.cut_after(whole, part_bytes));
            rest = Some(after).filter(|after| !after.is_empty());
            Some(Part { text: part, is_first })
        })
    }

    /// The first place behind `at` where a text can be cut, else its end.
    fn cut_after(&self, text: &str, at: usize) -> usize {
        let normal = |c: char| u32::from(if c == MARKER { ' ' } else { c });
        let start = text.ceil_char_boundary(at);
        let mut characters = text[start..].char_indices();
        let Some((_, mut left)) = characters.next() else { return text.len() };
        for (place, right) in characters {
            if !self.boundaries.is_joined(normal(left), normal(right)) {
                return start + place;
            }
            left = right;
        }
        text.len()
    }
}
