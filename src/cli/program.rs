//! The name under which the program was started: as `ollama` it prints Ollama's texts, which scripts parse; as `drover`
//! its own.

use std::ffi::OsStr;
use std::path::Path;

use crate::client::ClientError;

/// One of the two names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Drover,
    Ollama,
}

impl Program {
    /// Reads the first word of a command line; anything but `ollama` is drover.
    pub(super) fn of(argv0: Option<&OsStr>) -> Self {
        let stem = argv0.map(Path::new).and_then(Path::file_stem);
        if stem.is_some_and(|stem| stem == "ollama") {
            Self::Ollama
        } else {
            Self::Drover
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Drover => "drover",
            Self::Ollama => "ollama",
        }
    }

    /// The name of the daemon.
    pub(crate) const fn server(self) -> &'static str {
        match self {
            Self::Drover => "the daemon",
            Self::Ollama => "ollama server",
        }
    }

    /// An error as the user reads it.
    pub(super) fn describe(self, error: &anyhow::Error) -> String {
        match (self, error.downcast_ref()) {
            (Self::Drover, Some(ClientError::Unreachable)) => {
                "no daemon answers; start it with `drover serve`, or with `systemctl start drover` \
                 where it is a service (OLLAMA_HOST says where it is looked for)"
                    .to_owned()
            }
            _ => error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_words() {
        let unreachable = anyhow::Error::from(ClientError::Unreachable);
        for (path, program, words) in [
            (
                "/usr/bin/ollama",
                Program::Ollama,
                "run 'ollama serve' to start it",
            ),
            ("drover", Program::Drover, "`drover serve`"),
            ("/opt/drover-0.1", Program::Drover, "`drover serve`"),
        ] {
            assert_eq!(Program::of(Some(OsStr::new(path))), program);
            let text = program.describe(&unreachable);
            assert!(text.contains(words), "{text}");
        }
        let other = anyhow::anyhow!("ollama server");
        assert_eq!(Program::Drover.describe(&other), "ollama server");
    }
}
