//! Mail addresses, found at their `@`.

use std::ops::Range;

/// Longest part before the `@` (RFC 5321, 4.5.3.1.1).
const LOCAL_BYTES: usize = 64;
/// Longest part after it.
const DOMAIN_BYTES: usize = 255;
/// Endings of files that are named like addresses (`icon@2x.png`).
const FILES: [&str; 9] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "js", "css", "html"];

pub(super) fn find(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._%+-".contains(byte);
    let local = bytes[..at].iter().rev().take(LOCAL_BYTES + 1).take_while(|byte| is_local(byte));
    let n_local = local.count();
    if n_local > LOCAL_BYTES {
        return None;
    }
    let start = (at - n_local..at).find(|&start| bytes[start].is_ascii_alphanumeric())?;
    let domain = &bytes[at + 1..];
    let is_domain = |byte: &&u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
    let n_domain = domain.iter().take(DOMAIN_BYTES).take_while(is_domain).count();
    let n_kept = (1..=n_domain).rev().find(|&end| domain[end - 1].is_ascii_alphanumeric())?;
    let domain = std::str::from_utf8(&domain[..n_kept]).ok()?;
    let (name, top) = domain.rsplit_once('.')?;
    let is_top = top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_name = name.split('.').all(|label| !label.is_empty());
    let is_file = FILES.iter().any(|file| top.eq_ignore_ascii_case(file));
    (is_top && is_name && !is_file).then_some(start..at + 1 + n_kept)
}
