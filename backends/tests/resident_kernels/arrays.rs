//! Arrays on a card between guard bytes, and an experiment on them that must repeat bit for bit.

use neo_backends::resident::{Card, card::Address};

use crate::numbers::Format;

/// Bytes on either side of an array: some rows of the widest, and a multiple of what arrays are
/// aligned to.
const GUARD_BYTES: usize = 16 << 10;
/// What memory holds before anything is written: NaN in every float format, -1 as an integer.
const POISON: u8 = 0xff;

/// An array that an experiment works on.
pub(crate) struct Array {
    format: Format,
    n: usize,
    content: Content,
}

/// What an array begins as, and what becomes of it.
enum Content {
    /// Must stay as it is.
    Input(Vec<u8>),
    /// Is changed in place to a part of the result.
    Changed(Vec<u8>),
    /// Begins as NaN and is a part of the result.
    Output,
    /// May be anything afterwards.
    Scratch,
}

/// An array that is only read.
pub(crate) fn input(format: Format, values: &[f64]) -> Array {
    Array { format, n: values.len(), content: Content::Input(format.encode(values)) }
}

/// An array that is changed in place.
pub(crate) fn changed(format: Format, values: &[f64]) -> Array {
    Array { format, n: values.len(), content: Content::Changed(format.encode(values)) }
}

/// An array of `n` numbers that begin as NaN.
pub(crate) fn output(format: Format, n: usize) -> Array {
    Array { format, n, content: Content::Output }
}

/// An array of `n` numbers that nobody looks at afterwards.
pub(crate) fn scratch(format: Format, n: usize) -> Array {
    Array { format, n, content: Content::Scratch }
}

impl Array {
    fn bytes(&self) -> usize {
        self.n * self.format.bytes()
    }

    fn is_result(&self) -> bool {
        matches!(self.content, Content::Changed(_) | Content::Output)
    }
}

/// Does `work` on the arrays' addresses, twice from fresh memory; returns changed arrays and outputs
/// in order.
#[track_caller]
pub(crate) fn run<const N: usize, const M: usize>(
    card: &dyn Card,
    arrays: [Array; N],
    work: impl Fn([Address; N]),
) -> [Vec<f64>; M] {
    let (first, second) = (once(card, &arrays, &work), once(card, &arrays, &work));
    let results: Vec<&Array> = arrays.iter().filter(|array| array.is_result()).collect();
    assert_eq!(results.len(), M, "arrays that are results");
    for (i, (first, second)) in first.iter().zip(&second).enumerate() {
        assert!(first == second, "the second run leaves other bits in result {i}");
    }
    let decoded = results.iter().zip(first).map(|(array, bytes)| array.format.decode(&bytes));
    decoded.collect::<Vec<_>>().try_into().unwrap()
}

#[track_caller]
fn once<const N: usize>(
    card: &dyn Card,
    arrays: &[Array; N],
    work: &impl Fn([Address; N]),
) -> Vec<Vec<u8>> {
    let places: Vec<Place<'_>> = arrays.iter().map(|array| Place::new(card, array)).collect();
    let addresses: Vec<Address> = places.iter().map(Place::at).collect();
    work(addresses.try_into().unwrap());
    let mut results = Vec::new();
    for (i, place) in places.iter().enumerate() {
        place.check(i);
        if place.array.is_result() {
            results.push(place.read(GUARD_BYTES, place.array.bytes()));
        }
    }
    results
}

/// An array's memory.
struct Place<'a> {
    card: &'a dyn Card,
    array: &'a Array,
    memory: Address,
}

impl<'a> Place<'a> {
    fn new(card: &'a dyn Card, array: &'a Array) -> Self {
        let memory = card.allocate((2 * GUARD_BYTES + array.bytes()) as u64).unwrap();
        let place = Self { card, array, memory };
        let guard = [POISON; GUARD_BYTES];
        card.write(memory, &guard).unwrap();
        card.write(place.behind(), &guard).unwrap();
        match &array.content {
            Content::Input(bytes) | Content::Changed(bytes) => card.write(place.at(), bytes),
            Content::Output => card.write(place.at(), &vec![POISON; array.bytes()]),
            Content::Scratch => Ok(()),
        }
        .unwrap();
        place
    }

    fn at(&self) -> Address {
        self.memory.offset(GUARD_BYTES)
    }

    fn behind(&self) -> Address {
        self.at().offset(self.array.bytes())
    }

    fn read(&self, offset: usize, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.card.read(self.memory.offset(offset), &mut bytes).unwrap();
        bytes
    }

    /// Fails where bytes changed that must not.
    #[track_caller]
    fn check(&self, index: usize) {
        let is_intact = |bytes: Vec<u8>| bytes.iter().all(|&byte| byte == POISON);
        assert!(is_intact(self.read(0, GUARD_BYTES)), "written before array {index}");
        let behind = GUARD_BYTES + self.array.bytes();
        assert!(is_intact(self.read(behind, GUARD_BYTES)), "written behind array {index}");
        if let Content::Input(bytes) = &self.array.content {
            assert!(*bytes == self.read(GUARD_BYTES, bytes.len()), "array {index} was changed");
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.card.release(self.memory);
    }
}
