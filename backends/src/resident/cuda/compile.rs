//! Kernels by NVRTC, kept on disk: the second start of a program compiles nothing.

use std::{
    ffi::{CStr, CString, c_char, c_int},
    path::{Path, PathBuf},
    ptr,
    sync::OnceLock,
};

use cudarc::nvrtc::{
    result::{NvrtcError, compile_program, destroy_program, get_program_log},
    sys,
};
use sha2::{Digest, Sha256};

use super::super::{Error, Source, sources::HEADERS};

/// Where compiled kernels are kept.
static CACHE: OnceLock<PathBuf> = OnceLock::new();

/// Keeps compiled kernels in a folder from now on; the first call counts.
pub fn cache_kernels_in(folder: PathBuf) {
    CACHE.get_or_init(|| folder);
}

/// Compiles a source for an architecture such as `sm_90a` and returns the card's code.
///
/// # Errors
/// A source that NVRTC refuses, with what it says.
pub fn compile(source: &Source, macros: &[(&str, String)], arch: &str) -> Result<Vec<u8>, Error> {
    let options = options(macros, arch);
    let program = Program::new(source)?;
    // SAFETY: the program was just made.
    if let Err(problem) = unsafe { compile_program(program.0, &options) } {
        return Err(Error::Compile {
            source_name: source.name.to_owned(),
            target: arch.to_owned(),
            log: program.log().unwrap_or_else(|_| problem.to_string()),
        });
    }
    program.code().map_err(|problem| Error::call(format!("reading `{}`", source.name), problem))
}

fn options(macros: &[(&str, String)], arch: &str) -> Vec<String> {
    let target = [format!("--gpu-architecture={arch}"), "--std=c++17".to_owned()];
    let macros = macros.iter().map(|(name, value)| format!("-D{name}={value}"));
    target.into_iter().chain(macros).collect()
}

/// The card's code from the cache, or compiled and put there.
pub(super) fn cached(
    source: &Source,
    macros: &[(&str, String)],
    capability: (u32, u32),
) -> Result<Vec<u8>, Error> {
    let (major, minor) = capability;
    // Matrix units of Hopper exist for code of exactly this architecture.
    let arch = format!("sm_{major}{minor}{}", if major == 9 { "a" } else { "" });
    let Some(folder) = CACHE.get() else { return compile(source, macros, &arch) };
    let path = folder.join(format!("{}-{}.cubin", source.name, key(source, macros, &arch)?));
    if let Ok(code) = std::fs::read(&path) {
        return Ok(code);
    }
    let code = compile(source, macros, &arch)?;
    if let Err(problem) = keep(&path, &code) {
        tracing::warn!(%problem, path = %path.display(), "a compiled kernel is not kept");
    }
    Ok(code)
}

/// Writes under another name first, so that a file under its own name is whole.
fn keep(path: &Path, code: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let unfinished = path.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&unfinished, code)?;
    std::fs::rename(&unfinished, path)
}

/// Changes with the sources, the options and the compiler.
fn key(source: &Source, macros: &[(&str, String)], arch: &str) -> Result<String, Error> {
    let (mut major, mut minor): (c_int, c_int) = (0, 0);
    // SAFETY: two places to write to.
    unsafe { sys::nvrtcVersion(&raw mut major, &raw mut minor) }
        .result()
        .map_err(|problem| Error::call("asking NVRTC for its version", problem))?;
    let mut hasher = Sha256::new();
    hasher.update(source.text);
    for header in HEADERS {
        hasher.update(header.text);
    }
    hasher.update(format!("{:?} {major}.{minor}", options(macros, arch)));
    Ok(hasher.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect())
}

/// A program of NVRTC, dropped with it.
struct Program(sys::nvrtcProgram);

impl Program {
    /// The source with all headers at hand.
    fn new(source: &Source) -> Result<Self, Error> {
        let text = |text: &str| {
            CString::new(text).map_err(|problem| Error::call("reading a source", problem))
        };
        let headers: Result<Vec<_>, _> = HEADERS.iter().map(|header| text(header.text)).collect();
        let names: Result<Vec<_>, _> = HEADERS.iter().map(|header| text(header.name)).collect();
        let (headers, names) = (headers?, names?);
        let [header_pointers, name_pointers] = [&headers, &names].map(|strings| {
            strings.iter().map(|string: &CString| string.as_ptr()).collect::<Vec<*const c_char>>()
        });
        let (body, name) = (text(source.text)?, text(source.name)?);
        let mut program = ptr::null_mut();
        // SAFETY: all strings outlive the call, which copies them.
        unsafe {
            sys::nvrtcCreateProgram(
                &raw mut program,
                body.as_ptr(),
                name.as_ptr(),
                headers.len() as c_int,
                header_pointers.as_ptr(),
                name_pointers.as_ptr(),
            )
        }
        .result()
        .map_err(|problem| Error::call(format!("reading `{}`", source.name), problem))?;
        Ok(Self(program))
    }

    fn log(&self) -> Result<String, NvrtcError> {
        // SAFETY: the program lives; the log ends with a zero.
        unsafe {
            let log = get_program_log(self.0)?;
            Ok(CStr::from_ptr(log.as_ptr()).to_string_lossy().into_owned())
        }
    }

    fn code(&self) -> Result<Vec<u8>, NvrtcError> {
        let mut size = 0;
        // SAFETY: the program was compiled; the buffer has the size that was asked for.
        unsafe {
            sys::nvrtcGetCUBINSize(self.0, &raw mut size).result()?;
            let mut code = vec![0_u8; size];
            sys::nvrtcGetCUBIN(self.0, code.as_mut_ptr().cast()).result()?;
            Ok(code)
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: made by `new` and dropped once.
        let _ = unsafe { destroy_program(self.0) };
    }
}
