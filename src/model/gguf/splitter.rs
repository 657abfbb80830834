//! Cuts GGUF files into parts for tests, as `llama-gguf-split --split` does.

use std::io::Cursor;

use super::Metadata;
use super::tensor::kind_named;

/// Splits a file into this many parts; all but the last have equally many tensors.
///
/// # Panics
/// On files that are not GGUF, have too few tensors, or whose tensors are not in order and padded to 32 bytes;
/// this is for tests.
#[expect(clippy::unwrap_used, reason = "a mistake in a test should be loud")]
pub fn split(file: &[u8], n_parts: usize) -> Vec<Vec<u8>> {
    let header = Metadata::read(&mut Cursor::new(file)).unwrap();
    let tensors = &header.tensors;
    let name = |index: usize| -> Vec<u8> { string(&tensors[index].name) };
    let n_data = data_length(&header, file);
    let data = &file[file.len() - n_data..];
    let descriptions = position(file, &name(0));
    let (n_pairs, pairs) = (number(file, 16), &file[24..descriptions]);
    let per_part = tensors.len().div_ceil(n_parts);
    let mut parts = Vec::new();
    let mut place = descriptions;
    for no in 0..n_parts {
        let these = no * per_part..tensors.len().min((no + 1) * per_part);
        let offset = |index: usize| -> usize {
            let tensor = tensors.get(index);
            tensor.map_or(n_data, |tensor| usize::try_from(tensor.offset).unwrap())
        };
        let mut part = b"GGUF\x03\0\0\0".to_vec();
        part.extend((these.len() as u64).to_le_bytes());
        part.extend((3 + if no == 0 { n_pairs } else { 0 }).to_le_bytes());
        if no == 0 {
            part.extend(pairs);
        }
        part.extend(string("split.no"));
        part.extend([2, 0, 0, 0]);
        part.extend(u16::try_from(no).unwrap().to_le_bytes());
        part.extend(string("split.count"));
        part.extend([2, 0, 0, 0]);
        part.extend(u16::try_from(n_parts).unwrap().to_le_bytes());
        part.extend(string("split.tensors.count"));
        part.extend([5, 0, 0, 0]);
        part.extend(i32::try_from(tensors.len()).unwrap().to_le_bytes());
        for index in these.clone() {
            let length = name(index).len() + 4 + 8 * tensors[index].shape.len() + 4;
            part.extend(&file[place..place + length]);
            place += length + 8;
            part.extend(((offset(index) - offset(these.start)) as u64).to_le_bytes());
        }
        part.resize(part.len().next_multiple_of(32), 0);
        part.extend(&data[offset(these.start)..offset(these.end)]);
        parts.push(part);
    }
    parts
}

/// Gives every byte of the tensors a value different from its neighbors'; the padding stays.
///
/// # Panics
/// As [`split`].
#[expect(clippy::unwrap_used, reason = "a mistake in a test should be loud")]
pub fn fill(mut file: Vec<u8>) -> Vec<u8> {
    let header = Metadata::read(&mut Cursor::new(&file)).unwrap();
    let data = file.len() - data_length(&header, &file);
    for tensor in &header.tensors {
        let size = kind_named(tensor.kind).and_then(|kind| kind.size_bytes(&tensor.shape));
        let size = usize::try_from(size.unwrap()).unwrap();
        let start = data + usize::try_from(tensor.offset).unwrap();
        for (index, byte) in file[start..start + size].iter_mut().enumerate() {
            *byte = u8::try_from((start + index) % 251).unwrap();
        }
    }
    file
}

/// Bytes after the header, which ends with the last tensor's offset.
#[expect(clippy::unwrap_used, reason = "a mistake in a test should be loud")]
fn data_length(header: &Metadata, file: &[u8]) -> usize {
    let last = header.tensors.last().unwrap();
    let name = string(&last.name);
    let end = position(file, &name) + name.len() + 4 + 8 * last.shape.len() + 4 + 8;
    file.len() - end.next_multiple_of(32)
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}

#[expect(clippy::unwrap_used, reason = "a mistake in a test should be loud")]
fn position(file: &[u8], wanted: &[u8]) -> usize {
    let mut windows = file.windows(wanted.len());
    windows.position(|window| window == wanted).unwrap()
}

#[expect(clippy::unwrap_used, reason = "a mistake in a test should be loud")]
fn number(file: &[u8], place: usize) -> u64 {
    u64::from_le_bytes(file[place..place + 8].try_into().unwrap())
}
