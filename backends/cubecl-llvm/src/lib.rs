//! Stand-in for `cubecl-llvm`.
