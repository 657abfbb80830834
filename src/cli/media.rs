//! Images and audio files whose paths are in a prompt.

use std::io::Read as _;
use std::path::Path;

use crate::chat::Image;
use crate::cli::ui::Ui;

const ENDINGS: [&str; 5] = [".jpeg", ".jpg", ".png", ".webp", ".wav"];
const MAX_BYTES: u64 = 100 * 1024 * 1024;
/// What a shell's backslash protects in a path.
const ESCAPED: &str = " ()[]{}$&;'\\*?~";

/// A prompt without the paths, and what they named.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Extracted {
    pub(super) text: String,
    pub(super) images: Vec<Image>,
}

/// Whether the text contains something that looks like the path of an image or audio file.
pub(super) fn mentions_path(text: &str, path: &str) -> bool {
    candidates(text)
        .iter()
        .any(|candidate| candidate.starts_with(path))
}

/// Reads the files named in a prompt; paths that do not exist stay in the text.
pub(super) fn extract(ui: Ui, prompt: &str) -> anyhow::Result<Extracted> {
    let mut found = Extracted {
        text: prompt.to_owned(),
        images: Vec::new(),
    };
    let mut at = 0;
    while let Some((start, end)) = next_candidate(&prompt[at..]) {
        let candidate = &prompt[at + start..at + end];
        let path = unescape(candidate);
        let (bytes, kind) = match read(Path::new(&path)) {
            Ok(Some(file)) => file,
            Ok(None) => {
                // A slash before the path may have been mistaken for its start.
                at += start + 1;
                continue;
            }
            Err(error) => {
                ui.talk(&format!("Couldn't process file: \"{error}\""));
                return Err(error);
            }
        };
        ui.talk(&format!("Added {kind} '{path}'"));
        found.text = found
            .text
            .replace(&format!("'{path}'"), "")
            .replace(candidate, "");
        found.images.push(Image(bytes.into()));
        at += end;
    }
    found.text = found.text.trim().to_owned();
    Ok(found)
}

/// Everything that looks like a path, in order.
fn candidates(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((start, end)) = next_candidate(rest) {
        found.push(&rest[start..end]);
        rest = &rest[end..];
    }
    found
}

/// Finds what looks like a path: `./`, `/` or a backslash, then as few characters (including blanks, but no line ends)
/// as lead to a known extension at a word's end.
fn next_candidate(text: &str) -> Option<(usize, usize)> {
    let mut at = 0;
    loop {
        let start = at + find_start(&text[at..])?;
        let from = &text[start..];
        let line = &from[..from.find(['\n', '\r', '\t']).unwrap_or(from.len())];
        if let Some(end) = find_end(line) {
            return Some((start, start + end));
        }
        at = start + 1;
    }
}

/// The offset at which a path may begin, its drive letter included.
fn find_start(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let slash = bytes.iter().enumerate().position(|(at, byte)| {
        let follows = bytes
            .get(at + 1)
            .is_some_and(|next| !next.is_ascii_whitespace());
        matches!(byte, b'/' | b'\\') && follows
    })?;
    let dotted = slash.checked_sub(1).filter(|at| bytes[*at] == b'.');
    let start = dotted.unwrap_or(slash);
    let drive = start
        .checked_sub(2)
        .filter(|at| bytes[*at].is_ascii_alphabetic() && bytes[*at + 1] == b':');
    Some(drive.unwrap_or(start))
}

/// The offset after the first known extension that ends a word.
fn find_end(text: &str) -> Option<usize> {
    let lower = text.to_ascii_lowercase();
    for (at, _) in lower.match_indices('.') {
        for ending in ENDINGS {
            let end = at + ending.len();
            if !lower[at..].starts_with(ending) {
                continue;
            }
            let next = lower[end..].chars().next();
            if next.is_none_or(|next| !next.is_alphanumeric() && next != '_') {
                return Some(end);
            }
        }
    }
    None
}

fn unescape(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let mut characters = path.chars().peekable();
    while let Some(character) = characters.next() {
        let escaped = characters
            .peek()
            .is_some_and(|next| ESCAPED.contains(*next));
        match (character, escaped) {
            ('\\', true) => plain.extend(characters.next()),
            _ => plain.push(character),
        }
    }
    plain
}

/// Reads a file and names its kind; `None` when there is no such file.
fn read(path: &Path) -> anyhow::Result<Option<(Vec<u8>, &'static str)>> {
    let Ok(file) = fs_err::File::open(path) else {
        return Ok(None);
    };
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Ok(None);
    }
    if metadata.len() > MAX_BYTES {
        anyhow::bail!("file size exceeds maximum limit (100MB)");
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    let kind = kind(&bytes).map_err(|kind| anyhow::anyhow!("invalid file type: {kind}"))?;
    Ok(Some((bytes, kind)))
}

/// Finds the kind from the first bytes.
fn kind(bytes: &[u8]) -> Result<&'static str, &'static str> {
    match bytes {
        [0xff, 0xd8, 0xff, ..] | [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => {
            Ok("image")
        }
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Ok("image"),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'A',
            b'V',
            b'E',
            ..,
        ] => Ok("audio"),
        [b'G', b'I', b'F', b'8', ..] => Err("image/gif"),
        bytes if std::str::from_utf8(bytes).is_ok() => Err("text/plain; charset=utf-8"),
        _ => Err("application/octet-stream"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found_in_text() {
        for (text, expected) in [
            ("what is ./a.png?", vec!["./a.png"]),
            ("./a.png and /b/c.JPG please", vec!["./a.png", "/b/c.JPG"]),
            ("see './my photo.jpeg' now", vec!["./my photo.jpeg"]),
            ("./my\\ photo.webp", vec!["./my\\ photo.webp"]),
            ("C:\\pics\\a.png", vec!["C:\\pics\\a.png"]),
            ("a.png is no path", vec![]),
            ("/a.pngx", vec![]),
            ("either / or", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(candidates(text), expected, "{text}");
        }
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescape("./my\\ photo\\(1\\).png"), "./my photo(1).png");
        assert_eq!(unescape("C:\\pics\\a.png"), "C:\\pics\\a.png");
    }

    #[test]
    fn files_leave_the_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a b.png");
        fs_err::write(&path, b"\x89PNG\r\n\x1a\nrest").unwrap();
        let ui = Ui::new(true);
        let prompt = format!("what is '{}'? /no/such.png", path.display());
        let found = extract(ui, &prompt).unwrap();
        assert_eq!(found.text, "what is ? /no/such.png");
        assert_eq!(found.images.len(), 1);
        let escaped = path.display().to_string().replace(' ', "\\ ");
        let found = extract(ui, &format!("{escaped} what?")).unwrap();
        assert_eq!(found.text, "what?");
    }

    #[test]
    fn kinds_are_sniffed() {
        assert_eq!(kind(b"RIFF\0\0\0\0WAVEfmt"), Ok("audio"));
        assert_eq!(kind(b"RIFF\0\0\0\0WEBPVP8"), Ok("image"));
        assert_eq!(kind(b"GIF89a"), Err("image/gif"));
    }
}
