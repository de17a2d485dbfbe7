//! Runs programs that a model wrote: one process each, without network, children or files outside
//! its own folder, with limits on time, memory and disk.
//!
//! The program starts this very executable again, which gives up what the program must not have
//! (`confine.rs`) and then becomes the interpreter. What the kernel does not refuse, the limits end;
//! what the limits do not end, this side kills with its whole process group.

#[cfg(target_os = "linux")]
mod confine;

use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::program::{ProgramRunner, Verdict};
use crate::{Error, Result};

/// First argument that makes the executable confine itself and become an interpreter.
pub const CONFINED: &str = "__confined";

/// Seconds of wall time for one program.
const WALL_SECS: u64 = 10;
/// Seconds of processor time.
const CPU_SECS: u64 = 10;
/// Bytes of address space.
const MEMORY_BYTES: u64 = 1 << 30;
/// Bytes of one file.
const FILE_BYTES: u64 = 16 << 20;
/// Bytes of all files that a program leaves in its folder.
const FOLDER_BYTES: u64 = 64 << 20;
/// Open files.
const OPEN_FILES: u64 = 64;
/// Pause between two looks at a running program.
const PAUSE: Duration = Duration::from_millis(10);

/// A place to run programs in.
#[derive(Debug)]
pub struct Sandbox {
    executable: PathBuf,
    interpreter: PathBuf,
    base: PathBuf,
    wall: Duration,
}

impl Sandbox {
    /// A sandbox that starts `executable` (this program) again and keeps folders under `base`.
    ///
    /// # Errors
    /// No Python interpreter, or a machine that cannot confine programs: then none is run.
    pub fn new(executable: &Path, base: &Path) -> Result<Self> {
        let sandbox = Self {
            executable: executable.to_owned(),
            interpreter: interpreter()?,
            base: base.to_owned(),
            wall: Duration::from_secs(WALL_SECS),
        };
        match sandbox.run("print(1)")? {
            Verdict::Passed => Ok(sandbox),
            Verdict::Failed(why) => Err(Error::Setting(format!(
                "programs cannot be confined on this machine, so none is run: {why}"
            ))),
        }
    }

    /// The same with another limit on wall time.
    pub fn with_wall_time(self, wall: Duration) -> Self {
        Self { wall, ..self }
    }

    fn run_in(&self, folder: &Path, program: &str) -> Result<Verdict> {
        let io = || neo_data::Error::io(folder);
        let mark = Mark::new(folder);
        fs_err::write(folder.join("program.py"), mark.behind(program)).map_err(io())?;
        let log = fs_err::File::create(folder.join("stderr")).map_err(io())?;
        let mut command = Command::new(&self.executable);
        command.arg(CONFINED).arg(folder).arg(&self.interpreter);
        command.env_clear().current_dir(folder).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.into_parts().0);
        let child = command.spawn().map_err(neo_data::Error::io(&self.executable))?;
        let ended = self.wait(child, folder)?;
        Ok(match ended {
            Ok(status) if status.success() && mark.is_made() => Verdict::Passed,
            Ok(status) if status.success() => {
                Verdict::Failed("it ended before the end of its tests".to_owned())
            }
            Ok(status) => {
                Verdict::Failed(format!("{status}: {}", last_line(&folder.join("stderr"))))
            }
            Err(limit) => Verdict::Failed(limit.to_owned()),
        })
    }

    /// Waits for the end, or kills the program at a limit.
    fn wait(&self, mut child: Child, folder: &Path) -> Result<Result<ExitStatus, &'static str>> {
        let started = Instant::now();
        let ended = loop {
            let status = child.try_wait().map_err(neo_data::Error::io(&self.executable))?;
            if let Some(status) = status {
                break Ok(status);
            }
            if started.elapsed() > self.wall {
                break Err("it ran out of time");
            }
            if size(folder) > FOLDER_BYTES {
                break Err("it wrote too much");
            }
            std::thread::sleep(PAUSE);
        };
        kill_group(child.id());
        child.kill().ok();
        child.wait().map_err(neo_data::Error::io(&self.executable))?;
        Ok(ended)
    }
}

/// What a program leaves at its very end: one that calls `exit()` before its tests has not passed.
struct Mark {
    path: PathBuf,
    text: String,
}

impl Mark {
    /// A mark that no program knows beforehand.
    fn new(folder: &Path) -> Self {
        let text = format!("{:016x}", RandomState::new().hash_one(folder));
        Self { path: folder.join("end"), text }
    }

    /// The program with the mark behind it. A string of JSON is one of Python.
    fn behind(&self, program: &str) -> String {
        let path = serde_json::Value::from(self.path.to_string_lossy());
        format!(
            "{program}\n\nwith __import__('builtins').open({path}, 'w') as end:\n    end.write('{}')\n",
            self.text
        )
    }

    fn is_made(&self) -> bool {
        std::fs::read(&self.path).is_ok_and(|found| found == self.text.as_bytes())
    }
}

impl ProgramRunner for Sandbox {
    fn run(&self, program: &str) -> Result<Verdict> {
        let folder = new_folder(&self.base)?;
        let verdict = self.run_in(&folder, program);
        fs_err::remove_dir_all(&folder).map_err(neo_data::Error::io(&folder))?;
        verdict
    }
}

/// Confines this process and turns it into the interpreter; comes back only with what failed.
///
/// `arguments` are those behind [`CONFINED`]: the folder and the interpreter.
pub fn become_confined(arguments: &[OsString]) -> String {
    let [folder, interpreter] = arguments else {
        return "expected a folder and an interpreter".into();
    };
    #[cfg(target_os = "linux")]
    let confined = confine::confine(Path::new(folder));
    #[cfg(not(target_os = "linux"))]
    let confined: Result<(), String> = Err("only Linux can confine programs".into());
    match confined {
        Err(problem) => problem,
        Ok(()) => {
            let mut command = Command::new(interpreter);
            command.args(["-I", "-B", "program.py"]).env_clear().current_dir(folder);
            command.exec().to_string()
        }
    }
}

/// The interpreter itself: what is found by name may be a script that starts it.
fn interpreter() -> Result<PathBuf> {
    let missing = || Error::Setting("no `python3` is found, which the programs need".into());
    let mut command = Command::new("python3");
    command.args(["-I", "-c", "import sys; print(sys.executable)"]);
    let output = command.output().map_err(|_| missing())?;
    let path = String::from_utf8(output.stdout).map_err(|_| missing())?;
    if output.status.success() { Ok(PathBuf::from(path.trim_end())) } else { Err(missing()) }
}

fn new_folder(base: &Path) -> Result<PathBuf> {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = base.join(format!("neo-sandbox-{}-{next}", std::process::id()));
    fs_err::create_dir(&folder).map_err(neo_data::Error::io(&folder))?;
    Ok(fs_err::canonicalize(&folder).map_err(neo_data::Error::io(&folder))?)
}

/// Bytes of the files below a folder.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of_entry = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.filter_map(std::result::Result::ok).map(of_entry).sum()
}

fn last_line(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(4096)..]).into_owned();
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
}

#[cfg(target_os = "linux")]
fn kill_group(leader: u32) {
    confine::kill_group(leader);
}

#[cfg(not(target_os = "linux"))]
fn kill_group(_: u32) {}
