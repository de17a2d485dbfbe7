//! Runs the real binary in a folder of its own and compares what it prints.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A temporary folder in which the program runs.
pub(crate) struct Workplace {
    folder: TempDir,
}

/// What one run of the program left.
pub(crate) struct Outcome {
    command: String,
    code: Option<i32>,
    /// What it printed as its result.
    pub(crate) stdout: String,
    /// What it told on the way.
    pub(crate) stderr: String,
}

impl Workplace {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, with its folders.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        fs_err::write(&path, content).expect("a writable folder");
        path
    }

    /// The program, ready to start here.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_neo"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("NEO_LOG");
        command
    }

    /// Runs `neo ARGUMENTS` to its end.
    pub(crate) fn neo(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(&mut self.command(arguments))
    }
}

impl Outcome {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the program starts");
        let arguments: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        Self {
            command: format!("neo {}", arguments.join(" ")),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("the program prints UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("the program prints UTF-8"),
        }
    }

    /// Asserts the exit code, and that stderr holds all of `parts`.
    #[track_caller]
    pub(crate) fn check(self, code: i32, parts: &[&str]) -> Self {
        let mut wrong = String::new();
        if self.code != Some(code) {
            writeln!(wrong, "expected exit code {code}, found {:?}", self.code).expect("a string");
        }
        for part in parts.iter().filter(|part| !self.stderr.contains(**part)) {
            writeln!(wrong, "expected `{part}` in stderr").expect("a string");
        }
        if self.stderr.contains("panicked") {
            wrong.push_str("the program panicked\n");
        }
        assert!(
            wrong.is_empty(),
            "{}\n{wrong}--- stdout\n{}--- stderr\n{}",
            self.command,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// All files below a folder with their content, to compare before and after.
pub(crate) fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder).expect("a folder") {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else {
            let content = fs_err::read(&path).expect("a readable file");
            files.push((path, content));
        }
    }
    files.sort();
    files
}

/// Words of the made-up texts: enough that a tokenizer has something to merge.
const WORDS: [(&str, &str); 2] = [
    ("en", "the river ran past the old mill where a miller ground the corn of every village"),
    ("zh", "河水流过古老的磨坊磨坊主人为每一个村庄磨面粉夜里他听着水声入睡"),
];

impl Workplace {
    /// Raw documents in two languages, `raw/en.jsonl` and `raw/zh.jsonl`, and a recipe that makes
    /// a corpus of them: `data.toml`.
    pub(crate) fn write_raw_text(&self) {
        let mut sources = String::new();
        for (language, words) in WORDS {
            let lines: String = (0..200).map(|index| raw_line(language, words, index)).collect();
            self.write(&format!("raw/{language}.jsonl"), lines);
            write!(
                sources,
                "[[source]]\nname = \"{language}\"\nlanguage = \"{language}\"\n\
                 input = [\"raw/{language}.jsonl\"]\nformat = \"jsonl\"\n"
            )
            .expect("a string");
        }
        self.write("data.toml", format!("{DATA_RECIPE}{sources}"));
    }
}

/// A document whose words depend on its number, so that all differ and some are held out.
fn raw_line(language: &str, words: &str, index: usize) -> String {
    let units: Vec<&str> = if language == "zh" {
        words.split("").filter(|unit| !unit.is_empty()).collect()
    } else {
        words.split_inclusive(' ').collect()
    };
    // A multiplicative generator: the texts are the same on every machine.
    let mut state = index as u64 * 2 + 1;
    let text: String = (0..40)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            units[(state >> 33) as usize % units.len()]
        })
        .collect();
    format!("{{\"id\":\"{language}-{index}\",\"text\":\"{}\"}}\n", text.trim())
}

const DATA_RECIPE: &str = "\
name = \"test\"
[engine]
shard_bytes = 20000
memory_bytes = 33554432
[[stage]]
kind = \"dedup\"
method = \"words\"
[tokenizer.train]
n_pieces = 340
character_coverage = 1.0
max_piece_chars = 8
[output]
format = \"jsonl\"
";
