//! The single-byte code pages in which UTF-8 was most often misread.
//!
//! The `sloppy` ones are Windows' pages with the bytes that Windows left free read as Latin-1, and with
//! byte 1A standing for U+FFFD, so that text which lost characters can still be turned back.

use std::sync::LazyLock;

use rustc_hash::FxHashMap;

/// Byte that stands for a lost character in sloppy pages.
pub(super) const LOST: u8 = 0x1a;

/// A code page: ASCII, and what the bytes from 80 on mean.
pub(super) struct CodePage {
    /// What it is.
    pub(super) kind: Kind,
    high: Vec<char>,
    bytes: FxHashMap<char, u8>,
}

/// Kinds of code pages that are treated differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Latin-1: byte and code point are the same.
    Latin1,
    /// A Windows page, lost characters included.
    Sloppy,
    /// A complete page in which spaces are never mistaken.
    Macroman,
    /// Any other complete page.
    Complete,
}

/// All pages in the order in which they are tried.
pub(super) static PAGES: LazyLock<Vec<CodePage>> = LazyLock::new(|| {
    let pages = [
        (Kind::Latin1, LATIN_1),
        (Kind::Sloppy, WINDOWS_1252),
        (Kind::Sloppy, WINDOWS_1251),
        (Kind::Sloppy, WINDOWS_1250),
        (Kind::Sloppy, WINDOWS_1253),
        (Kind::Sloppy, WINDOWS_1254),
        (Kind::Sloppy, WINDOWS_1257),
        (Kind::Complete, ISO_8859_2),
        (Kind::Macroman, MACROMAN),
        (Kind::Complete, CP437),
    ];
    pages.into_iter().map(|(kind, high)| CodePage::new(kind, high)).collect()
});

impl CodePage {
    fn new(kind: Kind, high: &str) -> Self {
        let high: Vec<char> = high.chars().collect();
        let mut bytes: FxHashMap<char, u8> = high.iter().copied().zip(0x80..=0xff).collect();
        if kind == Kind::Sloppy {
            bytes.insert(char::REPLACEMENT_CHARACTER, LOST);
        }
        Self { kind, high, bytes }
    }

    /// The bytes that read as this text, if every character has one.
    pub(super) fn encode(&self, text: &str) -> Option<Vec<u8>> {
        text.chars().map(|c| self.byte(c)).collect()
    }

    fn byte(&self, c: char) -> Option<u8> {
        match u8::try_from(c) {
            Ok(LOST) if self.kind == Kind::Sloppy => None,
            Ok(byte) if byte.is_ascii() => Some(byte),
            _ => self.bytes.get(&c).copied(),
        }
    }
}

/// What Windows-1252 makes of a C1 control character: the bytes that it leaves free stay what they are.
pub(super) fn windows_1252_of_c1(c: char) -> char {
    match c {
        '\u{80}'..='\u{9f}' => PAGES[1].high[c as usize - 0x80],
        _ => c,
    }
}

const LATIN_1: &str = "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\
     \u{8d}\u{8e}\u{8f}\u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\
     \u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}\u{a0}¡¢£¤¥¦§¨©ª«¬\u{ad}®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁ\
     ÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ";

const WINDOWS_1252: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ\u{a0}¡¢£¤¥¦§¨©ª«¬\
     \u{ad}®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷\
     øùúûüýþÿ";

const WINDOWS_1251: &str = "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\u{98}™љ›њќћџ\u{a0}ЎўЈ¤Ґ¦§Ё©Є«¬\u{ad}®Ї°±Ііґµ¶·ё№є»јЅѕїА\
     БВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмнопрстуфхцчшщъыьэюя";

const WINDOWS_1250: &str = "€\u{81}‚\u{83}„…†‡\u{88}‰Š‹ŚŤŽŹ\u{90}‘’“”•–—\u{98}™š›śťžź\u{a0}ˇ˘Ł¤Ą¦§¨©Ş«¬\
     \u{ad}®Ż°±˛ł´µ¶·¸ąş»Ľ˝ľżŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷\
     řůúűüýţ˙";

const WINDOWS_1253: &str = "€\u{81}‚ƒ„…†‡\u{88}‰\u{8a}‹\u{8c}\u{8d}\u{8e}\u{8f}\u{90}‘’“”•–—\u{98}™\u{9a}›\
     \u{9c}\u{9d}\u{9e}\u{9f}\u{a0}΅Ά£¤¥¦§¨©ª«¬\u{ad}®―°±²³΄µ¶·ΈΉΊ»Ό½ΎΏΐΑΒΓΔΕΖΗΘΙΚΛΜΝ\
     ΞΟΠΡÒΣΤΥΦΧΨΩΪΫάέήίΰαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώÿ";

const WINDOWS_1254: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}\u{8e}\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}\u{9e}Ÿ\u{a0}¡¢£¤¥¦§\
     ¨©ª«¬\u{ad}®¯°±²³´µ¶·¸¹º»¼½¾¿ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞßàáâãäåæçèéêëìíîïğñò\
     óôõö÷øùúûüışÿ";

const WINDOWS_1257: &str = "€\u{81}‚\u{83}„…†‡\u{88}‰\u{8a}‹\u{8c}¨ˇ¸\u{90}‘’“”•–—\u{98}™\u{9a}›\u{9c}¯˛\
     \u{9f}\u{a0}¡¢£¤¥¦§Ø©Ŗ«¬\u{ad}®Æ°±²³´µ¶·ø¹ŗ»¼½¾æĄĮĀĆÄÅĘĒČÉŹĖĢĶĪĻŠŃŅÓŌÕÖ×ŲŁŚŪÜŻŽß\
     ąįāćäåęēčéźėģķīļšńņóōõö÷ųłśūüżž˙";

const ISO_8859_2: &str = "\u{80}\u{81}\u{82}\u{83}\u{84}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}\u{8b}\u{8c}\
     \u{8d}\u{8e}\u{8f}\u{90}\u{91}\u{92}\u{93}\u{94}\u{95}\u{96}\u{97}\u{98}\u{99}\
     \u{9a}\u{9b}\u{9c}\u{9d}\u{9e}\u{9f}\u{a0}Ą˘Ł¤ĽŚ§¨ŠŞŤŹ\u{ad}ŽŻ°ą˛ł´ľśˇ¸šşťź˝žżŔÁ\
     ÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢßŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙";

const MACROMAN: &str = "ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø¿¡¬√ƒ≈∆«»…\u{a0}\
     ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\u{f8ff}ÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ";

const CP437: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧\
     ╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_gives_every_byte_back() {
        for page in PAGES.iter() {
            assert_eq!(page.high.len(), 128, "{:?}", page.kind);
            let text: String = page.high.iter().collect();
            assert_eq!(page.encode(&text), Some((0x80..=0xff).collect()), "{:?}", page.kind);
        }
    }

    #[test]
    fn lost_characters_have_a_byte_in_sloppy_pages_only() {
        assert_eq!(PAGES[1].encode("a\u{fffd}€"), Some(vec![b'a', LOST, 0x80]));
        assert_eq!(PAGES[1].encode("\u{1a}"), None);
        assert_eq!(PAGES[0].encode("\u{1a}\u{ff}"), Some(vec![0x1a, 0xff]));
        assert_eq!(PAGES[0].encode("\u{fffd}"), None);
    }
}
