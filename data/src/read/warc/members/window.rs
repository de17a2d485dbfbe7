//! A file read forward through a window in which one can look ahead and, a little, go back.

use std::io::{self, BufRead, Read};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 128 << 10;
/// Bytes behind the reading position that are kept for going back.
const KEPT_BYTES: usize = 1 << 20;
/// Bytes that may be gone back in all, beyond the bytes read.
const FREE_REWIND_BYTES: u64 = 8 << 20;

pub(super) struct Window {
    reader: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    at: usize,
    /// Of the byte at `at`, in the file.
    offset: u64,
    /// Where going back leads, in the buffer.
    mark: Option<usize>,
    n_rewound: u64,
    at_end: bool,
    failure: Option<io::Error>,
}

impl Window {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            at: 0,
            offset: 0,
            mark: None,
            n_rewound: 0,
            at_end: false,
            failure: None,
        }
    }

    /// Where the next byte lies in the file.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next bytes, up to so many; fewer at the end of the file.
    pub(super) fn peek(&mut self, n: usize) -> io::Result<&[u8]> {
        while self.buffer.len() - self.at < n && self.refill()? {}
        let end = self.buffer.len().min(self.at + n);
        Ok(&self.buffer[self.at..end])
    }

    /// Goes forward within what was peeked.
    pub(super) fn skip(&mut self, n: usize) {
        let n = n.min(self.buffer.len() - self.at);
        self.at += n;
        self.offset += n as u64;
    }

    /// Goes forward to the next such bytes; whether there are any.
    pub(super) fn find(&mut self, pattern: &[u8]) -> io::Result<bool> {
        loop {
            if let Some(found) = memchr::memmem::find(&self.buffer[self.at..], pattern) {
                self.skip(found);
                return Ok(true);
            }
            let passed = (self.buffer.len() - self.at).saturating_sub(pattern.len() - 1);
            self.skip(passed);
            if !self.refill()? {
                return Ok(false);
            }
        }
    }

    /// Remembers this place for [`Window::rewind_to_mark`].
    pub(super) fn mark(&mut self) {
        self.mark = Some(self.at);
    }

    /// Goes back to the byte behind the mark, if it is at hand and not too much was gone back already.
    pub(super) fn rewind_to_mark(&mut self) {
        let Some(mark) = self.mark.take() else { return };
        let n = (self.at - mark).saturating_sub(1) as u64;
        if self.n_rewound + n <= FREE_REWIND_BYTES + self.offset {
            self.n_rewound += n;
            self.at -= n as usize;
            self.offset -= n;
        }
    }

    /// What went wrong in reading the file, if anything.
    pub(super) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Reads more behind what is there; whether there was more.
    fn refill(&mut self) -> io::Result<bool> {
        if self.at_end {
            return Ok(false);
        }
        if self.mark.is_some_and(|mark| self.at - mark > KEPT_BYTES) {
            self.mark = None;
        }
        let keep = self.mark.unwrap_or(self.at);
        self.buffer.drain(..keep);
        self.at -= keep;
        self.mark = self.mark.map(|_| 0);
        let start = self.buffer.len();
        self.buffer.resize(start + CHUNK_BYTES, 0);
        let read = read_some(&mut self.reader, &mut self.buffer[start..]);
        self.buffer.truncate(start + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(n) => self.at_end = n == 0,
            Err(error) => {
                self.at_end = true;
                let told = io::Error::new(error.kind(), "the file cannot be read");
                self.failure = Some(error);
                return Err(told);
            }
        }
        Ok(!self.at_end)
    }
}

fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

impl Read for Window {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let n = bytes.len().min(out.len());
        out[..n].copy_from_slice(&bytes[..n]);
        self.consume(n);
        Ok(n)
    }
}

impl BufRead for Window {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.buffer.len() {
            self.refill()?;
        }
        Ok(&self.buffer[self.at..])
    }

    fn consume(&mut self, n: usize) {
        self.skip(n);
    }
}
