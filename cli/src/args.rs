//! What can be typed after `neo`. The doc comments are the help text; each verb's own options stand
//! beside its code in `commands/`. `tests/help.rs` freezes the list: settings belong into recipes.

use clap::{Parser, Subcommand};

use crate::commands;

/// Pretrain a bilingual language model, from raw text to a released model, with nothing hidden.
#[derive(Debug, Parser)]
#[command(name = "neo", version, max_term_width = 100, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or input, 75 interrupted but \
                        saved.\nNEO_LOG=info (or debug, or neo_train=debug) shows what happens \
                        inside.")]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs, in the order in which a model comes to be.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show everything at once: generate a corpus, clean it, train on it, compare, export, report
    Demo(commands::demo::Args),
    /// Clean documents and make a corpus of token shards, everything counted
    Data(commands::data::Args),
    /// Train, convert and use tokenizers
    Tokenizer(commands::tokenizer::Args),
    /// Tell what a recipe asks of a machine: parameters, FLOPs, memory, time and tokens
    Plan(commands::plan::Args),
    /// Train a recipe: all its phases, resumable to the bit
    Train(commands::train::Args),
    /// Measure held-out loss and bits per byte, or benchmarks; compare results
    Eval(commands::eval::Args),
    /// Give the log-probability of every token of texts or ids
    Score(commands::score::Args),
    /// Continue a text
    Generate(commands::generate::Args),
    /// Make a Hugging Face folder from a model or a checkpoint
    Export(commands::export::Args),
    /// Make a model folder from a Hugging Face folder, every tensor checked
    Import(commands::import::Args),
    /// Check every byte of a checkpoint, of a run's checkpoints, or of a model
    Verify(commands::verify::Args),
    /// Draw a run as one self-contained page
    Report(commands::report::Args),
    /// Time training steps on a device, operation by operation
    Bench(commands::bench::Args),
    /// Show what this build can do, which devices it finds, and whether they compute correctly
    Doctor(commands::doctor::Args),
}
