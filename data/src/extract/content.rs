//! Which blocks of a page a reader wants.
//!
//! A block speaks for itself when it is long and not made of links; short blocks follow the company they keep, as in
//! jusText; what the page itself marks as its content or as furniture comes first. A page that would lose nearly
//! everything by the names of its classes is read again without them.

use super::{
    furniture,
    outline::{Block, Kind},
};

/// Weight from which a block without many links is text.
const LONG: usize = 60;
/// Share of links from which a block is a list of links.
const LINKS: f64 = 0.6;
/// Share of links up to which a long block is text.
const FEW_LINKS: f64 = 0.35;
/// Weight of a run of short blocks from which it is text of short lines: a poem, a dialogue, a list.
const RUN: usize = 160;
/// Short blocks beside a text that go with it.
const NEAR: usize = 4;
/// Weight that the marked content of a page needs so that the rest is left out.
const ENOUGH: usize = 250;
/// Weight below which a page is read again less strictly.
const LITTLE: usize = 200;

/// How a block is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Text,
    Short,
    Heading,
    Bad,
}

/// The blocks to keep, in their order.
pub(super) fn wanted(blocks: &[Block]) -> Vec<&Block> {
    let signs = Signs { names: true, headers: !headers_hold_the_text(blocks) };
    let without = |signs: Signs| choose(blocks.iter().filter(|b| !signs.tell(b)).collect());
    let strict = without(signs);
    let found = weight(&strict);
    if found >= LITTLE {
        return strict;
    }
    let lenient = without(Signs { names: false, ..signs });
    if weight(&lenient) > 4 * found { lenient } else { strict }
}

/// What furniture is known by on a page, beside its own tags.
#[derive(Clone, Copy, Debug)]
struct Signs {
    names: bool,
    headers: bool,
}

impl Signs {
    /// Whether a block is the page's and not the text's.
    fn tell(self, block: &Block) -> bool {
        let place = block.place;
        let in_page_header = place.header && !(place.content || block.kind == Kind::Heading);
        place.furniture
            || (self.headers && in_page_header)
            || (self.names && place.named_furniture)
            || furniture::is_notice(&block.text, block.n_chars)
    }
}

/// Some pages are built within a `header`; then it says nothing.
fn headers_hold_the_text(blocks: &[Block]) -> bool {
    let texts = blocks.iter().filter(|block| !block.place.furniture && class(block) == Class::Text);
    let (all, in_headers) = texts.fold((0, 0), |(all, in_headers), block| {
        (all + block.weight, in_headers + block.weight * usize::from(block.place.header))
    });
    in_headers * 5 > all * 2
}

fn choose(blocks: Vec<&Block>) -> Vec<&Block> {
    let blocks = marked_content(blocks);
    let mut classes: Vec<Class> = blocks.iter().map(|block| class(block)).collect();
    promote_runs(&blocks, &mut classes);
    if !classes.contains(&Class::Text) {
        // Nothing but short lines: they are all there is.
        return keep(blocks, |idx| classes[idx] != Class::Bad);
    }
    let near = near_text(&classes);
    let heads = heads_of_kept(&classes, &near);
    keep(blocks, |idx| match classes[idx] {
        Class::Text => true,
        Class::Short => near[idx],
        Class::Heading => heads[idx],
        Class::Bad => false,
    })
}

fn keep(blocks: Vec<&Block>, wanted: impl Fn(usize) -> bool) -> Vec<&Block> {
    let kept = blocks.into_iter().enumerate().filter(|(idx, _)| wanted(*idx));
    kept.map(|(_, block)| block).collect()
}

/// Only what the page marks as content, when that is enough of it.
fn marked_content(blocks: Vec<&Block>) -> Vec<&Block> {
    let (all, marked) = blocks.iter().fold((0, 0), |(all, marked), block| {
        (all + block.weight, marked + block.weight * usize::from(block.place.content))
    });
    if marked < ENOUGH || marked * 5 < all * 2 {
        return blocks;
    }
    blocks.into_iter().filter(|block| block.place.content).collect()
}

fn class(block: &Block) -> Class {
    let links = block.n_link_chars as f64 / block.n_chars.max(1) as f64;
    match block.kind {
        Kind::Heading => Class::Heading,
        Kind::Preformatted if links < LINKS => Class::Text,
        _ if links >= LINKS => Class::Bad,
        _ if block.weight >= LONG && links < FEW_LINKS => Class::Text,
        _ => Class::Short,
    }
}

/// Runs of short blocks that are long together, and all of a marked content, are text.
fn promote_runs(blocks: &[&Block], classes: &mut [Class]) {
    let mut start = 0;
    for end in 0..=classes.len() {
        if classes.get(end) == Some(&Class::Short) {
            continue;
        }
        let run = &blocks[start..end];
        let is_content = run.first().is_some_and(|block| block.place.content);
        if is_content || run.iter().map(|block| block.weight).sum::<usize>() >= RUN {
            classes[start..end].fill(Class::Text);
        }
        start = end + 1;
    }
}

/// Short blocks that stand between texts or close beside one, links not counted as distance.
fn near_text(classes: &[Class]) -> Vec<bool> {
    let sweep = |order: &mut dyn Iterator<Item = usize>| {
        let (mut distance, mut near) = (usize::MAX, vec![usize::MAX; classes.len()]);
        for idx in order {
            distance = match classes[idx] {
                Class::Text => 0,
                Class::Bad => usize::MAX,
                _ => distance.saturating_add(1),
            };
            near[idx] = distance;
        }
        near
    };
    let before = sweep(&mut (0..classes.len()));
    let after = sweep(&mut (0..classes.len()).rev());
    let is_near = |(&before, &after): (&usize, &usize)| {
        before.min(after) <= NEAR || (before != usize::MAX && after != usize::MAX)
    };
    before.iter().zip(&after).map(is_near).collect()
}

/// Headings that something kept follows, be it after another heading; links between headings end their section.
fn heads_of_kept(classes: &[Class], near: &[bool]) -> Vec<bool> {
    #[derive(PartialEq)]
    enum Next {
        Nothing,
        Heading,
        Text,
    }
    let (mut next, mut heads) = (Next::Nothing, vec![false; classes.len()]);
    for idx in (0..classes.len()).rev() {
        match classes[idx] {
            Class::Text => next = Next::Text,
            Class::Short if near[idx] => next = Next::Text,
            Class::Short => {}
            Class::Bad if next == Next::Heading => next = Next::Nothing,
            Class::Bad => {}
            Class::Heading if next != Next::Nothing => {
                heads[idx] = true;
                next = Next::Heading;
            }
            Class::Heading => {}
        }
    }
    heads
}

fn weight(blocks: &[&Block]) -> usize {
    blocks.iter().map(|block| block.weight).sum()
}
