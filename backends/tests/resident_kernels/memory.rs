//! What kernels stand on: copies in order, cleared memory, work that is recorded and queued again.

use neo_backends::resident::{card::Geometry, sources};

use crate::{
    arrays::{changed, input},
    bench::on_cards,
    numbers::F32,
};

/// More than the memory through which copies to a card go.
const MANY_BYTES: usize = (64 << 20) + 12_345;

#[test]
fn large_copies_arrive_whole() {
    on_cards(|bench| {
        let card = &*bench.card;
        let bytes: Vec<u8> =
            (0..MANY_BYTES as u32).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect();
        let at = card.allocate(MANY_BYTES as u64).unwrap();
        card.write(at, &bytes).unwrap();
        let mut found = vec![0; MANY_BYTES];
        card.read(at, &mut found).unwrap();
        card.release(at);
        assert!(found == bytes, "other bytes came back");
    });
}

#[test]
fn copies_follow_one_another() {
    on_cards(|bench| {
        let card = &*bench.card;
        let at = card.allocate(4096).unwrap();
        for round in 0..100_u8 {
            card.write(at, &[round; 4096]).unwrap();
        }
        card.zero(at.offset(7), 13).unwrap();
        card.write(at.offset(9), &[5]).unwrap();
        let mut found = [0; 4096];
        card.read(at, &mut found).unwrap();
        card.release(at);
        let mut expected = [99; 4096];
        expected[7..20].fill(0);
        expected[9] = 5;
        assert!(found == expected, "{:?}", &found[..24]);
    });
}

#[test]
fn recorded_work_is_done_when_it_is_queued() {
    on_cards(|bench| {
        let card = &*bench.card;
        let kernel = bench.kernel(&sources::RMS_NORM, F32, "rms_norm_weight");
        // Adds a row of ones to the sum.
        let [sum] = bench.run([input(F32, &[1.0; 5]), changed(F32, &[0.0; 5])], |[ones, sum]| {
            let (blocks, d, add) = (1_usize, 5_usize, 1_usize);
            let args = [ones.into(), sum.into(), blocks.into(), d.into(), add.into()];
            let mut add = || card.launch(kernel, Geometry::line(1, 1024), &args);
            // Cards load a kernel when it is launched for the first time.
            add().unwrap();
            match card.record(&mut add).unwrap() {
                Some(recording) => (0..3).for_each(|_| card.replay(recording).unwrap()),
                None => (0..3).for_each(|_| add().unwrap()),
            }
        });
        bench.same("sum", &sum, &[4.0; 5], &"one launch and three replays");
    });
}
