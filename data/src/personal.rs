//! Personal data in texts, put out of sight: mail addresses, phone and identity numbers, IP addresses, bank cards.
//!
//! An optional step between reading and judging. One pass over the bytes stops at `@`, at `:` and where a run of
//! digits begins; what stands there is tried against the kinds, one file each. Each place looks at a bounded stretch,
//! so the time is linear. What is found is replaced by the placeholder of its kind, which holds nothing that would be
//! found again:
//!
//! ```text
//! mail         <EMAIL>         jane@mail.example
//! phone        <PHONE>         +44 20 7946 0958, 13800138000, 010-62751234, (212) 555-0187
//! id_number    <ID_NUMBER>     Chinese identity numbers of 18 characters with the right check character
//! ip           <IP_ADDRESS>    203.0.113.77, 2001:db8::8a2e:370; not 127.0.0.1, nor 1.2.3.4 of a version
//! bank_card    <BANK_CARD>     13 to 19 digits that pass Luhn's test
//! ```

mod bank_card;
mod id_number;
mod ip;
mod mail;
mod phone;

use std::{collections::BTreeMap, ops::Range};

use serde::{Deserialize, Serialize};

/// Which kinds of personal data are masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kinds {
    /// Mail addresses.
    pub mail: bool,
    /// Phone numbers: with a country code, Chinese, of the United States.
    pub phone: bool,
    /// Chinese identity numbers.
    pub id_number: bool,
    /// IP addresses of both versions.
    pub ip: bool,
    /// Numbers of bank cards.
    pub bank_card: bool,
}

/// A kind of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Mail,
    Phone,
    IdNumber,
    Ip,
    BankCard,
}

/// A text without personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    /// The text with placeholders.
    pub text: String,
    /// How many of each kind there were, by the names of [`Kinds`].
    pub counts: BTreeMap<&'static str, u64>,
}

impl Kinds {
    /// Every kind.
    pub const ALL: Self =
        Self { mail: true, phone: true, id_number: true, ip: true, bank_card: true };

    /// The names of all kinds.
    pub const NAMES: [&'static str; 5] = ["mail", "phone", "id_number", "ip", "bank_card"];

    /// The kinds of these names.
    pub fn of_names(names: &[String]) -> Self {
        let has = |kind: Kind| names.iter().any(|name| name == kind.name());
        Self {
            mail: has(Kind::Mail),
            phone: has(Kind::Phone),
            id_number: has(Kind::IdNumber),
            ip: has(Kind::Ip),
            bank_card: has(Kind::BankCard),
        }
    }

    fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::Mail => self.mail,
            Kind::Phone => self.phone,
            Kind::IdNumber => self.id_number,
            Kind::Ip => self.ip,
            Kind::BankCard => self.bank_card,
        }
    }
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Mail => "mail",
            Self::Phone => "phone",
            Self::IdNumber => "id_number",
            Self::Ip => "ip",
            Self::BankCard => "bank_card",
        }
    }

    fn placeholder(self) -> &'static str {
        match self {
            Self::Mail => "<EMAIL>",
            Self::Phone => "<PHONE>",
            Self::IdNumber => "<ID_NUMBER>",
            Self::Ip => "<IP_ADDRESS>",
            Self::BankCard => "<BANK_CARD>",
        }
    }
}

/// Masks the personal data of a text; `None` when there are none.
pub fn mask(text: &str, kinds: &Kinds) -> Option<Masked> {
    let mut masked = mask_once(text, kinds)?;
    // A placeholder may set free what was no number before because of what stood beside it.
    while let Some(again) = mask_once(&masked.text, kinds) {
        masked.text = again.text;
        for (kind, count) in again.counts {
            *masked.counts.entry(kind).or_default() += count;
        }
    }
    Some(masked)
}

fn mask_once(text: &str, kinds: &Kinds) -> Option<Masked> {
    let bytes = text.as_bytes();
    let (mut out, mut counts, mut copied, mut at) = (String::new(), BTreeMap::new(), 0, 0);
    while let Some(found) = bytes[at..].iter().position(|&byte| STOPS[usize::from(byte)]) {
        at += found;
        match find(bytes, at, kinds).filter(|(_, range)| range.start >= copied) {
            Some((kind, range)) => {
                out.push_str(&text[copied..range.start]);
                out.push_str(kind.placeholder());
                *counts.entry(kind.name()).or_default() += 1;
                copied = range.end;
                at = range.end;
            }
            None => {
                let is_digit = bytes[at].is_ascii_digit();
                let run = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                at += if is_digit { run } else { 1 };
            }
        }
    }
    if copied == 0 {
        return None;
    }
    out.push_str(&text[copied..]);
    Some(Masked { text: out, counts })
}

/// Bytes at which something may be found.
const STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let mut byte = b'0';
    while byte <= b':' {
        stops[byte as usize] = true;
        byte += 1;
    }
    stops[b'@' as usize] = true;
    stops
};

/// What stands at a byte; its range is of ASCII characters.
fn find(bytes: &[u8], at: usize, kinds: &Kinds) -> Option<(Kind, Range<usize>)> {
    type Finder = fn(&[u8], usize) -> Option<Range<usize>>;
    let finders: &[(Kind, Finder)] = match bytes[at] {
        b'@' => &[(Kind::Mail, mail::find)],
        b':' => &[(Kind::Ip, ip::find_v6)],
        _ => &[
            (Kind::Ip, ip::find_v4),
            (Kind::IdNumber, id_number::find),
            (Kind::BankCard, bank_card::find),
            (Kind::Phone, phone::find),
        ],
    };
    let wanted = finders.iter().filter(|(kind, _)| kinds.has(*kind));
    wanted.copied().find_map(|(kind, find)| Some((kind, find(bytes, at)?)))
}

