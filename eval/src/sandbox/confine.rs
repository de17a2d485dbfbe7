//! What a process gives up before it becomes a program that nobody trusts: Linux's limits, Landlock
//! and a system call filter. None of it can be taken back.
#![expect(unsafe_code, reason = "these system calls have no safe form in the standard library")]

use std::os::fd::AsRawFd;
use std::path::Path;

use super::{CPU_SECS, FILE_BYTES, MEMORY_BYTES, OPEN_FILES};

/// Limits, then files, then system calls: each step needs what the next one takes away.
pub(super) fn confine(folder: &Path) -> Result<(), String> {
    limit(libc::RLIMIT_CPU, CPU_SECS)?;
    limit(libc::RLIMIT_AS, MEMORY_BYTES)?;
    limit(libc::RLIMIT_FSIZE, FILE_BYTES)?;
    limit(libc::RLIMIT_NOFILE, OPEN_FILES)?;
    limit(libc::RLIMIT_CORE, 0)?;
    // SAFETY: prctl with these constants reads no memory of ours.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    checked(i64::from(done), "no_new_privs")?;
    // The program ends when whoever watches it does.
    // SAFETY: as above.
    let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) };
    checked(i64::from(done), "parent death signal")?;
    restrict_files(folder)?;
    filter_system_calls()
}

/// Kills all processes of a group.
pub(super) fn kill_group(leader: u32) {
    let Ok(leader) = i32::try_from(leader) else { return };
    // SAFETY: kill takes numbers only; the group is one that this process made.
    unsafe { libc::kill(-leader, libc::SIGKILL) };
}

fn checked(result: i64, what: &str) -> Result<i64, String> {
    if result >= 0 {
        return Ok(result);
    }
    Err(format!("{what}: {}", std::io::Error::last_os_error()))
}

fn limit(resource: libc::__rlimit_resource_t, most: u64) -> Result<(), String> {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the pointer is to a struct that lives through the call.
    let done = unsafe { libc::setrlimit(resource, &limit) };
    checked(i64::from(done), "resource limit").map(drop)
}

/// Rights of Landlock: execute, read files, read folders.
const READ: u64 = 0b1101;

/// All rights that a version of Landlock knows.
fn all_rights(version: i64) -> u64 {
    let n = match version {
        1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << n) - 1
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// Everything may be read; written is in the folder alone.
fn restrict_files(folder: &Path) -> Result<(), String> {
    let (create, version_flag) = (libc::SYS_landlock_create_ruleset, 1u32);
    // SAFETY: with this flag and no attributes the call only tells the version.
    let version = unsafe { libc::syscall(create, std::ptr::null::<u8>(), 0usize, version_flag) };
    let rights = all_rights(checked(version, "Landlock")?);
    // SAFETY: the pointer is to eight bytes that live through the call, which is told so.
    let rules = unsafe { libc::syscall(create, &raw const rights, size_of::<u64>(), 0u32) };
    let rules = checked(rules, "Landlock rules")?;
    allow(rules, Path::new("/"), READ)?;
    allow(rules, folder, rights)?;
    // SAFETY: the call takes numbers only.
    let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules, 0u32) };
    checked(done, "Landlock restriction").map(drop)
}

fn allow(rules: i64, path: &Path, rights: u64) -> Result<(), String> {
    let folder = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let rule = PathBeneath { allowed: rights, parent: folder.as_raw_fd() };
    let add = libc::SYS_landlock_add_rule;
    // SAFETY: the pointer is to a struct of the kernel's layout that lives through the call.
    let done = unsafe { libc::syscall(add, rules, 1u32, &raw const rule, 0u32) };
    checked(done, "Landlock rule").map(drop)
}

/// System calls that fail: sockets, children, signals and control of other processes, changes of
/// files' owners and modes (which Landlock leaves), and whatever administers the machine.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_io_uring_setup,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_setsid,
    libc::SYS_setpgid,
    libc::SYS_setpriority,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_setattr,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_shmget,
    libc::SYS_msgget,
    libc::SYS_mq_open,
    libc::SYS_memfd_create,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// The kernel's name of the architecture whose numbers the filter holds.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Numbers from here on are another calling convention's.
const OTHER_CONVENTION: u32 = 0x4000_0000;

/// Instructions of the filter, as in `linux/bpf_common.h`.
const LOAD: u16 = 0x20;
const RETURN: u16 = 0x06;
const IF_EQUAL: u16 = 0x15;
const IF_AT_LEAST: u16 = 0x35;
const IF_ANY_BIT: u16 = 0x45;

/// Verdicts of the filter, as in `linux/seccomp.h`.
const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const FAIL: u32 = 0x0005_0000;

fn filter_system_calls() -> Result<(), String> {
    let op = |code, k, yes, no| libc::sock_filter { code, jt: yes, jf: no, k };
    let refuse = |error: i32| op(RETURN, FAIL | error as u32, 0, 0);
    // Offsets of the call's number, the architecture and the first argument in `seccomp_data`.
    let (number, architecture, argument) = (0, 4, 16);
    let mut program = vec![
        op(LOAD, architecture, 0, 0),
        op(IF_EQUAL, ARCHITECTURE, 1, 0),
        op(RETURN, KILL, 0, 0),
        op(LOAD, number, 0, 0),
        op(IF_AT_LEAST, OTHER_CONVENTION, 0, 1),
        op(RETURN, KILL, 0, 0),
    ];
    for call in REFUSED {
        program.extend([op(IF_EQUAL, *call as u32, 0, 1), refuse(libc::EPERM)]);
    }
    // Threads are made by `clone` with its flags in a register; `clone3` hides them in memory.
    program.extend([
        op(IF_EQUAL, libc::SYS_clone3 as u32, 0, 1),
        refuse(libc::ENOSYS),
        op(IF_EQUAL, libc::SYS_clone as u32, 0, 3),
        op(LOAD, argument, 0, 0),
        op(IF_ANY_BIT, libc::CLONE_THREAD as u32, 1, 0),
        refuse(libc::EPERM),
        op(RETURN, ALLOW, 0, 0),
    ]);
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the filter and the program it points to live through the call.
    let done = unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter, 0, 0)
    };
    checked(i64::from(done), "system call filter").map(drop)
}
