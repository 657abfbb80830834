//! Reads the paths of files and folders.

use std::path::{Path, PathBuf};

use super::Reader;

impl Reader<'_> {
    fn home(&self) -> Option<PathBuf> {
        self.text("HOME").map(PathBuf::from)
    }

    pub(super) fn models(&mut self) -> Option<PathBuf> {
        let models = self
            .text("OLLAMA_MODELS")
            .map(PathBuf::from)
            .or_else(|| Some(self.home()?.join(".ollama/models")));
        self.required(models, "OLLAMA_MODELS")
    }

    /// systemd's `StateDirectory=` when run as a service, else the user's state folder.
    pub(super) fn state_dir(&mut self) -> Option<PathBuf> {
        let service = self.text("STATE_DIRECTORY");
        let service = service.and_then(|list| list.split(':').next().map(PathBuf::from));
        let state = self
            .text("DROVER_STATE_DIR")
            .map(PathBuf::from)
            .or(service)
            .or_else(|| Some(PathBuf::from(self.text("XDG_STATE_HOME")?).join("drover")))
            .or_else(|| Some(self.home()?.join(".local/state/drover")));
        self.required(state, "DROVER_STATE_DIR")
    }

    /// Ollama's path; without a home folder, a path in our state folder.
    pub(super) fn registry_key(&self, state_dir: Option<&Path>) -> PathBuf {
        let home = self.home().map(|home| home.join(".ollama"));
        let folder = home.or_else(|| state_dir.map(Path::to_owned));
        folder.unwrap_or_default().join("id_ed25519")
    }

    fn required(&mut self, path: Option<PathBuf>, name: &str) -> Option<PathBuf> {
        if path.is_none() {
            self.mistakes
                .push(format!("$HOME is not set: set HOME or {name}"));
        }
        path
    }
}
