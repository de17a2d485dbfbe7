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
    content: Vec<u8>,
    role: Role,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// Must stay as it is.
    Input,
    /// Is part of the result.
    Result,
    /// May be anything afterwards.
    Scratch,
}

/// An array that is only read.
pub(crate) fn input(format: Format, values: &[f64]) -> Array {
    Array { format, content: format.encode(values), role: Role::Input }
}

/// An array that is changed in place.
pub(crate) fn changed(format: Format, values: &[f64]) -> Array {
    Array { role: Role::Result, ..input(format, values) }
}

/// An array of `n` numbers that begin as NaN.
pub(crate) fn output(format: Format, n: usize) -> Array {
    Array { format, content: vec![POISON; n * format.bytes()], role: Role::Result }
}

/// An array of `n` numbers that nobody looks at afterwards.
pub(crate) fn scratch(format: Format, n: usize) -> Array {
    Array { role: Role::Scratch, ..output(format, n) }
}

/// Does `work` on the arrays' addresses, twice from fresh memory; returns changed arrays and outputs
/// in order.
pub(crate) fn run<const N: usize, const M: usize>(
    card: &dyn Card,
    arrays: [Array; N],
    work: impl Fn([Address; N]),
) -> [Vec<f64>; M] {
    let results = once(card, &arrays, &work);
    assert!(results == once(card, &arrays, &work), "the second run leaves other bits");
    let formats = arrays.iter().filter(|array| array.role == Role::Result).map(|a| a.format);
    let decoded: Vec<_> =
        formats.zip(results).map(|(format, bytes)| format.decode(&bytes)).collect();
    let n = decoded.len();
    decoded.try_into().unwrap_or_else(|_| panic!("{n} results, {M} expected"))
}

fn once<const N: usize>(
    card: &dyn Card,
    arrays: &[Array; N],
    work: &impl Fn([Address; N]),
) -> Vec<Vec<u8>> {
    let places: Vec<Place<'_>> = arrays.iter().map(|array| Place::new(card, array)).collect();
    let addresses: Vec<Address> = places.iter().map(Place::at).collect();
    work(addresses.try_into().unwrap());
    places.iter().enumerate().filter_map(|(i, place)| place.result(i)).collect()
}

/// An array's memory.
struct Place<'a> {
    card: &'a dyn Card,
    array: &'a Array,
    memory: Address,
}

impl<'a> Place<'a> {
    fn new(card: &'a dyn Card, array: &'a Array) -> Self {
        let guard = [POISON; GUARD_BYTES];
        let bytes = [&guard, array.content.as_slice(), &guard].concat();
        let memory = card.allocate(bytes.len() as u64).unwrap();
        card.write(memory, &bytes).unwrap();
        Self { card, array, memory }
    }

    fn at(&self) -> Address {
        self.memory.offset(GUARD_BYTES)
    }

    /// The array's bytes if they are a result; fails where bytes changed that must not.
    fn result(&self, index: usize) -> Option<Vec<u8>> {
        let size = self.array.content.len();
        let mut bytes = vec![0; size + 2 * GUARD_BYTES];
        self.card.read(self.memory, &mut bytes).unwrap();
        let after = bytes.split_off(GUARD_BYTES + size);
        let content = bytes.split_off(GUARD_BYTES);
        assert!(bytes.iter().all(|&byte| byte == POISON), "written before array {index}");
        assert!(after.iter().all(|&byte| byte == POISON), "written behind array {index}");
        if self.array.role == Role::Input {
            assert!(content == self.array.content, "array {index} was changed");
        }
        (self.array.role == Role::Result).then_some(content)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.card.release(self.memory);
    }
}
