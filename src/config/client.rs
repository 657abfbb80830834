//! The command line's settings from its environment.

use std::path::PathBuf;

use super::HostSpec;
use super::values::{boolean, clean};

/// The CLI's settings.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `OLLAMA_HOST`: the daemon to talk to.
    pub host: HostSpec,
    /// `OLLAMA_NOHISTORY`: typed prompts are not written to disk.
    pub no_history: bool,
    /// `OLLAMA_EDITOR`, `VISUAL`, `EDITOR`, else `vi`.
    pub editor: String,
    /// drover's own per-user state, which includes the prompt history.
    pub state_dir: Option<PathBuf>,
    /// For `~` in a Modelfile's paths.
    pub home: Option<PathBuf>,
    /// `OLLAMA_API_KEY`: for the daemon.
    pub api_key: Option<String>,
    /// `OPENAI_BASE_URL` and `OPENAI_API_KEY`: for commands that name another server.
    pub openai_base: Option<String>,
    pub openai_key: Option<String>,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
}

impl ClientConfig {
    /// Reads the settings through `lookup`, which returns a variable's value.
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Self {
        let value = |name| lookup(name).filter(|text| !clean(text).is_empty());
        let home = value("HOME").map(PathBuf::from);
        let editor = ["OLLAMA_EDITOR", "VISUAL", "EDITOR"]
            .into_iter()
            .find_map(value);
        let state_dir = value("DROVER_STATE_DIR").map(PathBuf::from).or_else(|| {
            let state_home = value("XDG_STATE_HOME").map(PathBuf::from);
            let state_home = state_home.or_else(|| Some(home.as_ref()?.join(".local/state")));
            Some(state_home?.join("drover"))
        });
        Self {
            host: HostSpec::parse(&value("OLLAMA_HOST").unwrap_or_default()),
            no_history: boolean(&value("OLLAMA_NOHISTORY").unwrap_or_default()),
            editor: editor.map_or_else(|| "vi".to_owned(), |text| clean(&text).to_owned()),
            state_dir,
            home,
            api_key: value("OLLAMA_API_KEY").map(|key| clean(&key).to_owned()),
            openai_base: value("OPENAI_BASE_URL"),
            openai_key: value("OPENAI_API_KEY"),
            no_color: value("NO_COLOR").is_some(),
        }
    }

    /// Reads the settings of this process.
    pub fn load() -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "the look-up that is injected elsewhere"
        )]
        Self::from_lookup(&|name| std::env::var(name).ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&str, &str)]) -> ClientConfig {
        ClientConfig::from_lookup(&|name| {
            let found = variables.iter().find(|(key, _)| *key == name)?;
            Some(found.1.to_owned())
        })
    }

    #[test]
    fn an_empty_environment_gives_defaults() {
        let config = config(&[]);
        assert_eq!(config.host.base_url(), "http://127.0.0.1:11434");
        assert_eq!(config.editor, "vi");
        assert_eq!(config.state_dir, None);
        assert!(!config.no_history && !config.no_color);
    }

    #[test]
    fn the_first_editor_that_is_set_wins() {
        assert_eq!(config(&[("VISUAL", ""), ("EDITOR", "nano")]).editor, "nano");
        assert_eq!(
            config(&[("OLLAMA_EDITOR", "code -w"), ("EDITOR", "nano")]).editor,
            "code -w"
        );
    }

    #[test]
    fn state_follows_the_home_folder() {
        let below_home = config(&[("HOME", "/home/a")]).state_dir;
        assert_eq!(
            below_home,
            Some(PathBuf::from("/home/a/.local/state/drover"))
        );
        let moved = config(&[("HOME", "/home/a"), ("XDG_STATE_HOME", "/s")]).state_dir;
        assert_eq!(moved, Some(PathBuf::from("/s/drover")));
    }
}
