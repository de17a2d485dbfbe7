//! The layout rules of `docs/ARCHITECTURE.md`, as tests: who may use whom, who may name hardware,
//! what every file opens with, and that recipes, commands and links in the documents are real.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Crate, and the crates of this workspace that it may use.
const ARROWS: [(&str, &[&str]); 6] = [
    ("backends", &[]),
    ("data", &[]),
    ("model", &["neo-backends"]),
    ("eval", &["neo-backends", "neo-model", "neo-data"]),
    ("train", &["neo-backends", "neo-model", "neo-eval", "neo-data"]),
    ("cli", &["neo-backends", "neo-model", "neo-eval", "neo-train", "neo-data"]),
];

/// Words for hardware and for the libraries that drive it. Only `backends` says them.
const HARDWARE: [&str; 8] = ["cuda", "wgpu", "vulkan", "metal", "rocm", "libtorch", "tch", "flex"];

/// File names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "manager"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace")
}

fn read(path: &Path) -> String {
    fs_err::read_to_string(path).expect("files of the repository are UTF-8")
}

/// Files under `folder` that end in `.extension`, build outputs and hidden folders left out.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs_err::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().expect("entries have names").to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "out" {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("below the root").display().to_string()
}

/// The code of a source file: comments and everything from the unit tests on are left out.
fn code(source: &str) -> impl Iterator<Item = &str> {
    source
        .lines()
        .take_while(|line| {
            !["#[cfg(test)]", "#[cfg(all(test,"].iter().any(|test| line.starts_with(test))
        })
        .map(|line| line.split("//").next().expect("split gives at least one part"))
}

/// Whether `word` stands in `line` on its own.
fn names(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part.eq_ignore_ascii_case(word))
}

fn assert_none(offences: Vec<String>, rule: &str) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn crates_use_each_other_in_one_direction() {
    let mut offences = Vec::new();
    for (name, allowed) in ARROWS {
        let manifest: toml::Table =
            read(&root().join(name).join("Cargo.toml")).parse().expect("a valid manifest");
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(used) = manifest.get(section).and_then(toml::Value::as_table) else {
                continue;
            };
            let own = used.keys().filter(|used| used.starts_with("neo-"));
            offences.extend(
                own.filter(|used| !allowed.contains(&used.as_str()))
                    .map(|used| format!("{name} -> {used} ({section})")),
            );
        }
    }
    assert_none(offences, "cli -> train -> eval -> model -> backends; data uses none");
}

#[test]
fn data_knows_no_tensors() {
    let manifest = read(&root().join("data/Cargo.toml"));
    for library in ["burn", "cubecl", "tch", "candle"] {
        assert!(!names(&manifest, library), "data depends on {library}");
    }
}

#[test]
fn only_backends_names_hardware() {
    let mut offences = Vec::new();
    for (name, _) in ARROWS.iter().filter(|(name, _)| *name != "backends") {
        for path in files(&root().join(name).join("src"), "rs") {
            let source = read(&path);
            for (index, line) in code(&source).enumerate() {
                if HARDWARE.iter().any(|word| names(line, word)) {
                    offences.push(format!("{}:{}: {}", relative(&path), index + 1, line.trim()));
                }
            }
        }
    }
    assert_none(offences, "hardware is named in `backends` only");
}

#[test]
fn only_the_program_prints_and_reads_the_environment() {
    let mut offences = Vec::new();
    for (name, _) in ARROWS.iter().filter(|(name, _)| *name != "cli") {
        for path in files(&root().join(name).join("src"), "rs") {
            let source = read(&path);
            for (index, line) in code(&source).enumerate() {
                let forbidden = ["env::var", "env::args", "println!(", "eprintln!(", "print!("];
                if forbidden.iter().any(|call| line.contains(call)) {
                    offences.push(format!("{}:{}: {}", relative(&path), index + 1, line.trim()));
                }
            }
        }
    }
    assert_none(offences, "libraries return values and emit `tracing` events");
}

#[test]
fn every_source_file_opens_with_its_purpose() {
    let offences = files(root(), "rs")
        .into_iter()
        .filter(|path| !read(path).starts_with("//! "))
        .map(|path| relative(&path))
        .collect();
    assert_none(offences, "the first line of a file is `//! ` and what it is for");
}

