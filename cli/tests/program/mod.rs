//! Runs the real binary in a folder of its own and compares what it prints.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A temporary folder in which the program runs.
pub struct Workplace {
    folder: TempDir,
}

/// What one run of the program left.
pub struct Outcome {
    command: String,
    code: Option<i32>,
    /// What it printed as its result.
    pub stdout: String,
    stderr: String,
}

impl Workplace {
    /// An empty folder.
    pub fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file, with its folders.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().expect("a file lies in a folder")).expect("a folder");
        fs_err::write(&path, content).expect("a writable folder");
        path
    }

    /// The program, ready to start here.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_neo"));
        command.args(arguments).current_dir(self.folder.path()).env_remove("NEO_LOG");
        command
    }

    /// Runs `neo ARGUMENTS` to its end.
    pub fn neo(&self, arguments: &[&str]) -> Outcome {
        let output = self.command(arguments).output().expect("the program starts");
        Outcome {
            command: format!("neo {}", arguments.join(" ")),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("the program prints UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("the program prints UTF-8"),
        }
    }
}

impl Outcome {
    /// Asserts the exit code, and that stderr holds all of `parts`.
    #[track_caller]
    pub fn check(self, code: i32, parts: &[&str]) -> Self {
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
pub fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
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
