//! neo
fn main() {}
