//! The uncompressed bytes of a WARC and where they lie in the file.
//!
//! Compressed WARCs are gzip members or zstd frames one after another, as a rule one a record, so that a record can
//! be read from its offset. All layouts are read: a member per record, one for all, records across members. After
//! damage, the next member that holds the beginning of a record is sought, from behind the start of the broken one
//! where that is still at hand.

mod window;

use std::{
    fmt,
    io::{ErrorKind, Read},
    sync::{Arc, atomic::AtomicU64},
};

use flate2::bufread::GzDecoder;

use self::window::Window;
use super::super::{
    file::InputFile,
    stream::{GZIP_MAGIC, Packing, ZSTD_MAGIC},
};
use crate::{Error, Result};

/// Bytes decompressed at a time.
const CHUNK_BYTES: usize = 128 << 10;
/// Compressed bytes with which a member is tried.
const TRIAL_BYTES: usize = 4096;
/// Members tried in a file, so that a file made of their first bytes does not take forever.
const MAX_TRIALS: u32 = 20_000;
/// Largest dictionary of a `.warc.zst`.
const MAX_DICTIONARY_BYTES: u64 = 16 << 20;
/// Bytes that may be read twice beyond four times the file.
const FREE_REREAD_BYTES: u64 = 64 << 20;

/// Where something lies in a WARC file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offset {
    /// Byte of the file at which the compressed member begins; in a plain file the byte itself.
    pub(super) member: u64,
    /// Uncompressed bytes of the member before it.
    pub(super) inside: u64,
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inside {
            0 => write!(f, "{}", self.member),
            inside => write!(f, "{}+{inside}", self.member),
        }
    }
}

/// Why no more bytes come.
#[derive(Debug)]
pub(super) enum Damage {
    /// The file ends within a member.
    Cut(String),
    /// A member does not decompress.
    Broken(String),
    /// The file cannot be read.
    Unreadable(Error),
}

type Damaged<T> = std::result::Result<T, Damage>;

/// See the module.
pub(super) struct Members {
    path: std::path::PathBuf,
    packing: Packing,
    state: State,
    dictionary: Vec<u8>,
    buffer: Vec<u8>,
    at: usize,
    offset: Offset,
    /// Damage at the very beginning of a member, which is not the record's before it.
    pending: Option<Damage>,
    trials_left: u32,
    n_read: u64,
    n_reread: u64,
}

enum State {
    Plain(Window),
    Gzip(Box<GzDecoder<Window>>),
    Zstd(Box<zstd::Decoder<'static, Window>>),
    /// Before a member or at the end of the file.
    Between(Window),
    Gone,
}

impl Members {
    /// Opens a file, whose first bytes tell whether it is compressed.
    ///
    /// # Errors
    /// It cannot be opened, or its name promises a compression that it does not have.
    pub(super) fn open(file: &InputFile, position: Arc<AtomicU64>) -> Result<Self> {
        let mut window = Window::new(file.open(position)?);
        let start = window.peek(4).map_err(|error| Error::reading(&file.path, error))?;
        let packing = Packing::of(&file.path, start)?;
        let state = match packing {
            Packing::Plain => State::Plain(window),
            _ => State::Between(window),
        };
        Ok(Self {
            path: file.path.clone(),
            packing,
            state,
            dictionary: Vec::new(),
            buffer: Vec::new(),
            at: 0,
            offset: Offset::default(),
            pending: None,
            trials_left: MAX_TRIALS,
            n_read: 0,
            n_reread: 0,
        })
    }

    /// Where the next byte lies.
    pub(super) fn offset(&self) -> Offset {
        self.offset
    }

    pub(super) fn is_at_end(&mut self) -> Damaged<bool> {
        Ok(self.fill()?.is_empty())
    }

    /// Passes over line ends; whether anything follows.
    pub(super) fn skip_line_ends(&mut self) -> Damaged<bool> {
        loop {
            let bytes = self.fill()?;
            let n = bytes.iter().take_while(|byte| b"\r\n".contains(byte)).count();
            let (is_end, has_more) = (bytes.is_empty(), n < bytes.len());
            self.consume(n);
            if is_end || has_more {
                return Ok(has_more);
            }
        }
    }

    /// Whether the next bytes, of one member, are these.
    pub(super) fn starts_with(&mut self, magic: &[u8]) -> Damaged<bool> {
        self.fill()?;
        while self.rest().len() < magic.len() && self.more()? {}
        Ok(self.rest().starts_with(magic))
    }

    /// Adds the next bytes to `out`, fewer than asked for at the end of the file; returns how many.
    pub(super) fn read(&mut self, n_bytes: usize, out: &mut Vec<u8>) -> Damaged<u64> {
        self.take(n_bytes as u64, |bytes| out.extend_from_slice(bytes))
    }

    /// Passes over the next bytes; returns how many there were.
    pub(super) fn pass(&mut self, n_bytes: u64) -> Damaged<u64> {
        self.take(n_bytes, |_| ())
    }

