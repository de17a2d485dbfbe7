//! Many texts on many threads: long ones fall into parts and short ones come together, so that no thread is left alone
//! with the last books; and all ids lie in one piece of memory, which the threads fill side by side.

use rayon::prelude::*;

use super::{Encoder, MARKER, Workspace};

/// Bytes of a part, which goes on from there to the next place where its text can be cut; and of the parts that a thread
/// takes at once.
const PART_BYTES: usize = 1 << 16;

/// The ids of many texts, one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    ids: Vec<u32>,
    /// Where the ids of each text end.
    ends: Vec<usize>,
}

impl Encoded {
    /// The ids of each text, in their order.
    pub fn texts(&self) -> impl Iterator<Item = &[u32]> {
        let starts = std::iter::once(&0).chain(&self.ends);
        starts.zip(&self.ends).map(|(&start, &end)| &self.ids[start..end])
    }

    /// The ids of all texts.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }
}

/// A stretch of one of many texts.
struct Part<'a> {
    text: &'a str,
    /// Whether its text begins with it.
    is_first: bool,
    /// Whether its text ends with it.
    is_last: bool,
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

impl Encoder {
    /// The ids of every text, each followed by `end` if there is one, on the threads of rayon's current pool.
    pub(crate) fn encode_all(&self, texts: &[&str], end: Option<u32>) -> Encoded {
        self.encode_in_parts(texts, end, PART_BYTES)
    }

    pub(super) fn encode_in_parts(
        &self,
        texts: &[&str],
        end: Option<u32>,
        part_bytes: usize,
    ) -> Encoded {
        let parts = texts.iter().flat_map(|text| self.parts(text, part_bytes));
        let parts: Vec<Part<'_>> = parts.collect();
        let lend = || Lent { encoder: self, workspace: self.take_workspace() };
        let encode =
            |lent: &mut Lent<'_>, job: &&[Part<'_>]| self.encode_job(job, end, &mut lent.workspace);
        // A job is never put together with others, whose sizes rayon does not know.
        let jobs = jobs(&parts, part_bytes);
        join(jobs.par_iter().with_max_len(1).map_init(lend, encode).collect())
    }

    fn encode_job(&self, job: &[Part<'_>], end: Option<u32>, workspace: &mut Workspace) -> Encoded {
        let n_bytes: usize = job.iter().map(|part| part.text.len()).sum();
        let mut encoded = Encoded { ids: Vec::with_capacity(n_bytes / 3), ends: Vec::new() };
        for part in job {
            self.encode_part(part.text, part.is_first, workspace, &mut encoded.ids);
            if part.is_last {
                encoded.ids.extend(end);
                encoded.ends.push(encoded.ids.len());
            }
        }
        encoded
    }

    /// A text in parts whose ids are those of the whole; an empty text is one part.
    fn parts<'a>(&self, text: &'a str, part_bytes: usize) -> impl Iterator<Item = Part<'a>> {
        let mut rest = Some(text);
        std::iter::from_fn(move || {
            let whole = rest.take()?;
            let (part, after) = whole.split_at(self.cut_after(whole, part_bytes));
            rest = Some(after).filter(|after| !after.is_empty());
            let (is_first, is_last) = (whole.len() == text.len(), rest.is_none());
            Some(Part { text: part, is_first, is_last })
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

/// Puts the ids of all jobs behind each other.
fn join(jobs: Vec<Encoded>) -> Encoded {
    let mut ends = Vec::with_capacity(jobs.iter().map(|job| job.ends.len()).sum());
    let mut total = 0;
    for job in &jobs {
        ends.extend(job.ends.iter().map(|end| total + end));
        total += job.ids.len();
    }
    let mut ids = vec![0; total];
    let mut rest = &mut ids[..];
    let place = |job: Encoded| {
        let (place, after) = std::mem::take(&mut rest).split_at_mut(job.ids.len());
        rest = after;
        (place, job.ids)
    };
    let places: Vec<(&mut [u32], Vec<u32>)> = jobs.into_iter().map(place).collect();
    places.into_par_iter().with_max_len(1).for_each(|(place, ids)| place.copy_from_slice(&ids));
    Encoded { ids, ends }
}
