//! Products in the layouts that the step uses: each factor as it lies or transposed, in one matrix or
//! a batch, within wider rows, added to what is there.

use neo_backends::resident::card::{Matrix, Product};

use crate::{
    arrays::{changed, input, output},
    bench::{Bench, on_cards},
    numbers::{Bf16, ELEMENTS, F32, Format},
    random::Random,
};

#[derive(Clone, Copy, Debug)]
struct Case {
    /// `[m, n, k]`.
    size: [usize; 3],
    /// Whether the left and the right factor are used transposed.
    transposed: [bool; 2],
    /// Elements of a row of `a`, `b` and `out` beyond its own.
    margins: [usize; 3],
    batch: usize,
    /// Elements between the matrices of a batch of `a`, `b` and `out`; 0 is the same matrix again.
    strides: [usize; 3],
    /// `None`, added to what `out` holds, or added to another array.
    add: Option<Add>,
    /// Whether the result is f32 in any case.
    is_wide: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Add {
    Out,
    Other,
}

const PLAIN: Case = Case {
    size: [1, 8, 8],
    transposed: [false, false],
    margins: [0; 3],
    batch: 1,
    strides: [0; 3],
    add: None,
    is_wide: false,
};

/// As `step.rs` and `attention/composed.rs` multiply.
const CASES: [Case; 10] = [
    PLAIN,
    // A linear layer, with the residual stream added.
    Case { size: [37, 104, 40], transposed: [false, true], ..PLAIN },
    Case { size: [37, 104, 40], transposed: [false, true], add: Some(Add::Other), ..PLAIN },
    // The gradient of its input.
    Case { size: [37, 40, 104], ..PLAIN },
    // The gradient of its weight, summed over an odd number of tokens.
    Case { size: [104, 40, 37], transposed: [true, false], is_wide: true, ..PLAIN },
    Case {
        size: [104, 40, 37],
        transposed: [true, false],
        is_wide: true,
        add: Some(Add::Out),
        ..PLAIN
    },
    // Scores: query heads within rows of queries, keys and values, one key head for all of them.
    Case {
        size: [19, 37, 16],
        transposed: [false, true],
        margins: [64, 64, 3],
        batch: 3,
        strides: [16, 0, 19 * 40],
        ..PLAIN
    },
    // Attended values.
    Case { size: [19, 16, 37], margins: [3, 64, 32], batch: 3, strides: [19 * 40, 0, 16], ..PLAIN },
    // The gradient of keys.
    Case {
        size: [37, 16, 19],
        transposed: [true, false],
        margins: [3, 64, 48],
        add: Some(Add::Out),
        is_wide: true,
        ..PLAIN
    },
    Case { size: [130, 264, 520], transposed: [false, true], ..PLAIN },
];

#[test]
fn products_are_close() {
    on_cards(|bench| {
        for (element, case) in ELEMENTS.iter().flat_map(|&e| CASES.map(|case| (e, case))) {
            check(bench, element, case);
        }
    });
}

fn check(bench: &Bench, element: Format, case: Case) {
    let Case { size: [m, n, k], transposed, batch, strides, add, is_wide, .. } = case;
    let out_element = if element == Bf16 && is_wide { F32 } else { element };
    let [a, b, out] = matrices(case);
    let mut random = Random::new((m * n * k) as u64);
    let mut draw = |format: Format, grid: Grid| format.normal(&mut random, grid.len(batch), 1.0);
    let (a_values, b_values) = (draw(element, a), draw(element, b));
    let (before, other) = (draw(out_element, out), draw(out_element, out));
    let arrays = [
        input(element, &a_values),
        input(element, &b_values),
        input(out_element, &other),
        if add == Some(Add::Out) {
            changed(out_element, &before)
        } else {
            output(out_element, out.len(batch))
        },
    ];
    let [found] = bench.run(arrays, |[a_at, b_at, other, out_at]| {
        let matrix = |at, grid: Grid, i: usize| {
            let matrix = Matrix::new(at, grid.row).every(strides[i]);
            if transposed.get(i) == Some(&true) { matrix.t() } else { matrix }
        };
        let product = Product {
            size: [m, n, k],
            a: matrix(a_at, a, 0),
            b: matrix(b_at, b, 1),
            out: matrix(out_at, out, 2),
            add: add.map(|add| if add == Add::Out { out_at } else { other }),
            element: element.precision(),
            out_element: out_element.precision(),
            batch,
        };
        bench.card.multiply(&product).unwrap();
    });
    let mut expected = vec![f64::NAN; found.len()];
    for (index, r, c) in (0..batch * m * n).map(|i| (i / n / m, i / n % m, i % n)) {
        let left = |i| if transposed[0] { a.at(index, i, r) } else { a.at(index, r, i) };
        let right = |i| if transposed[1] { b.at(index, c, i) } else { b.at(index, i, c) };
        let sum: f64 = (0..k).map(|i| a_values[left(i)] * b_values[right(i)]).sum();
        let at = out.at(index, r, c);
        let past = add.map_or(0.0, |add| if add == Add::Out { before[at] } else { other[at] });
        expected[at] = sum + past;
    }
    // Columns past a row's end are nobody's: still NaN, or what was there before.
    let (mut written, mut left) = (vec![], vec![]);
    for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
        if expected.is_nan() {
            let before = if add == Some(Add::Out) { before[i] } else { f64::NAN };
            left.push((*found, before));
        } else {
            written.push((*found, *expected));
        }
    }
    let (found, expected): (Vec<f64>, Vec<f64>) = written.into_iter().unzip();
    bench.close("product", out_element, &found, &expected, &case);
    let (found, expected): (Vec<f64>, Vec<f64>) = left.into_iter().unzip();
    bench.same("past the columns", &found, &expected, &case);
}

/// A batch of matrices in memory.
#[derive(Clone, Copy)]
struct Grid {
    rows: usize,
    row: usize,
    stride: usize,
}

impl Grid {
    fn at(self, index: usize, row: usize, column: usize) -> usize {
        index * self.stride + row * self.row + column
    }

    fn len(self, batch: usize) -> usize {
        self.at(batch - 1, self.rows, 0)
    }
}

/// `a`, `b` and `out` as they lie.
fn matrices(case: Case) -> [Grid; 3] {
    let [m, n, k] = case.size;
    let [a, b] = [(m, k), (k, n)];
    let lying = |(rows, columns), is_transposed| {
        if is_transposed { (columns, rows) } else { (rows, columns) }
    };
    let lying = [lying(a, case.transposed[0]), lying(b, case.transposed[1]), (m, n)];
    [0, 1, 2].map(|i| {
        let (rows, columns) = lying[i];
        Grid { rows, row: columns + case.margins[i], stride: case.strides[i] }
    })
}
