//! Which stores this program has served before. Kept in our own state, never in a store.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use super::layout::explain;
use super::{Store, StoreError};

/// File in the state folder: one store's path per line.
const KNOWN: &str = "stores";

impl Store {
    /// Notes in `state` that this store has been served; returns whether it was noted before.
    ///
    /// # Errors
    /// Fails when the state folder cannot be read or written.
    pub fn remember(&self, state: &Path) -> Result<bool, StoreError> {
        let root = fs_err::canonicalize(self.root()).map_err(StoreError::Io)?;
        let root = root.to_string_lossy();
        let path = state.join(KNOWN);
        let known = match fs_err::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(explain(&path, error)),
        };
        if known.lines().any(|line| line == root) {
            return Ok(true);
        }
        fs_err::create_dir_all(state).map_err(|error| explain(state, error))?;
        let mut file =
            tempfile::NamedTempFile::new_in(state).map_err(|error| explain(state, error))?;
        writeln!(file, "{}{root}", with_line_end(&known))?;
        file.persist(&path)
            .map_err(|error| StoreError::Io(error.error))?;
        Ok(false)
    }
}

fn with_line_end(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') {
        text.to_owned()
    } else {
        format!("{text}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_new_once() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let one = Store::open(&folder.path().join("one")).unwrap();
        let two = Store::open(&folder.path().join("two")).unwrap();
        assert!(!one.remember(&state).unwrap());
        assert!(one.remember(&state).unwrap());
        assert!(!two.remember(&state).unwrap());
        assert!(two.remember(&state).unwrap() && one.remember(&state).unwrap());
    }

    #[test]
    fn a_state_folder_that_cannot_be_made_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store")).unwrap();
        let state = folder.path().join("file");
        fs_err::write(&state, "").unwrap();
        assert!(store.remember(&state).is_err());
    }
}