/// Whether a number that takes this range stands alone: no letter, digit or decimal touches it.
fn stands_alone(bytes: &[u8], range: &Range<usize>) -> bool {
    let touches = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let before = range.start.checked_sub(1).map(|at| bytes[at]);
    let before_is_free = before.is_none_or(|byte| !touches(byte) && !b".-/=%#&$".contains(&byte));
    let after = bytes.get(range.end).copied();
    let after_is_free = match after {
        None => true,
        Some(b'.' | b'-' | b',' | b'/') => {
            !bytes.get(range.end + 1).is_some_and(u8::is_ascii_alphanumeric)
        }
        Some(byte) => !touches(byte) && byte != b'%',
    };
    before_is_free && after_is_free
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        let masked = mask(text, &Kinds::ALL).map_or_else(|| text.to_owned(), |masked| masked.text);
        assert_eq!(masked, expected);
    }

    #[test]
    fn kinds_are_known_by_their_names() {
        assert_eq!(Kinds::of_names(&Kinds::NAMES.map(str::to_owned)), Kinds::ALL);
        let mail = Kinds::of_names(&["mail".to_owned()]);
        assert!(mail.mail && !mail.phone && !mail.id_number && !mail.ip && !mail.bank_card);
    }

    #[test]
    fn mail_addresses() {
        check("Write to jane.doe+x@mail.example.org.", "Write to <EMAIL>.");
        check("邮箱：zhang@163.com，谢谢", "邮箱：<EMAIL>，谢谢");
        check("icon@2x.png and @handle and a@b", "icon@2x.png and @handle and a@b");
        check("<a@b.cn><c@d.io>", "<<EMAIL>><<EMAIL>>");
    }

    #[test]
    fn phone_numbers() {
        check("call +44 20 7946 0958 now", "call <PHONE> now");
        check("(212) 555-0187, 212-555-0187, 1-212-555-0187", "<PHONE>, <PHONE>, <PHONE>");
        check("手机13800138000或138-0013-8000", "手机<PHONE>或<PHONE>");
        check(
            "电话：010-62751234，(0755)26001234，+86 13800138000",
            "电话：<PHONE>，<PHONE>，<PHONE>",
        );
        check("12345678901 2024-05-03 3.14159265358", "12345678901 2024-05-03 3.14159265358");
        check("ISBN 978-7-302-51160-3, x13800138000", "ISBN 978-7-302-51160-3, x13800138000");
    }

    #[test]
    fn identity_numbers_with_the_right_check_character() {
        check("身份证11010519491231002X。", "身份证<ID_NUMBER>。");
        check("110105194912310021", "110105194912310021");
        check("11010519491331002X", "11010519491331002X");
    }

    #[test]
    fn ip_addresses() {
        check("from 203.0.113.77:80", "from <IP_ADDRESS>:80");
        check("at 2001:db8:85a3::8a2e:370:7334.", "at <IP_ADDRESS>.");
        check("127.0.0.1, 1.2.3.4, version 10.20.30.40", "127.0.0.1, 1.2.3.4, version 10.20.30.40");
        check("v10.20.30.40 10.20.30.40.50 300.1.1.11", "v10.20.30.40 10.20.30.40.50 300.1.1.11");
        check("12:30:45 std::fs::File a::b ::1", "12:30:45 std::fs::File a::b ::1");
    }

    #[test]
    fn bank_cards_pass_the_test() {
        check("card 4111 1111 1111 1111 or 4111111111111111", "card <BANK_CARD> or <BANK_CARD>");
        check("4111 1111 1111 1112", "4111 1111 1111 1112");
    }

    #[test]
    fn kinds_are_chosen_and_counted() {
        let text = "a@b.cn c@d.cn 13800138000";
        let masked = mask(text, &Kinds { phone: false, ..Kinds::ALL }).unwrap();
        assert_eq!(masked.text, "<EMAIL> <EMAIL> 13800138000");
        assert_eq!(masked.counts, BTreeMap::from([("mail", 2)]));
        assert_eq!(mask("nothing here", &Kinds::ALL), None);
    }

    #[test]
    fn unknown_kinds_are_refused() {
        let kinds: Result<Kinds, _> = toml::from_str("mail = true\nfax = true");
        assert!(kinds.unwrap_err().to_string().contains("fax"));
    }

    #[test]
    fn long_runs_take_linear_time() {
        for unit in ["1", "1 ", "a@", "1.", ":", "a:", "(1) ", "+1", "f::", "@a.", "1-"] {
            mask(&unit.repeat(300_000), &Kinds::ALL);
        }
    }

    proptest! {
        #[test]
        fn masking_again_changes_nothing(
            parts in proptest::collection::vec(
                prop_oneof![
                    any::<String>(), "[0-9]{1,19}", "[0-9 .:+()-]{0,24}", "[a-z0-9.@]{0,12}", "[0-9a-f:]{0,20}",
                    Just("a@b.cn".to_owned()), Just("13800138000".to_owned()),
                    Just("203.0.113.77".to_owned()), Just("4111111111111111".to_owned()),
                ],
                0..12,
            ),
        ) {
            let text = parts.concat();
            if let Some(masked) = mask(&text, &Kinds::ALL) {
                prop_assert_eq!(mask(&masked.text, &Kinds::ALL), None);
            }
        }
    }
}
