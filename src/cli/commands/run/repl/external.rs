//! Editing a prompt in the user's own editor.

use std::io::{self, Write as _};
use std::process::Command;

use crate::cli::ui::Ui;

/// Opens `text` in the editor and returns what was saved; on failure reports why and returns the text unchanged.
pub(super) fn edit(ui: Ui, editor: &str, text: String) -> String {
    match try_edit(editor, &text) {
        Ok(edited) => edited,
        Err(error) => {
            ui.talk(&format!("error: {error}"));
            text
        }
    }
}

fn try_edit(editor: &str, text: &str) -> anyhow::Result<String> {
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let mut file = tempfile::Builder::new()
        .prefix("prompt-")
        .suffix(".txt")
        .tempfile()?;
    file.write_all(text.as_bytes())?;
    file.flush()?;
    let status = Command::new(program).args(words).arg(file.path()).status();
    let status = match status {
        Err(error) if error.kind() == io::ErrorKind::NotFound => anyhow::bail!(
            "editor \"{program}\" not found, set OLLAMA_EDITOR to the path of your preferred editor"
        ),
        status => status?,
    };
    if !status.success() {
        anyhow::bail!("editor \"{program}\" ended with {status}");
    }
    // Editors may replace the file, so its path is read again.
    let edited = fs_err::read_to_string(file.path())?;
    Ok(edited.trim_end_matches('\n').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_editor_has_ollamas_text() {
        let error = try_edit("no-such-editor -w", "x").unwrap_err();
        assert_eq!(
            error.to_string(),
            "editor \"no-such-editor\" not found, set OLLAMA_EDITOR to the path of your preferred editor"
        );
    }

    #[test]
    fn the_saved_text_comes_back() {
        assert_eq!(try_edit("true", "a\nb").unwrap(), "a\nb");
    }
}
