//! Hostile programs in the sandbox of `neo eval --run-programs`: each is contained and counts as
//! failed, and the next one runs.
#![cfg(target_os = "linux")]
#![expect(clippy::print_stdout, reason = "a test says why it is skipped")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use neo_eval::program::{ProgramRunner, Verdict};
use neo_eval::sandbox::Sandbox;
use tempfile::TempDir;

/// A sandbox with a short limit, or `None`, said aloud, where none can be.
fn sandbox(base: &Path) -> Option<Sandbox> {
    match Sandbox::new(Path::new(env!("CARGO_BIN_EXE_neo")), base) {
        Ok(sandbox) => Some(sandbox.with_wall_time(Duration::from_secs(5))),
        Err(problem) => {
            println!("skipped: {problem}");
            None
        }
    }
}

#[track_caller]
fn check(program: &str, expected: &str) {
    let base = TempDir::new().expect("a temporary folder");
    let Some(sandbox) = sandbox(base.path()) else { return };
    let started = Instant::now();
    match sandbox.run(program).expect("the sandbox works") {
        Verdict::Passed => panic!("passed: {program}"),
        Verdict::Failed(why) => assert!(why.contains(expected), "{why}"),
    }
    assert!(started.elapsed() < Duration::from_secs(30), "it ended late");
    let next = sandbox.run("assert sorted([2, 1]) == [1, 2]").expect("the sandbox works");
    assert_eq!(next, Verdict::Passed, "the run goes on");
    let left: Vec<PathBuf> = fs_err::read_dir(base.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn right_and_wrong_programs_are_told_apart() {
    check("assert 1 + 1 == 3, 'sum'", "AssertionError: sum");
}

#[test]
fn a_program_that_leaves_before_its_tests_has_not_passed() {
    for leave in ["exit(0)", "import sys\nsys.exit()", "import os\nos._exit(0)", "raise SystemExit"]
    {
        check(&format!("{leave}\nassert False"), "it ended before the end of its tests");
    }
}

#[test]
fn a_fork_bomb_has_no_children() {
    check("import os\nwhile True:\n    os.fork()", "PermissionError");
    check("import subprocess\nsubprocess.run(['sleep', '100'])", "Error");
    check("import multiprocessing as m\np = m.Process(target=print)\np.start()", "PermissionError");
}

#[test]
fn an_endless_loop_is_ended() {
    check("while True: pass", "it ran out of time");
    check("import time\ntime.sleep(1000)", "it ran out of time");
}

#[test]
fn a_memory_hog_gets_no_more_than_its_share() {
    check("x = bytearray(8 << 30)", "MemoryError");
    check("x = []\nwhile True: x.append(bytearray(64 << 20))", "MemoryError");
}

#[test]
fn nothing_outside_its_folder_is_written() {
    let outside = TempDir::new().expect("a temporary folder");
    let path = outside.path().join("file");
    fs_err::write(&path, "before").expect("a writable folder");
    let path = path.display();
    check(&format!("open('{path}', 'w').write('after')"), "PermissionError");
    check(&format!("import os\nos.remove('{path}')"), "PermissionError");
    check(&format!("import os\nos.chmod('{path}', 0)"), "PermissionError");
    check(&format!("import os\nos.mkdir('{path}.d')"), "PermissionError");
    check("open('../beside', 'w')", "PermissionError");
    let text = fs_err::read_to_string(outside.path().join("file")).expect("still there");
    assert_eq!(text, "before");
}

#[test]
fn a_flood_of_files_is_ended() {
    let flood = "i = 0\nwhile True:\n    open(str(i), 'wb').write(b'x' * (8 << 20))\n    i += 1";
    check(flood, "it wrote too much");
    check("open('f', 'wb').write(b'x' * (64 << 20))", "");
}

#[test]
fn there_is_no_network() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let connect = format!("import socket\nsocket.create_connection(('127.0.0.1', {port}))");
    check(&connect, "PermissionError");
}

#[test]
fn nobody_is_killed() {
    check("import os\nos.kill(os.getppid(), 9)", "PermissionError");
    check("import os\nos.killpg(0, 9)", "PermissionError");
    check("import os, signal\nos.kill(-1, signal.SIGKILL)", "PermissionError");
    check("import os\nos.setsid()", "PermissionError");
}
