//! `neo plan`: what a recipe asks of a machine, as a table or as JSON. The arithmetic is in
//! `neo_train::plan`.

use std::{fmt::Write as _, path::PathBuf};

use neo_train::{
    plan::{Machine, Plan, StepForm},
    recipe::{MicroBatch, Recipe},
    room::largest_micro_batch,
};

use crate::error::Usage;

/// Options of `neo plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Recipe to work out, such as train/recipes/neo_7b.toml
    recipe: PathBuf,
    /// Override one value of the recipe, such as batch.seq_len=4096; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Share of the peak that is reached, attention counted in full
    #[arg(long, default_value_t = 0.4)]
    mfu: f64,
    /// Peak of one device in TFLOP/s; 989 is a Hopper card in dense bf16
    #[arg(long, default_value_t = 989.0)]
    peak_tflops: f64,
    /// Devices that share the batch, for the time; memory is that of one with the whole model
    #[arg(long, default_value_t = 1)]
    devices: u64,
    /// Memory of the device, such as 80GiB, for a micro-batch that is `auto`; without it, what this
    /// machine's fastest device has free
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    memory: Option<u64>,
    /// Plan the step that lives whole on an NVIDIA card of the Hopper generation, to the byte
    #[arg(long)]
    hopper: bool,
    /// Print JSON: bytes, FLOPs, tokens and days as plain numbers
    #[arg(long)]
    json: bool,
}

/// Prints the plan of a recipe.
///
/// # Errors
/// The recipe cannot be read, makes no sense or does not fit; a figure of the machine is not above 0.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let machine = machine(&args)?;
    let recipe = Recipe::read(&args.recipe, &args.overrides)?;
    let form = if args.hopper { StepForm::Card { has_hopper: true } } else { StepForm::Tensors };
    form.check(&recipe, 1)?;
    let is_auto = recipe.batch.micro_batch_sequences == MicroBatch::Auto;
    if args.hopper && is_auto && args.memory.is_none() {
        let problem = "a micro-batch that is `auto` depends on the card's memory";
        return Err(
            usage(format!("{problem}, expected `--memory`, such as `--memory 80GiB`")).into()
        );
    }
    let (rows, origin) = micro_batch(&recipe, args.memory, form)?;
    form.check(&recipe, rows)?;
    let plan = Plan::new(&recipe, rows, form, machine);
    if args.json {
        println!("{}", serde_json::to_string_pretty(&plan)?);
    } else {
        print!("{}", table(&plan, origin));
    }
    Ok(())
}

/// Rows of a micro-batch, and where the number comes from.
fn micro_batch(
    recipe: &Recipe,
    memory: Option<u64>,
    form: StepForm,
) -> anyhow::Result<(usize, String)> {
    let stated = match recipe.batch.micro_batch_sequences {
        MicroBatch::Rows(rows) => Some(rows),
        MicroBatch::Auto => None,
    };
    match (stated, memory) {
        (Some(rows), None) => Ok((rows, "rows".to_owned())),
        (Some(rows), Some(memory)) => {
            let most = largest_micro_batch(recipe, memory, form).map_or(0, |fit| fit.rows);
            let verdict = if most < rows {
                format!("rows, which do not fit; at most {most} do")
            } else {
                format!("rows; at most {most} fit")
            };
            Ok((rows, verdict))
        }
        (None, memory) => {
            let free = memory.map_or_else(free_here, Ok)?;
            let fit = largest_micro_batch(recipe, free, form)?;
            Ok((fit.rows, format!("rows, {fit}")))
        }
    }
}

/// What the fastest device of this machine has free.
fn free_here() -> anyhow::Result<u64> {
    let device = neo_backends::device::open("auto")?;
    let unknown = || {
        usage("the device does not tell how much memory is free, expected `--memory`".to_owned())
    };
    Ok(neo_backends::device::free_memory(&device).ok_or_else(unknown)?)
}

/// Reads a size such as `80GiB`.
fn bytes(text: &str) -> Result<u64, String> {
    let expected = || "expected a size such as `80GiB`, `141GB` or `512MiB`".to_owned();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(expected)?;
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "MiB" => 2f64.powi(20),
        "GiB" => 2f64.powi(30),
        "MB" => 1e6,
        "GB" => 1e9,
        _ => return Err(expected()),
    };
    let number: f64 = number.trim().parse().map_err(|_| expected())?;
    if number.is_finite() && number > 0.0 { Ok((number * scale) as u64) } else { Err(expected()) }
}