    fn take(&mut self, n_bytes: u64, mut handle: impl FnMut(&[u8])) -> Damaged<u64> {
        let mut left = n_bytes;
        while left > 0 {
            let bytes = self.fill_within()?;
            let n = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if n == 0 {
                break;
            }
            handle(&bytes[..n]);
            self.consume(n);
            left -= n as u64;
        }
        Ok(n_bytes - left)
    }

    /// Adds lines to `out` up to and with the first empty one; whether there was one within the limit.
    pub(super) fn read_header(&mut self, out: &mut Vec<u8>, max_bytes: usize) -> Damaged<bool> {
        while out.len() <= max_bytes {
            let bytes = self.fill_within()?;
            if bytes.is_empty() {
                return Ok(false);
            }
            let line_end = memchr::memchr(b'\n', bytes);
            let n = line_end.map_or(bytes.len(), |at| at + 1).min(max_bytes + 1);
            out.extend_from_slice(&bytes[..n]);
            self.consume(n);
            if out.ends_with(b"\n\r\n") || out.ends_with(b"\n\n") {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Goes to the next line, or member, that begins with these bytes, or to the end; returns the bytes passed over.
    pub(super) fn find_line(&mut self, magic: &[u8]) -> Damaged<u64> {
        let mut passed = 0;
        loop {
            let bytes = self.fill_within()?;
            if bytes.is_empty() {
                return Ok(passed);
            }
            let line_end = memchr::memchr(b'\n', bytes);
            let n = line_end.map_or(bytes.len(), |at| at + 1);
            self.consume(n);
            passed += n as u64;
            let ends_member = self.packing != Packing::Plain && self.rest().is_empty();
            if (line_end.is_some() || ends_member) && self.starts_with(magic)? {
                return Ok(passed);
            }
        }
    }

    /// Puts back what was read last, unless too much was read twice already.
    pub(super) fn unread(&mut self, mut bytes: Vec<u8>) {
        let n = bytes.len() as u64;
        if self.n_reread + n > FREE_REREAD_BYTES + 4 * self.n_read {
            return;
        }
        self.n_reread += n;
        match self.packing {
            Packing::Plain => self.offset.member = self.offset.member.saturating_sub(n),
            _ => self.offset.inside = self.offset.inside.saturating_sub(n),
        }
        bytes.extend_from_slice(self.rest());
        (self.buffer, self.at) = (bytes, 0);
    }

    /// After damage: goes to the next member that begins with these bytes; whether there is one.
    pub(super) fn next_member(&mut self, magic: &[u8]) -> bool {
        self.pending = None;
        self.buffer.clear();
        self.at = 0;
        let State::Between(mut window) = std::mem::replace(&mut self.state, State::Gone) else {
            return false;
        };
        let signature: &[u8] = match self.packing {
            Packing::Plain => return false,
            Packing::Gzip => &GZIP_MAGIC,
            Packing::Zstd => &ZSTD_MAGIC,
        };
        window.rewind_to_mark();
        while self.trials_left > 0 && window.find(signature).unwrap_or(false) {
            let start = window.peek(TRIAL_BYTES).unwrap_or_default();
            if may_begin_member(self.packing, start) {
                self.trials_left -= 1;
                if begins_with(self.packing, start, &self.dictionary, magic) {
                    self.state = State::Between(window);
                    return true;
                }
            }
            window.skip(1);
        }
        false
    }

    /// Bytes of the buffer not consumed yet.
    fn rest(&self) -> &[u8] {
        &self.buffer[self.at..]
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
        self.n_read += n as u64;
        match self.packing {
            Packing::Plain => self.offset.member += n as u64,
            _ => self.offset.inside += n as u64,
        }
    }

    /// The next bytes; none at the end, or before a member that is damaged at its start.
    fn fill(&mut self) -> Damaged<&[u8]> {
        if let Some(damage) = self.pending.take() {
            return Err(damage);
        }
        while self.at == self.buffer.len() {
            let is_new = match &mut self.state {
                State::Gone => break,
                State::Between(_) => match self.open_member() {
                    Ok(true) => true,
                    Ok(false) => break,
                    Err(damage) => {
                        self.pending = Some(damage);
                        break;
                    }
                },
                _ => false,
            };
            match self.more() {
                Ok(false) if matches!(self.state, State::Plain(_)) => break,
                Ok(_) => {}
                Err(damage) if is_new => {
                    self.pending = Some(damage);
                    break;
                }
                Err(damage) => return Err(damage),
            }
        }
        Ok(self.rest())
    }

    /// As `fill`, in the middle of a record, where damage of the next member is the record's too.
    fn fill_within(&mut self) -> Damaged<&[u8]> {
        if self.fill()?.is_empty()
            && let Some(damage) = self.pending.take()
        {
            return Err(damage);
        }
        Ok(self.rest())
    }

    /// Decompresses more of the member at hand behind what is there; whether there was more.
    fn more(&mut self) -> Damaged<bool> {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let start = self.buffer.len();
        self.buffer.resize(start + CHUNK_BYTES, 0);
        let space = &mut self.buffer[start..];
        let read = match &mut self.state {
            State::Plain(window) => window.read(space),
            State::Gzip(decoder) => decoder.read(space),
            State::Zstd(decoder) => decoder.read(space),
            State::Between(_) | State::Gone => Ok(0),
        };
        self.buffer.truncate(start + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => {
                self.end_member();
                Ok(false)
            }
            Ok(_) => Ok(true),
            Err(error) => {
                self.end_member();
                Err(self.damage(error))
            }
        }
    }

    fn end_member(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Gone) {
            State::Gzip(decoder) => State::Between(decoder.into_inner()),
            State::Zstd(decoder) => State::Between(decoder.finish()),
            state => state,
        };
    }

    /// Begins the member that comes next; whether there is one.
    fn open_member(&mut self) -> Damaged<bool> {
        let State::Between(mut window) = std::mem::replace(&mut self.state, State::Gone) else {
            return Ok(false);
        };
        let opened = match self.packing {
            Packing::Zstd => self.open_frame(&mut window),
            _ => window.peek(2).map(|start| (!start.is_empty()).then(|| start.to_vec())),
        };
        self.offset = Offset { member: window.offset(), inside: 0 };
        window.mark();
        let start = match opened {
            Ok(Some(start)) => start,
            Ok(None) => {
                self.state = State::Between(window);
                return Ok(false);
            }
            Err(error) => {
                self.state = State::Between(window);
                return Err(self.damage(error));
            }
        };
        if Packing::of_magic(&start) != Some(self.packing) {
            self.state = State::Between(window);
            let detail = format!("bytes {start:02x?} where a compressed member should begin");
            return Err(Damage::Broken(detail));
        }
        self.state = match self.packing {
            Packing::Zstd => {
                let decoder = zstd::Decoder::with_dictionary(window, &self.dictionary);
                let failed = |error| Damage::Unreadable(Error::io(&self.path)(error));
                State::Zstd(Box::new(decoder.map_err(failed)?.single_frame()))
            }
            _ => State::Gzip(Box::new(GzDecoder::new(window))),
        };
        Ok(true)
    }

    /// Passes over frames without data, keeping a dictionary (the IIPC's form of `.warc.zst`); the magic that follows.
    fn open_frame(&mut self, window: &mut Window) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            let start = window.peek(8)?.to_vec();
            let is_skippable =
                start.len() == 8 && start[0] & 0xf0 == 0x50 && start[1..4] == [0x2a, 0x4d, 0x18];
            if !is_skippable {
                return Ok((!start.is_empty()).then(|| start[..start.len().min(4)].to_vec()));
            }
            let length = u32::from_le_bytes([start[4], start[5], start[6], start[7]]);
            window.skip(8);
            let is_dictionary = start[0] == 0x5d && window.offset() == 8;
            let mut frame = window.by_ref().take(u64::from(length));
            if is_dictionary && u64::from(length) <= MAX_DICTIONARY_BYTES {
                let mut dictionary = Vec::new();
                frame.read_to_end(&mut dictionary)?;
                self.dictionary = unpacked(dictionary)?;
            } else {
                std::io::copy(&mut frame, &mut std::io::sink())?;
            }
        }
    }

