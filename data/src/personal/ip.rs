//! IP addresses, except those that name no machine of anyone's and numbers of versions.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use super::stands_alone;

/// Longest written form of version 4 and of version 6.
const V4_BYTES: usize = 15;
const V6_BYTES: usize = 39;
/// Groups of version 6 from which `::` is taken for an address and not for a path in a program.
const MIN_GROUPS: usize = 3;
/// Bytes before a number in which it may be called a version.
const VERSION_REACH: usize = 12;
const VERSION_WORDS: [&str; 6] = ["version", "ver.", "release", "build", "版本", "section"];

pub(super) fn find_v4(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let is_part = |byte: &&u8| byte.is_ascii_digit() || **byte == b'.';
    let run = bytes[at..].iter().take(V4_BYTES + 1).take_while(is_part).count();
    let end = (at..at + run).rev().find(|&end| bytes[end] != b'.')? + 1;
    let range = at..end;
    let address: Ipv4Addr = std::str::from_utf8(&bytes[range.clone()]).ok()?.parse().ok()?;
    let [first, ..] = address.octets();
    let names_nobody = matches!(first, 0 | 127 | 255);
    let is_small = address.octets().iter().all(|&octet| octet < 10);
    let is_address = !names_nobody && !is_small && !is_version(bytes, at);
    (is_address && stands_alone(bytes, &range)).then_some(range)
}

fn is_version(bytes: &[u8], at: usize) -> bool {
    let before = String::from_utf8_lossy(&bytes[at.saturating_sub(VERSION_REACH)..at]);
    let before = before.to_lowercase();
    VERSION_WORDS.iter().any(|word| before.contains(word))
}

/// Looks around the first `:` of an address.
pub(super) fn find_v6(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let n_hex =
        bytes[..at].iter().rev().take(5).take_while(|byte| byte.is_ascii_hexdigit()).count();
    let start = at - n_hex;
    let is_part = |byte: &&u8| byte.is_ascii_hexdigit() || **byte == b':';
    let run = bytes[start..].iter().take(V6_BYTES + 1).take_while(is_part).count();
    let range = start..start + run;
    let text = std::str::from_utf8(&bytes[range.clone()]).ok()?;
    let _: Ipv6Addr = text.parse().ok()?;
    let n_groups = text.split(':').filter(|group| !group.is_empty()).count();
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    let is_address = n_groups >= MIN_GROUPS && has_digit;
    (is_address && stands_alone(bytes, &range)).then_some(range)
}
