//! Ids to text: exactly SentencePiece's decoding, whole or token by token.
//!
//! Byte pieces are held back until they are valid UTF-8; a byte that cannot become part of a
//! character is written as U+FFFD. The U+2581 of the dummy prefix is taken off the first piece.

use super::sentence_piece::{MARKER, PieceKind};
use super::vocabulary::Vocabulary;

/// What every id is written as.
pub(crate) struct Decoder {
    /// Bytes of all pieces in a row, with spaces for U+2581.
    bytes: Vec<u8>,
    /// End in `bytes` of every piece, in id order.
    ends: Vec<usize>,
    /// Whether the piece's first character is U+2581.
    is_marked: Vec<bool>,
    /// Written for ids outside the vocabulary.
    unknown_surface: String,
    /// Whether the first U+2581 of a text is the encoder's own.
    has_dummy_prefix: bool,
}

impl Decoder {
    /// Makes the table; `n_silent` ids after the vocabulary are written as nothing.
    pub(crate) fn new(vocabulary: &Vocabulary, n_silent: usize) -> Self {
        let mut decoder = Self {
            bytes: Vec::new(),
            ends: Vec::with_capacity(vocabulary.len() + n_silent),
            is_marked: Vec::with_capacity(vocabulary.len() + n_silent),
            unknown_surface: vocabulary.unknown_surface.clone(),
            has_dummy_prefix: vocabulary.add_dummy_prefix,
        };
        let mut byte_of = vec![0; vocabulary.len()];
        for (byte, &id) in (0..=u8::MAX).zip(&vocabulary.byte_ids) {
            byte_of[id as usize] = byte;
        }
        for (id, (text, kind)) in vocabulary.texts.iter().zip(&vocabulary.kinds).enumerate() {
            match kind {
                PieceKind::Byte => decoder.push(&[byte_of[id]], false),
                PieceKind::Unknown => decoder.push(vocabulary.unknown_surface.as_bytes(), false),
                PieceKind::Normal => {
                    let written = text.replace(MARKER, " ");
                    decoder.push(written.as_bytes(), text.starts_with(MARKER));
                }
                PieceKind::Control | PieceKind::UserDefined | PieceKind::Unused => {
                    decoder.push(&[], false);
                }
            }
        }
        for _ in 0..n_silent {
            decoder.push(&[], false);
        }
        decoder
    }

    fn push(&mut self, bytes: &[u8], is_marked: bool) {
        self.bytes.extend_from_slice(bytes);
        self.ends.push(self.bytes.len());
        self.is_marked.push(is_marked);
    }

    /// The bytes that `ids` stand for, valid UTF-8 or not.
    pub(crate) fn decode_bytes(&self, ids: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut expects_prefix = self.has_dummy_prefix;
        for &id in ids {
            self.append(id, &mut expects_prefix, &mut bytes);
        }
        bytes
    }

    /// The text that `ids` stand for.
    pub(crate) fn decode(&self, ids: &[u32]) -> String {
        String::from_utf8(self.decode_bytes(ids)).unwrap_or_else(|error| {
            let mut bytes = error.into_bytes();
            let mut text = take_decided(&mut bytes);
            replace_each_byte(&bytes, &mut text);
            text
        })
    }

    /// Appends one id's bytes. `expects_prefix` holds until something has been written.
    fn append(&self, id: u32, expects_prefix: &mut bool, bytes: &mut Vec<u8>) {
        let idx = id as usize;
        let (written, is_marked) = match self.ends.get(idx) {
            Some(&end) => {
                let start = if idx == 0 { 0 } else { self.ends[idx - 1] };
                (&self.bytes[start..end], self.is_marked[idx])
            }
            None => (self.unknown_surface.as_bytes(), false),
        };
        let takes_prefix = *expects_prefix && is_marked;
        bytes.extend_from_slice(&written[usize::from(takes_prefix)..]);
        if !written.is_empty() {
            *expects_prefix = false;
        }
    }
}

/// Decodes a sequence as it grows; the pieces of text put together are the whole's decoding.
pub struct TextStream<'t> {
    decoder: &'t Decoder,
    expects_prefix: bool,
    held: Vec<u8>,
}

