//! Changes of number format: exact, so compared number for number.

use neo_backends::resident::{card::Geometry, sources};

use crate::{
    arrays::{input, output},
    bench::{Bench, on_cards},
    numbers::{Bf16, ELEMENTS, F32, Format},
    random::Random,
};

/// `(n, blocks, threads)`: no whole vector, only whole ones, a rest, several rounds of the grid.
const FLAT: [(usize, usize, u32); 6] =
    [(1, 1, 32), (3, 2, 32), (4, 1, 256), (5, 3, 32), (1023, 2, 64), (4098, 3, 256)];

/// `(tokens, width, row, threads)`.
const ROWS: [(usize, usize, usize, u32); 4] =
    [(1, 1, 1, 32), (3, 7, 12, 32), (5, 100, 164, 64), (2, 33, 33, 256)];

#[test]
fn cast_rounds_to_even() {
    on_cards(|bench| {
        for (element, case) in ELEMENTS.iter().flat_map(|&e| FLAT.map(|case| (e, case))) {
            cast(bench, element, case);
        }
    });
}

fn cast(bench: &Bench, element: Format, case @ (n, blocks, threads): (usize, usize, u32)) {
    let kernel = bench.kernel(&sources::CAST, element, "cast");
    let mut x = F32.normal(&mut Random::new(n as u64), n, 10.0);
    // Half-way to the next bf16 on either side of an even one, what has no neighbours, and the rest.
    let special = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, f64::INFINITY, f64::NAN, -0.0, 1e-40];
    x.iter_mut().step_by(3).zip(special.iter().cycle()).for_each(|(x, &special)| *x = special);
    let [y] = bench.run([input(F32, &x), output(element, n)], |[x, y]| {
        let args = [x.into(), y.into(), (n as u64).into()];
        bench.launch(kernel, Geometry::line(blocks, threads), &args);
    });
    bench.same("cast", &y, &element.all_rounded(&F32.all_rounded(&x)), &(element, case));
}

#[test]
fn cast_rows_leaves_other_columns() {
    on_cards(|bench| {
        for (element, case) in [F32, Bf16].iter().flat_map(|&e| ROWS.map(|case| (e, case))) {
            cast_rows(bench, element, case);
        }
    });
}

fn cast_rows(
    bench: &Bench,
    element: Format,
    case @ (tokens, width, row, threads): (usize, usize, usize, u32),
) {
    let kernel = bench.kernel(&sources::CAST, element, "cast_rows");
    let x = F32.normal(&mut Random::new(width as u64), tokens * width, 1.0);
    let [y] = bench.run([input(F32, &x), output(element, tokens * row)], |[x, y]| {
        let args = [x.into(), y.into(), width.into(), row.into()];
        bench.launch(kernel, Geometry::line(tokens, threads), &args);
    });
    let expected: Vec<f64> = (0..tokens * row)
        .map(|i| (i / row, i % row))
        .map(|(r, c)| if c < width { element.rounded(x[r * width + c]) } else { f64::NAN })
        .collect();
    bench.same("cast_rows", &y, &expected, &(element, case));
}
