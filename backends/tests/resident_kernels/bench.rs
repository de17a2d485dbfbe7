//! The cards that kernels are tested on, and the comparison of what they leave with f64.

use std::{cell::RefCell, collections::BTreeMap, fmt::Debug};

use neo_backends::resident::{
    Card, Source,
    card::{Address, Arg, Geometry, Kernel},
};

use crate::{
    arrays::{self, Array},
    numbers::{Format, relative},
};

/// A card, and the largest error of each quantity.
pub(crate) struct Bench {
    pub(crate) card: Box<dyn Card>,
    name: String,
    worst: RefCell<BTreeMap<(&'static str, Format), f64>>,
}

/// Tests every card that there is.
#[expect(
    clippy::print_stderr,
    reason = "a skipped test says so, and errors are part of the answer"
)]
pub(crate) fn on_cards(test: impl Fn(&Bench)) {
    let cards = cards();
    if cards.is_empty() {
        eprintln!("skipped: no card; build with the feature `emulated` for one in host memory");
    }
    for (name, card) in cards {
        let bench = Bench { card, name, worst: RefCell::default() };
        test(&bench);
        for ((what, format), error) in bench.worst.take() {
            eprintln!("{what:>28} {format:?} {error:.1e} on {}", bench.name);
        }
    }
}

fn cards() -> Vec<(String, Box<dyn Card>)> {
    let device = std::env::var("NEO_TEST_DEVICE").unwrap_or_default();
    if device.starts_with("cuda") {
        let device = neo_backends::device::open(&device).unwrap();
        let card = neo_backends::resident::card_of(&device).unwrap();
        let card = card.expect("a card for the whole step");
        return vec![(card.name().to_owned(), card)];
    }
    emulated_cards()
}

#[cfg(feature = "emulated")]
fn emulated_cards() -> Vec<(String, Box<dyn Card>)> {
    use neo_backends::resident::emulated::{Behaviour, Emulated};
    let behaviours = [
        ("hopper", Behaviour::HOPPER),
        (
            "hopper, reversed and late",
            Behaviour { reversed: true, late: true, ..Behaviour::HOPPER },
        ),
        ("ampere", Behaviour::AMPERE),
    ];
    let card = |(name, behaviour): (&str, _)| -> (String, Box<dyn Card>) {
        (format!("an emulated card ({name})"), Box::new(Emulated::new(behaviour)))
    };
    behaviours.map(card).into()
}

#[cfg(not(feature = "emulated"))]
fn emulated_cards() -> Vec<(String, Box<dyn Card>)> {
    Vec::new()
}

impl Bench {
    /// A kernel of a source in which `ELEMENT` is a format.
    pub(crate) fn kernel(&self, source: &Source, element: Format, name: &str) -> Kernel {
        let macros = [("ELEMENT", element.c_name())];
        self.card.kernels(source, &macros, &[name]).unwrap()[0]
    }

    pub(crate) fn launch(&self, kernel: Kernel, geometry: Geometry, args: &[Arg]) {
        self.card.launch(kernel, geometry, args).unwrap();
    }

    /// See [`arrays::run`].
    #[track_caller]
    pub(crate) fn run<const N: usize, const M: usize>(
        &self,
        arrays: [Array; N],
        work: impl Fn([Address; N]),
    ) -> [Vec<f64>; M] {
        arrays::run(&*self.card, arrays, work)
    }

    /// Fails where a result is further from the reference than its format's tolerance.
    #[track_caller]
    pub(crate) fn close(
        &self,
        what: &'static str,
        format: Format,
        found: &[f64],
        expected: &[f64],
        case: &dyn Debug,
    ) {
        assert_eq!(found.len(), expected.len(), "{what} {case:?}");
        let (error, tolerance) = (relative(found, expected), format.tolerance());
        let card = &self.name;
        assert!(
            error <= tolerance,
            "{what} {format:?} {case:?} on {card}: error {error:.2e} > {tolerance:e}"
        );
        let mut worst = self.worst.borrow_mut();
        let entry = worst.entry((what, format)).or_default();
        *entry = entry.max(error);
    }

    /// Fails where a number is another; NaN, what nobody has written, equals NaN.
    #[track_caller]
    pub(crate) fn same(&self, what: &str, found: &[f64], expected: &[f64], case: &dyn Debug) {
        assert_eq!(found.len(), expected.len(), "{what} {case:?}");
        let differs = |(a, b): (&f64, &f64)| a != b && !(a.is_nan() && b.is_nan());
        if let Some(i) = found.iter().zip(expected).position(differs) {
            let (found, expected) = (found[i], expected[i]);
            panic!("{what} {case:?} on {}: {found} and not {expected} at {i}", self.name);
        }
    }
}
