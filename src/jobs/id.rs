//! Ids of files, uploads and jobs.

/// How many random letters and digits follow an id's prefix: 143 bits, so that ids cannot be guessed.
const LENGTH: usize = 24;

/// Makes a unique id, which can also be a file name.
pub(super) fn new(prefix: &str) -> String {
    use rand_core::{OsRng, RngCore as _};
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut name = prefix.to_owned();
    for _ in 0..LENGTH {
        // 2³² is so much larger than 62 that no letter is noticeably more frequent.
        let letter = LETTERS[(OsRng.next_u32() % 62) as usize];
        name.push(char::from(letter));
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_are_fit_for_a_folder() {
        let names = [new("file-"), new("file-")];
        assert_ne!(names[0], names[1]);
        for name in names {
            let rest = name.strip_prefix("file-").unwrap();
            assert_eq!(rest.len(), LENGTH);
            assert!(rest.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }
}