#[test]
fn file_names_say_what_is_inside() {
    let offences = files(root(), "rs")
        .iter()
        .chain(&files(root(), "py"))
        .map(|path| relative(path))
        .filter(|path| path.split(['/', '.']).any(|part| EMPTY_NAMES.contains(&part)))
        .collect();
    assert_none(offences, "files are named by what they hold");
}

#[test]
fn silenced_lints_give_their_reason() {
    let offences = files(root(), "rs")
        .into_iter()
        .filter(|path| !path.ends_with("tests/tidy.rs"))
        .filter(|path| read(path).contains("#[allow(") || read(path).contains("#![allow("))
        .map(|path| relative(&path))
        .collect();
    assert_none(offences, "use `#[expect(lint, reason = \"..\")]`");
}

#[test]
fn training_recipes_are_accepted_by_the_program() {
    let recipes = files(&root().join("train/recipes"), "toml");
    assert!(!recipes.is_empty(), "no recipe found");
    for recipe in recipes {
        let output = neo(&["plan", &recipe.display().to_string()]);
        assert!(
            output.status.success(),
            "{}: {}",
            relative(&recipe),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn neo(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neo"));
    command.args(arguments).current_dir(root()).output().expect("the program starts")
}

/// Documents whose commands and links are checked.
fn documents() -> Vec<PathBuf> {
    let mut documents = vec![root().join("README.md")];
    documents.extend(files(&root().join("docs"), "md"));
    documents
}

/// Words after `neo` or `cargo run .. --` of every command line in a document's shell blocks.
fn commands(document: &str) -> Vec<Vec<String>> {
    let mut in_shell = false;
    let mut found = Vec::new();
    for line in document.replace("\\\n", " ").lines() {
        if line.starts_with("```") {
            in_shell = matches!(line.trim(), "```sh" | "```bash" | "```console");
            continue;
        }
        let line = line.trim().trim_start_matches("$ ");
        let line = line.split(" #").next().expect("split gives at least one part");
        let words: Vec<&str> = line.split_whitespace().collect();
        let start = match words.as_slice() {
            ["neo", ..] => Some(0),
            ["cargo", "run", ..] => words.iter().position(|word| *word == "--"),
            _ => None,
        };
        if let Some(start) = start.filter(|_| in_shell) {
            let end = words.iter().position(|word| ["|", ">", "&&"].contains(word));
            let words = &words[start + 1..end.unwrap_or(words.len())];
            found.push(words.iter().map(|word| (*word).to_owned()).collect());
        }
    }
    found
}

/// What of a command line the program does not know: its verbs or one of its options.
fn unknown_part(words: &[String]) -> Option<String> {
    let line = words.join(" ");
    // Further plain words are verbs, or arguments, which `--help` makes clap pass over.
    let mut arguments: Vec<&str> = words
        .iter()
        .map(String::as_str)
        .take_while(|word| !word.starts_with('-'))
        .take(3)
        .collect();
    arguments.push("--help");
    let output = neo(&arguments);
    if !output.status.success() {
        return Some(line);
    }
    let help = String::from_utf8_lossy(&output.stdout);
    let known = |option: &str| help.split_whitespace().any(|word| word.trim_matches(',') == option);
    words
        .iter()
        .filter(|word| word.starts_with("--"))
        .map(|word| word.split('=').next().expect("split gives at least one part"))
        .find(|option| !known(option))
        .map(|option| format!("{line}: no option {option}"))
}

#[test]
fn commands_in_the_documents_exist() {
    let mut offences = Vec::new();
    let mut checked = 0;
    for document in documents() {
        for words in commands(&read(&document)).iter().filter(|words| !words.is_empty()) {
            checked += 1;
            offences
                .extend(unknown_part(words).map(|part| format!("{}: {part}", relative(&document))));
        }
    }
    assert!(checked > 0, "no command found in the documents");
    assert_none(offences, "a document shows a command that the program does not have");
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    let mut offences = Vec::new();
    for document in documents() {
        let text = read(&document);
        let folder = document.parent().expect("a document lies in a folder");
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.starts_with("http")) {
            let file = target.split('#').next().expect("split gives at least one part");
            if !file.is_empty() && !folder.join(file).exists() {
                offences.push(format!("{}: {target}", relative(&document)));
            }
        }
    }
    assert_none(offences, "a link leads nowhere");
}
