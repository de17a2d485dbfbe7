//! The signs of mojibake: juxtapositions of characters that misread UTF-8 makes and that nobody writes.
//!
//! Categories and patterns are those of ftfy 6.3.1 (`badness.py`, `chardata.py`; Apache-2.0, Robyn Speer).

use std::sync::LazyLock;

use regex::Regex;
use rustc_hash::FxHashSet;

/// Whether a text has at least one sign of mojibake.
pub(super) fn is_bad(text: &str) -> bool {
    static BADNESS: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = bad_sequences().join("|");
        Regex::new(&pattern).expect("the pattern is constant and tested")
    });
    BADNESS.is_match(text)
}

/// Calls `fix` on every maximal run of characters that looks like misread UTF-8 sequences, and puts
/// what it returns in the run's place.
///
/// A run does not begin behind a character that stands for a continuation byte: the middle of a larger
/// garble is left alone.
pub(super) fn replace_runs(text: &str, mut fix: impl FnMut(&str) -> String) -> String {
    static RUN: LazyLock<Regex> = LazyLock::new(|| {
        let pattern = format!(
            "(?:[{UTF8_FIRST_OF_2}][{UTF8_CONTINUATION}]\
             |[{UTF8_FIRST_OF_3}][{UTF8_CONTINUATION}]{{2}}\
             |[{UTF8_FIRST_OF_4}][{UTF8_CONTINUATION}]{{3}})+"
        );
        Regex::new(&pattern).expect("the pattern is constant and tested")
    });
    let (mut fixed, mut copied, mut at) = (String::with_capacity(text.len()), 0, 0);
    while let Some(run) = RUN.find_at(text, at) {
        let before = text[..run.start()].chars().next_back();
        if before.is_some_and(stands_for_continuation) {
            let first = text[run.start()..].chars().next().map_or(1, char::len_utf8);
            at = run.start() + first;
            continue;
        }
        fixed.push_str(&text[copied..run.start()]);
        fixed.push_str(&fix(run.as_str()));
        (copied, at) = (run.end(), run.end());
    }
    fixed.push_str(&text[copied..]);
    fixed
}

fn stands_for_continuation(c: char) -> bool {
    static CHARACTERS: LazyLock<FxHashSet<char>> =
        LazyLock::new(|| UTF8_CONTINUATION_BEYOND_LATIN_1.chars().collect());
    ('\u{80}'..='\u{bf}').contains(&c) || CHARACTERS.contains(&c)
}