    /// What an error means: the file's own reading error, or that of the compressed data.
    fn damage(&mut self, error: std::io::Error) -> Damage {
        if let State::Between(window) | State::Plain(window) = &mut self.state
            && let Some(failure) = window.take_failure()
        {
            return Damage::Unreadable(Error::reading(&self.path, failure));
        }
        let packing = self.packing.name();
        match error.kind() {
            ErrorKind::UnexpectedEof => Damage::Cut(format!("{packing} data ends too early")),
            _ => Damage::Broken(format!("{packing} data is damaged: {error}")),
        }
    }
}

/// A dictionary, which may be compressed itself.
fn unpacked(dictionary: Vec<u8>) -> std::io::Result<Vec<u8>> {
    if !dictionary.starts_with(&ZSTD_MAGIC) {
        return Ok(dictionary);
    }
    let mut unpacked = Vec::new();
    let decoder = zstd::Decoder::with_buffer(dictionary.as_slice())?;
    decoder.take(MAX_DICTIONARY_BYTES).read_to_end(&mut unpacked)?;
    Ok(unpacked)
}

/// Whether bytes can be the start of a member, as far as its fixed part tells (RFC 1952, 2.3).
fn may_begin_member(packing: Packing, bytes: &[u8]) -> bool {
    packing != Packing::Gzip
        || bytes.len() > 10
            && bytes[2] == 8
            && bytes[3] & 0xe0 == 0
            && matches!(bytes[8], 0 | 2 | 4)
}

/// Whether a member that starts like this holds data that starts like that.
fn begins_with(packing: Packing, bytes: &[u8], dictionary: &[u8], magic: &[u8]) -> bool {
    let mut found = vec![0; magic.len()];
    let read = match packing {
        Packing::Gzip => GzDecoder::new(bytes).read_exact(&mut found),
        _ => zstd::Decoder::with_dictionary(bytes, dictionary)
            .and_then(|mut decoder| decoder.read_exact(&mut found)),
    };
    read.is_ok() && found == magic
}