fn machine(args: &Args) -> Result<Machine, Usage> {
    let Args { mfu, peak_tflops, devices, .. } = *args;
    if !(mfu > 0.0 && mfu <= 1.0) {
        return Err(usage(format!("`--mfu` is `{mfu}`, expected a share above 0, at most 1")));
    }
    if !(peak_tflops.is_finite() && peak_tflops > 0.0) {
        return Err(usage(format!(
            "`--peak-tflops` is `{peak_tflops}`, expected a number above 0"
        )));
    }
    if devices == 0 {
        return Err(usage("`--devices` is `0`, expected at least 1".to_owned()));
    }
    Ok(Machine { mfu, peak_tflops, n_devices: devices })
}

fn usage(problem: String) -> Usage {
    Usage::with_hint(problem, "`neo plan --help` explains the options")
}

/// The plan as text for a terminal, a section for each question; `origin` tells of the micro-batch.
fn table(plan: &Plan, origin: String) -> String {
    let memory =
        memory(plan, row("micro-batch", grouped(plan.micro_batch_sequences as u64), origin));
    let sections = [parameters(plan), flops(plan), memory, budget(plan), time(plan)];
    let mut text = format!("{}\n", plan.recipe);
    for (title, rows) in sections {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "\n{title}");
        for (name, value, note) in rows {
            let line = format!("  {name:<28}{value:>24}  {note}");
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    text
}

/// Name, value and note.
type Row = (String, String, String);
type Section = (&'static str, Vec<Row>);

fn row(name: &str, value: String, note: impl Into<String>) -> Row {
    (name.to_owned(), value, note.into())
}

fn parameters(plan: &Plan) -> Section {
    let parts = plan.parameters;
    let part = |name, count: u64| {
        row(name, grouped(count), format!("{:.1} %", 100.0 * count as f64 / parts.total as f64))
    };
    let rows = vec![
        part("embedding", parts.embedding),
        part("attention", parts.attention),
        part("feed-forward", parts.feed_forward),
        part("norms", parts.norms),
        part("head", parts.head),
        row("total", grouped(parts.total), ""),
    ];
    ("parameters", rows)
}

fn flops(plan: &Plan) -> Section {
    let flops = plan.flops_per_token;
    let rows = vec![
        row("attention in full", grouped(flops.full), "6 (N - V d) + 12 L n_heads head_dim seq"),
        row("attention halved (causal)", grouped(flops.causal), ""),
    ];
    ("FLOPs per token", rows)
}

fn memory(plan: &Plan, micro_batch: Row) -> Section {
    let memory = &plan.memory;
    let (title, activations, logits) = match plan.form {
        StepForm::Tensors => {
            ("memory on one device", "estimate, one micro-batch", "f32, with gradient")
        }
        StepForm::Card { .. } => (
            "memory of a step on a Hopper card, to the byte; 1 GiB more for driver and libraries",
            "with tables and scratch, one micro-batch",
            "their gradient in the same place",
        ),
    };
    let part = |name, bytes, note: &str| row(name, bytes_text(bytes), note);
    let mut rows = vec![
        micro_batch,
        part("master weights", memory.master_weights, "f32"),
        part("compute weights", memory.compute_weights, "bf16"),
        part("gradients", memory.gradients, "f32"),
        part(
            "moments",
            memory.moments,
            if memory.moments < 2 * memory.gradients { "bf16, two" } else { "f32, two" },
        ),
        part("activations", memory.activations, activations),
        part("logits chunk", memory.logits_chunk, logits),
        part("total", memory.total(), ""),
    ];
    if memory.compute_weights == 0 {
        rows.retain(|(name, ..)| name != "compute weights");
    }
    (title, rows)
}

fn budget(plan: &Plan) -> Section {
    let mut rows = Vec::new();
    for phase in &plan.phases {
        let note = format!(
            "{} steps of {} tokens, {}",
            grouped(phase.steps),
            grouped(phase.tokens_per_step),
            days(phase.days)
        );
        rows.push(row(&phase.name, grouped(phase.tokens), note));
    }
    rows.push(row(
        "total",
        grouped(plan.total_tokens),
        format!("{} steps, {:.3e} FLOPs", grouped(plan.total_steps), plan.total_flops),
    ));
    ("tokens", rows)
}

fn time(plan: &Plan) -> Section {
    let time = plan.time;
    let Machine { mfu, peak_tflops, n_devices } = time.machine;
    let machine =
        format!("MFU {mfu} ({:.3} causal) of {n_devices} x {peak_tflops} TFLOP/s", time.mfu_causal);
    let rows = vec![
        row("tokens per second", grouped(time.tokens_per_sec as u64), machine),
        row("tokens per day", grouped(time.tokens_per_day as u64), ""),
        row("whole run", days(time.days), ""),
    ];
    ("time", rows)
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes_text(bytes: u64) -> String {
    let mib = bytes as f64 / f64::from(1 << 20);
    if mib >= 1024.0 { format!("{:.3} GiB", mib / 1024.0) } else { format!("{mib:.3} MiB") }
}

fn days(days: f64) -> String {
    let hours = days * 24.0;
    if days >= 1.0 {
        format!("{days:.1} days")
    } else if hours >= 1.0 {
        format!("{hours:.1} hours")
    } else {
        format!("{:.1} seconds", hours * 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn plan() -> Plan {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../train/recipes/neo_7b_decay.toml");
        let machine = Machine { mfu: 0.4, peak_tflops: 989.0, n_devices: 512 };
        Plan::new(&Recipe::read(&path, &[]).unwrap(), 1, StepForm::Tensors, machine)
    }

    /// A row of the table that starts with `name` and holds `expected`.
    fn check(name: &str, expected: &str) {
        let text = table(&plan(), "rows".to_owned());
        let rows: Vec<&str> =
            text.lines().filter(|line| line.trim_start().starts_with(name)).collect();
        assert!(rows.iter().any(|row| row.contains(expected)), "{name}: {rows:?}");
    }

    #[test]
    fn the_table_has_every_figure() {
        check("total", "7,793,716,224");
        check("attention in full", "54,033,647,616");
        check("moments", "58.068 GiB");
        check("fundamental", "3,061,841,920,000");
        check("decay", "148,000 steps of 5,242,880 tokens");
        check("tokens per second", "of 512 x 989 TFLOP/s");
        check("whole run", "days");
    }

    #[test]
    fn numbers_are_grouped_by_three() {
        for (number, expected) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (7_793_716_224, "7,793,716,224")]
        {
            assert_eq!(grouped(number), expected);
        }
    }

    #[test]
    fn units_fit_the_size() {
        assert_eq!(bytes_text(3 << 19), "1.500 MiB");
        assert_eq!(bytes_text(3 << 29), "1.500 GiB");
        let shown = [2.0, 0.5, 0.5 / 86_400.0].map(days);
        assert_eq!(shown, ["2.0 days", "12.0 hours", "0.5 seconds"]);
    }

    #[test]
    fn sizes_have_a_unit() {
        for (text, expected) in
            [("80GiB", 80 << 30), ("0.5 MiB", 1 << 19), ("141GB", 141_000_000_000)]
        {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for wrong in ["80", "GiB", "80gib", "-1GiB", "0GiB", "80G", ""] {
            assert!(bytes(wrong).unwrap_err().contains("`80GiB`"), "{wrong}");
        }
    }

    #[test]
    fn the_micro_batch_is_stated_or_chosen() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../train/recipes/neo_2b.toml");
        let rows = |value: &str, memory| {
            let value = format!("batch.micro_batch_sequences={value}");
            micro_batch(&Recipe::read(&path, &[value]).unwrap(), memory, StepForm::Tensors)
        };
        assert_eq!(rows("4", None).unwrap(), (4, "rows".to_owned()));
        assert_eq!(
            rows("4", Some(80 << 30)).unwrap(),
            (4, "rows, which do not fit; at most 2 do".to_owned())
        );
        let (most, origin) = rows("auto", Some(80 << 30)).unwrap();
        assert_eq!(most, 2);
        assert!(origin.contains("80.0 GiB free"), "{origin}");
        assert!(rows("auto", Some(1 << 30)).is_err());
    }

    #[test]
    fn a_machine_must_do_something() {
        let args = |mfu, peak_tflops, devices| Args {
            recipe: PathBuf::new(),
            overrides: Vec::new(),
            mfu,
            peak_tflops,
            devices,
            memory: None,
            hopper: false,
            json: false,
        };
        assert!(machine(&args(0.4, 989.0, 1)).is_ok());
        for wrong in [
            args(0.0, 989.0, 1),
            args(1.1, 989.0, 1),
            args(f64::NAN, 989.0, 1),
            args(0.4, 0.0, 1),
            args(0.4, f64::INFINITY, 1),
            args(0.4, 989.0, 0),
        ] {
            assert!(machine(&wrong).is_err(), "{wrong:?}");
        }
    }
}