/// Patterns of unlikely sequences; a space inside brackets counts.
fn bad_sequences() -> Vec<String> {
    // Python's `\s` and `\w`, which are not those of the regex crate.
    let (space, word) = (r"\s\x1c-\x1f", r"_\p{L}\p{N}");
    vec![
        format!("[{C1}]"),
        format!(
            "[{BAD}{LOWER_ACCENTED}{UPPER_ACCENTED}{BOX}{START_PUNCTUATION}{END_PUNCTUATION}{CURRENCY}{NUMERIC}{LAW}][{BAD}]"
        ),
        format!("[a-zA-Z][{LOWER_COMMON}{UPPER_COMMON}][{BAD}]"),
        format!(
            "[{BAD}][{LOWER_ACCENTED}{UPPER_ACCENTED}{BOX}{START_PUNCTUATION}{END_PUNCTUATION}{CURRENCY}{NUMERIC}{LAW}]"
        ),
        format!(
            "[{LOWER_ACCENTED}{LOWER_COMMON}{BOX}{END_PUNCTUATION}{CURRENCY}{NUMERIC}][{UPPER_ACCENTED}]"
        ),
        format!("[{BOX}{END_PUNCTUATION}{CURRENCY}{NUMERIC}][{LOWER_ACCENTED}]"),
        format!("[{LOWER_ACCENTED}{BOX}{END_PUNCTUATION}][{CURRENCY}]"),
        format!("[{space}][{UPPER_ACCENTED}][{CURRENCY}]"),
        format!("[{UPPER_ACCENTED}{BOX}][{NUMERIC}{LAW}]"),
        format!(
            "[{LOWER_ACCENTED}{UPPER_ACCENTED}{BOX}{CURRENCY}{END_PUNCTUATION}][{START_PUNCTUATION}][{NUMERIC}]"
        ),
        format!(
            "[{LOWER_ACCENTED}{UPPER_ACCENTED}{CURRENCY}{NUMERIC}{BOX}{LAW}][{END_PUNCTUATION}][{START_PUNCTUATION}]"
        ),
        format!("[{CURRENCY}{NUMERIC}{BOX}][{START_PUNCTUATION}]"),
        format!("[a-z][{UPPER_ACCENTED}][{START_PUNCTUATION}{CURRENCY}]"),
        format!("[{BOX}][{KAOMOJI}]"),
        format!(
            "[{LOWER_ACCENTED}{UPPER_ACCENTED}{CURRENCY}{NUMERIC}{START_PUNCTUATION}{END_PUNCTUATION}{LAW}][{BOX}]"
        ),
        format!("[{BOX}][{END_PUNCTUATION}]"),
        format!("[{LOWER_ACCENTED}{UPPER_ACCENTED}][{START_PUNCTUATION}{END_PUNCTUATION}][{word}]"),
        // The ligature œ not followed by an unaccented Latin letter. Any character may stand there, LF too.
        "[Œœ][^A-Za-z]".to_owned(),
        // Degree signs after capital letters.
        format!("[{UPPER_ACCENTED}]°"),
        // Two characters that Windows-1252 makes and that are not covered above.
        format!("[ÂÃÎÐ][€œŠš¢£Ÿž\u{a0}\u{ad}®©°·»{START_PUNCTUATION}{END_PUNCTUATION}–—´]"),
        "×[²³]".to_owned(),
        // Arabic in Windows-1252: common characters are included, so two pairs are asked for.
        format!("(?:[ØÙ][{COMMON}{CURRENCY}{BAD}{NUMERIC}{START_PUNCTUATION}ŸŠ®°µ»]){{2}}"),
        // The start of letters of South Asia in Windows-1252.
        "à[²µ¹¼½¾]".to_owned(),
        // MacRoman.
        "√[±∂†≠®™´≤≥¥µø]".to_owned(),
        "≈[°¢]".to_owned(),
        "‚Ä[ìîïòôúùû†°¢π]".to_owned(),
        "‚[âó][àä°ê]".to_owned(),
        // Windows-1251 of U+2000 and the following.
        "вЂ".to_owned(),
        // Windows-1251 of Latin-1 or Cyrillic: pairs are common, so three characters are asked for.
        format!("[ВГРС][{C1}{BAD}{START_PUNCTUATION}{END_PUNCTUATION}{CURRENCY}°µ][ВГРС]"),
        // Windows-1251 of Latin-1 of Windows-1252, with a Latin letter nearby.
        r"ГўВЂВ[^\n][A-Za-z ]".to_owned(),
        // Windows-1252 of à, á and the no-break space.
        "Ã[\u{a0}¡]".to_owned(),
        format!("[a-z][{space}]?[ÃÂ][ ]"),
        r"\A[ÃÂ][ ]".to_owned(),
        // Â before a character that it encodes.
        format!("[a-z.,?!{END_PUNCTUATION}]Â[ {START_PUNCTUATION}{END_PUNCTUATION}]"),
        // Windows-1253 of U+2000 and the following, of Latin-1 and Greek.
        "β€[™\u{a0}Ά\u{ad}®°]".to_owned(),
        format!("[ΒΓΞΟ][{C1}{BAD}{START_PUNCTUATION}{END_PUNCTUATION}{CURRENCY}°][ΒΓΞΟ]"),
        // Windows-1257 of U+2000 and the following.
        "ā€".to_owned(),
    ]
}

/// Characters of many contexts.
const COMMON: &str = "\u{a0}\u{ad}·´–—―…’";

/// C1 controls, which have no use outside mojibake.
const C1: &str = "\u{80}-\u{9f}";

/// Characters that nearly always are mojibake.
const BAD: &str = "¦¤¨¬¯¸ƒˆˇ˘˛˜†‡‰⌐◊\u{fffd}ªº";

const LAW: &str = "¶§";

const CURRENCY: &str = "¢£¥₧€";

