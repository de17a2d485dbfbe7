//! Every source of `resident/kernels` compiles with NVRTC for the cards that it is meant for.
//!
//! This needs `libnvrtc` and no card. Where the library is missing the tests say so and pass, unless
//! `NEO_NVRTC_REQUIRED` is set.

#![cfg(feature = "cuda")]

use neo_backends::resident::{Source, cuda::compile, sources};

/// Cards before Hopper, and Hopper with its matrix units.
const ARCHITECTURES: [&str; 2] = ["sm_80", "sm_90a"];
/// Head sizes for which the flash kernels are tuned, one far below and one between.
const HEAD_DIMS: [usize; 6] = [16, 64, 80, 128, 192, 256];
/// Element types, as the sources name them.
const ELEMENTS: [&str; 2] = ["float", "bf16"];
/// What code for a card begins with.
const ELF: &[u8] = b"\x7fELF";

#[test]
fn sources_compile_for_every_number_format() {
    if !has_nvrtc() {
        return;
    }
    for source in sources::ALL.iter().filter(|source| source.name != sources::ATTENTION_SM90.name) {
        for (macros, arch) in
            macros(source).iter().flat_map(|macros| ARCHITECTURES.map(|arch| (macros, arch)))
        {
            check(source, macros, arch);
        }
    }
}

#[test]
fn flash_attention_compiles_for_every_head_size() {
    if !has_nvrtc() {
        return;
    }
    for head_dim in HEAD_DIMS {
        check(&sources::ATTENTION_SM90, &[("HEAD_DIM", head_dim.to_string())], "sm_90a");
    }
}

#[test]
fn a_source_that_is_wrong_is_refused() {
    if !has_nvrtc() {
        return;
    }
    let wrong =
        Source { name: "wrong.cu", text: "#include \"common.cuh\"\nKERNEL void f() { g(); }" };
    let problem = compile(&wrong, &[], "sm_80").expect_err("`g` is not defined").to_string();
    assert!(problem.contains("wrong.cu(2)"), "{problem}");
}

/// Every choice of number formats that a source is compiled with.
fn macros(source: &Source) -> Vec<Vec<(&'static str, String)>> {
    let element = |name: &str| ("ELEMENT", name.to_owned());
    let moment = |name: &str| ("MOMENT", name.to_owned());
    let choices = ELEMENTS.iter().flat_map(|e| ELEMENTS.map(|m| vec![element(e), moment(m)]));
    if source.name == sources::ADAMW.name {
        choices.collect()
    } else {
        ELEMENTS.map(|name| vec![element(name)]).into()
    }
}

fn check(source: &Source, macros: &[(&str, String)], arch: &str) {
    match compile(source, macros, arch) {
        Ok(code) => assert!(code.starts_with(ELF), "{} {macros:?} {arch}", source.name),
        Err(problem) => panic!("{macros:?}: {problem}"),
    }
}

/// Whether the compiler is there; a machine that was promised to have it fails without.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn has_nvrtc() -> bool {
    // SAFETY: opens and closes a library.
    let is_there = unsafe { cudarc::nvrtc::sys::is_culib_present() };
    if !is_there {
        let is_required = std::env::var_os("NEO_NVRTC_REQUIRED").is_some();
        assert!(!is_required, "NEO_NVRTC_REQUIRED is set, and `libnvrtc` is not found");
        eprintln!("skipped: `libnvrtc` is not found");
    }
    is_there
}
