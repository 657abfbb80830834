//! Frames: a big-endian `u32` length, then that many bytes of JSON.
//!
//! The daemon reads them with `tokio_util::codec::LengthDelimitedCodec` (same layout), the
//! runner's threads with the blocking functions here.

use std::io::{self, Read, Write};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The longest frame in bytes; a request with several large images in base64 fits.
pub const MAX_FRAME_BYTES: usize = 1 << 30;

/// Encodes a frame's payload, without the length.
///
/// # Errors
/// Fails only for types that JSON cannot express.
pub fn encode<T: Serialize>(message: &T) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(message).map(Bytes::from)
}

/// Decodes a frame's payload.
///
/// # Errors
/// Fails when the other end speaks another version.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(payload)
}

/// Writes one frame, in a single write where the writer allows.
///
/// # Errors
/// Fails when the other end is gone or the frame is too long.
pub fn write_frame<T: Serialize>(writer: &mut impl Write, message: &T) -> io::Result<()> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, message)?;
    let length = frame.len() - 4;
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "frame too long",
        ));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    writer.write_all(&frame)?;
    writer.flush()
}

/// A received frame.
#[derive(Debug)]
pub enum Incoming<T> {
    Message(T),
    /// It cannot be decoded; the frames after it are not affected.
    Unreadable(serde_json::Error),
}

/// Reads one frame; `None` when the other end closed the channel between frames.
///
/// # Errors
/// Fails on a truncated or oversized frame.
pub fn read_frame<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<Incoming<T>>> {
    let mut prefix = [0; 4];
    match reader.read_exact(&mut prefix) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = u32::from_be_bytes(prefix) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
    }
    let mut payload = vec![0; length];
    reader.read_exact(&mut payload)?;
    Ok(Some(match serde_json::from_slice(&payload) {
        Ok(message) => Incoming::Message(message),
        Err(error) => Incoming::Unreadable(error),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Command;

    #[test]
    fn frames_come_back_whole_and_in_order() {
        let sent = [Command::Cancel { id: 7 }, Command::Shutdown];
        let mut wire = Vec::new();
        for command in &sent {
            write_frame(&mut wire, command).unwrap();
        }
        let mut reader = wire.as_slice();
        for expected in sent {
            let frame = read_frame::<Command>(&mut reader).unwrap().unwrap();
            assert!(matches!(frame, Incoming::Message(command) if command == expected));
        }
        assert!(read_frame::<Command>(&mut reader).unwrap().is_none());
    }

    #[test]
    fn a_frame_of_another_shape_does_not_hurt_the_next_one() {
        let mut wire = Vec::new();
        write_frame(&mut wire, &"nonsense").unwrap();
        write_frame(&mut wire, &Command::Shutdown).unwrap();
        let mut reader = wire.as_slice();
        let first = read_frame::<Command>(&mut reader).unwrap().unwrap();
        assert!(matches!(first, Incoming::Unreadable(_)));
        let second = read_frame(&mut reader).unwrap().unwrap();
        assert!(matches!(second, Incoming::Message(Command::Shutdown)));
    }

    #[test]
    fn hostile_length_is_refused_without_allocating() {
        let mut reader: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0];
        assert!(read_frame::<Command>(&mut reader).is_err());
    }
}