const START_PUNCTUATION: &str = "¡«¿©΄΅‘‚“„•‹\u{f8ff}";

const END_PUNCTUATION: &str = "®»˝”›™";

const NUMERIC: &str = "²³¹±¼½¾×µ÷⁄∂∆∏∑√∞∩∫≈≠≡≤≥№";

/// Letters of emoticon faces, in ranges.
const KAOMOJI: &str = "Ò-ÖÙ-Üò-öø-üŐŌŪŲ°";

const UPPER_ACCENTED: &str = "À-ÑØÜÝĂĀĄĆČĎĐĘĚĒĖĞĢİĪĶĹĽŁĻŃŇŅŒŘŚŞŠŢŤŮŰŸŹŻŽҐ";

const LOWER_ACCENTED: &str = "ßà-ñăąāćčďđęěēėğģįīķĺľłļœŕśşšťüźżžґﬁﬂ";

const UPPER_COMMON: &str = "ÞΑ-ΩΆΈΉΊΌΎΏΪΫЁ-Я";

const LOWER_COMMON: &str = "α-ωάέήίΰа-џ";

/// Box drawing; the single horizontal line is left to faces.
const BOX: &str = "│┌┐┘├┤┬┼═-╬▀▄█▌▐░▒▓";

/// What bytes C2 to DF read as in some page.
const UTF8_FIRST_OF_2: &str = "ĂÂÄĀÅÃÆĆČÇĎĐÉĚÊËĖÈĒĘÐĞĢÍÎÏİÌĪĶĹĻŁŃŇŅÑÓÔÖŐÒŌØÕŘŚŠŞŢÞÚÛÜŰÙŪŲŮÝŹŽŻß×ΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠ\
     ΡΣΤΥΦΧΨΩΪΫάέήίВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ";

/// What bytes E0 to EF read as.
const UTF8_FIRST_OF_3: &str = "áăâäàāąåãæćčçďéěêëėèēęęģíîïìīįķĺļŕźΰαβγδεζηθικλμνξοабвгдежзийклмноп";

/// What bytes F0 and F3 read as.
const UTF8_FIRST_OF_4: &str = "đðğóšπσру";

/// What bytes 80 to BF read as, and the space that stands for A0.
const UTF8_CONTINUATION: &str = "\u{80}-¿\u{20}ĄÆĽŁØŖŚŠŞŤŸŹŽŻŒąæƒľłøŗśšşťźžżœˆˇ˘˛˜˝΄΅ΆΈΉΊΌΎΏЁЂЃЄЅІЇЈЉЊЋЌЎЏёђѓєѕії\
     јљњћќўџҐґ–—―‘’‚“”„†‡•…‰‹›€№™";

/// Of these the ones that seldom stand for themselves beside mojibake, 80 to BF left out.
const UTF8_CONTINUATION_BEYOND_LATIN_1: &str = "ĄÆĽŁØŖŚŠŞŤŸŹŽŻŒąæƒľłøŗśšşťźžżœˆˇ˘˛˜˝΄΅ΆΈΉΊΌΎΏЁЂЃЄЅІЇЈЉЊЋЌЎЏёђѓєѕіїјљњћќў\
     џҐґ†‡‰‹›€№™";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mojibake_is_bad_and_writing_is_not() {
        for bad in ["sÃ³", "â€œquotedâ€\u{9d}", "Ã\u{a0} la", "рџ‘‹ вЂ", "voilÃ le", "Â£5"]
        {
            assert!(is_bad(bad), "{bad}");
        }
        for good in ["plain", "naïve café", "“quoted” – fine…", "Привет", "日本語", "12 °C", "§ 5"]
        {
            assert!(!is_bad(good), "{good}");
        }
    }

    #[test]
    fn runs_are_found_where_they_may_begin() {
        let mark = |text: &str| replace_runs(text, |run| format!("<{run}>"));
        assert_eq!(mark("aÃ©b"), "a<Ã©>b");
        assert_eq!(mark("â€œxâ€"), "<â€œ>xâ€");
        assert_eq!(mark("žÃ©"), "žÃ©");
        assert_eq!(mark("Ã©Ã¨"), "<Ã©Ã¨>");
        assert_eq!(mark(""), "");
    }
}
