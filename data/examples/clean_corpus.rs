//! From raw files to a corpus folder through the library alone, without the program `neo`:
//! `cargo run --release --example clean_corpus -- RECIPE OUT`
//!
//! Paths of the recipe are taken as they stand; `neo data run` also expands `~`.

use std::{
    io::{Write, stderr, stdout},
    path::Path,
    sync::{Mutex, PoisonError, atomic::AtomicBool},
};

use neo_data::{
    Result,
    engine::{Event, Observer},
    pipeline::{self, Recipe},
};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(recipe), Some(out)) = (arguments.next(), arguments.next()) else {
        return Err(neo_data::Error::Setting("expected two arguments: RECIPE OUT".to_owned()));
    };
    let recipe = Recipe::read(Path::new(&recipe), &arguments.collect::<Vec<_>>())?;
    let shown = Mutex::new(String::new());
    let on_event = |event: Event<'_>| match event {
        Event::Stage { .. } => {}
        Event::Warning(what) => drop(writeln!(stderr(), "warning: {what}")),
        Event::Progress { stage, .. } => {
            let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            if *shown != stage {
                drop(writeln!(stderr(), "{stage}"));
                *shown = stage.to_owned();
            }
        }
    };
    let never = AtomicBool::new(false);
    let done = pipeline::run(&recipe, Path::new(&out), Observer::new(&on_event, &never))?;
    if done.n_made == 0 {
        drop(writeln!(stderr(), "nothing left to do"));
    }
    for source in &done.account.sources {
        let (input, kept) = (source.input(), source.kept());
        let share = 100.0 * kept.bytes as f64 / input.bytes.max(1) as f64;
        let tokens = (source.train.tokens, source.held_out.tokens);
        drop(writeln!(
            stdout(),
            "{}: {} records, {} documents kept ({share:.1} % of the bytes), tokens {} and {} held out",
            source.name,
            input.documents,
            kept.documents,
            tokens.0,
            tokens.1
        ));
    }
    Ok(())
}