impl<'t> TextStream<'t> {
    pub(crate) fn new(decoder: &'t Decoder) -> Self {
        Self { decoder, expects_prefix: decoder.has_dummy_prefix, held: Vec::new() }
    }

    /// Takes the next id and gives the text that is certain now, which may be empty.
    pub fn push(&mut self, id: u32) -> String {
        self.decoder.append(id, &mut self.expects_prefix, &mut self.held);
        take_decided(&mut self.held)
    }

    /// Ends the sequence and gives what was held back.
    pub fn finish(self) -> String {
        let mut text = String::new();
        replace_each_byte(&self.held, &mut text);
        text
    }
}

/// Takes all but an unfinished last character off `bytes`; each byte that fits nowhere is U+FFFD.
fn take_decided(bytes: &mut Vec<u8>) -> String {
    let mut text = String::new();
    let mut rest = &bytes[..];
    loop {
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                rest = &[];
                break;
            }
            Err(error) => {
                let (valid, invalid) = rest.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                rest = invalid;
                if error.error_len().is_none() {
                    break;
                }
                text.push(char::REPLACEMENT_CHARACTER);
                rest = &rest[1..];
            }
        }
    }
    let n_taken = bytes.len() - rest.len();
    bytes.drain(..n_taken);
    text
}

/// SentencePiece replaces byte by byte, not by maximal runs.
fn replace_each_byte(bytes: &[u8], text: &mut String) {
    text.extend(bytes.iter().map(|_| char::REPLACEMENT_CHARACTER));
}

#[cfg(test)]
mod tests {
    use super::super::sentence_piece::{ModelProto, TrainerSpec};
    use super::*;

    const A: u32 = 261;
    const MARKED_A: u32 = 259;
    const MARK: u32 = 260;

    fn check(ids: &[u32], expected: &str) {
        let merged = [format!("{MARKER}a")];
        let model = ModelProto::in_neo_layout(merged, [MARKER, 'a'], TrainerSpec::default());
        let decoder = Decoder::new(&Vocabulary::from_model(&model).unwrap(), 5);
        assert_eq!(decoder.decode(ids), expected, "{ids:?}");
        let mut stream = TextStream::new(&decoder);
        let mut streamed: String = ids.iter().map(|&id| stream.push(id)).collect();
        streamed.push_str(&stream.finish());
        assert_eq!(streamed, expected, "streamed {ids:?}");
    }

    fn bytes(bytes: &[u8]) -> Vec<u32> {
        bytes.iter().map(|&byte| 3 + u32::from(byte)).collect()
    }

    #[test]
    fn the_first_marker_is_the_prefix() {
        check(&[], "");
        check(&[MARKED_A, MARKED_A], "a a");
        check(&[MARK, MARKED_A], " a");
        check(&[MARK, MARK], " ");
        check(&[A, MARKED_A], "a a");
        check(&[1, 1, MARKED_A, 2], "a");
        check(&[MARK, 1, MARKED_A], " a");
        check(&[3 + 10, MARKED_A], "\n a");
    }

    #[test]
    fn unknown_is_written_specials_are_not() {
        check(&[0, MARKED_A], " \u{2047}  a");
        check(&[MARKED_A, 262, 264, 266, A], "aa");
        check(&[A, 267], "a \u{2047} ");
        check(&[A, u32::MAX], "a \u{2047} ");
    }

    #[test]
    fn bytes_are_held_until_they_are_text() {
        check(&bytes("中é\n".as_bytes()), "中é\n");
        check(&bytes(&[0xE4, 0xB8]), "\u{FFFD}\u{FFFD}");
        check(&bytes(&[0xE4, 0xB8, b'x', 0xAD]), "\u{FFFD}\u{FFFD}x\u{FFFD}");
        check(&bytes(&[0xED, 0xA0, 0x80]), "\u{FFFD}\u{FFFD}\u{FFFD}");
        check(&bytes(&[0xF0, 0x9F, 0x98, 0xE4, 0xB8, 0xAD]), "\u{FFFD}\u{FFFD}\u{FFFD}中");
        check(&[&bytes(&[0xE4, 0xB8])[..], &[A]].concat(), "\u{FFFD}\u{FFFD}a");
    }
}
