//! TensorBoard event files: what of their format a training run needs.
//!
//! A file is a sequence of records: length as u64 LE, masked CRC-32C of these 8 bytes, the bytes of
//! one `Event` message, their masked CRC-32C. `Event` (tensorflow/core/util/event.proto) is written
//! by hand: 1 wall_time double, 2 step int64, 3 file_version string, 5 summary, 7 session_log;
//! `Summary` has values (1) of tag (1) and simple_value (2, float); `SessionLog` has status (1).

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{Error, Result};

const FILE_VERSION: &str = "brain.Event:2";
const SESSION_START: u64 = 1;

/// Appends scalars to a new event file.
#[derive(Debug)]
pub(crate) struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Opens a new file in `folder`, to be read after those already there.
    ///
    /// With `step` above 0 the file starts with a session mark, by which TensorBoard forgets all
    /// that earlier files say of later steps.
    ///
    /// # Errors
    /// The folder or the file cannot be written.
    pub(crate) fn create(folder: &Path, step: u64) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let path = folder.join(format!("events.out.tfevents.{:010}.neo", next_stamp(folder)?));
        let file = OpenOptions::new().create_new(true).append(true).open(&path);
        let mut writer = Self { file: file.map_err(Error::io(&path))?, path };
        writer.event(|event| put_bytes(event, 3, FILE_VERSION.as_bytes()))?;
        if step > 0 {
            let mut session = Vec::new();
            put_varint_field(&mut session, 1, SESSION_START);
            writer.event(|event| {
                put_varint_field(event, 2, step + 1);
                put_bytes(event, 7, &session);
            })?;
        }
        Ok(writer)
    }

    /// Writes values of one step under their tags.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            let mut entry = Vec::new();
            put_bytes(&mut entry, 1, tag.as_bytes());
            put_key(&mut entry, 2, 5);
            entry.extend_from_slice(&(*value as f32).to_le_bytes());
            put_bytes(&mut summary, 1, &entry);
        }
        self.event(|event| {
            put_varint_field(event, 2, step);
            put_bytes(event, 5, &summary);
        })
    }

    /// Brings what was written to the disk.
    ///
    /// # Errors
    /// The system cannot write.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.file.sync_data().map_err(Error::io(&self.path))
    }

    fn event(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let mut event = Vec::new();
        put_key(&mut event, 1, 1);
        event.extend_from_slice(&wall_time().to_le_bytes());
        fill(&mut event);
        self.file.write_all(&record(&event)).map_err(Error::io(&self.path))
    }
}

/// Seconds for the file's name: TensorBoard reads files in the order of their names.
fn next_stamp(folder: &Path) -> Result<u64> {
    let mut stamp = wall_time() as u64;
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder))? {
        let name = entry.map_err(Error::io(folder))?.file_name();
        let taken = name.to_str().and_then(|name| {
            name.strip_prefix("events.out.tfevents.")?.split('.').next()?.parse::<u64>().ok()
        });
        stamp = stamp.max(taken.map_or(0, |taken| taken.saturating_add(1)));
    }
    Ok(stamp)
}

/// Seconds since 1970; a clock before that counts as 0.
fn wall_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

fn record(event: &[u8]) -> Vec<u8> {
    let length = (event.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(event.len() + 16);
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&masked_crc(&length).to_le_bytes());
    bytes.extend_from_slice(event);
    bytes.extend_from_slice(&masked_crc(event).to_le_bytes());
    bytes
}

/// The mask of the record format, which keeps a checksum of checksums from degenerating.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), bit by bit: events are a few hundred bytes a step.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let fold = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 }
        })
    };
    !bytes.iter().fold(!0, fold)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    put_varint(out, field << 3 | wire_type);
}

fn put_varint_field(out: &mut Vec<u8>, field: u64, value: u64) {
    put_key(out, field, 0);
    put_varint(out, value);
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(out, field, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_equals_the_published_one() {
        // RFC 3720, appendix B.4, and the usual check value.
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    /// Splits a file into its events, checking lengths and checksums.
    fn events(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut rest = bytes;
        let mut events = Vec::new();
        while !rest.is_empty() {
            let (length, tail) = rest.split_at(8);
            let (length_crc, tail) = tail.split_at(4);
            assert_eq!(length_crc, masked_crc(length).to_le_bytes());
            let (event, tail) =
                tail.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (event_crc, tail) = tail.split_at(4);
            assert_eq!(event_crc, masked_crc(event).to_le_bytes());
            events.push(event.to_vec());
            rest = tail;
        }
        events
    }

    /// Fields of a message: number, and payload with a varint as its 8 bytes.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
        fn varint(bytes: &mut &[u8]) -> u64 {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let byte = bytes[0];
                *bytes = &bytes[1..];
                value |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            value
        }
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let n_bytes = match key & 7 {
                0 => {
                    fields.push((key >> 3, varint(&mut bytes).to_le_bytes().to_vec()));
                    continue;
                }
                1 => 8,
                2 => varint(&mut bytes) as usize,
                5 => 4,
                other => panic!("wire type {other}"),
            };
            let (payload, rest) = bytes.split_at(n_bytes);
            fields.push((key >> 3, payload.to_vec()));
            bytes = rest;
        }
        fields
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }

    #[test]
    fn what_is_written_reads_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path(), 0).unwrap();
        writer.scalars(300, &[("train/loss", 2.5), ("train/lr", 1e-3)]).unwrap();
        writer.sync().unwrap();
        let events = events(&std::fs::read(&files(folder.path())[0]).unwrap());
        assert_eq!(events.len(), 2);
        let head = fields(&events[0]);
        let seconds = f64::from_le_bytes(head[0].1.clone().try_into().unwrap());
        assert!((wall_time() - seconds).abs() < 600.0);
        assert_eq!(head[1], (3, FILE_VERSION.as_bytes().to_vec()));
        let event = fields(&events[1]);
        assert_eq!(event[1], (2, 300u64.to_le_bytes().to_vec()));
        assert_eq!(event[2].0, 5);
        let values: Vec<_> = fields(&event[2].1).iter().map(|value| fields(&value.1)).collect();
        assert_eq!(values.len(), 2);
        assert_eq!(values[0], [(1, b"train/loss".to_vec()), (2, 2.5f32.to_le_bytes().to_vec())]);
        assert_eq!(values[1], [(1, b"train/lr".to_vec()), (2, 1e-3f32.to_le_bytes().to_vec())]);
    }

    #[test]
    fn a_resumed_run_marks_its_session_in_a_later_file() {
        let folder = tempfile::tempdir().unwrap();
        EventWriter::create(folder.path(), 0).unwrap();
        EventWriter::create(folder.path(), 25).unwrap();
        let files = files(folder.path());
        assert_eq!(files.len(), 2);
        let events = events(&std::fs::read(&files[1]).unwrap());
        let mark = fields(&events[1]);
        assert_eq!(mark[1], (2, 26u64.to_le_bytes().to_vec()));
        assert_eq!(mark[2].0, 7);
        assert_eq!(fields(&mark[2].1), [(1, SESSION_START.to_le_bytes().to_vec())]);
    }
}
