//! Removing copies. One file per method; each keeps the first occurrence in input order.

pub mod exact;
