//! Turns a Modelfile's commands into a create request and the files to upload.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::files::{self, Files};
use crate::api::ollama::{CreateRequest, StringOrList};
use crate::chat::Message;
use crate::cli::parameter;
use crate::model::ModelName;
use crate::model::modelfile::{Command, Modelfile};

/// The files to upload and the request to send afterwards.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Complete except for the digests of the files and the name.
    pub(super) request: CreateRequest,
    pub(super) files: Files,
    pub(super) adapters: Files,
    pub(super) draft_files: Files,
    pub(super) warnings: Vec<String>,
    /// Paths of FROM, which DRAFT must not repeat.
    from_paths: Vec<PathBuf>,
    licenses: Vec<String>,
}

/// Reads all commands; paths are relative to `folder`.
pub(super) fn plan(
    modelfile: &Modelfile,
    folder: &Path,
    home: Option<&Path>,
) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    for command in &modelfile.commands {
        let added = plan.add(command, folder, home);
        // Errors name the line, so that the user finds it; the implied `FROM .` has no line.
        match added {
            Err(error) if command.line > 0 => anyhow::bail!("(line {}): {error}", command.line),
            added => added?,
        }
    }
    if !plan.licenses.is_empty() {
        plan.request.license = Some(StringOrList::Many(std::mem::take(&mut plan.licenses)));
    }
    Ok(plan)
}

impl Plan {
    fn add(&mut self, command: &Command, folder: &Path, home: Option<&Path>) -> anyhow::Result<()> {
        let value = &command.value;
        let request = &mut self.request;
        match command.name.as_str() {
            "from" => self.add_from(value, folder, home)?,
            "adapter" => self.adapters = local_files(value, folder, home)?,
            "draft" => self.add_draft(value, folder, home)?,
            "template" => request.template.clone_from(value),
            "system" => request.system.clone_from(value),
            "renderer" => request.renderer.clone_from(value),
            "parser" => request.parser.clone_from(value),
            "license" => self.licenses.push(value.clone()),
            "requires" => request.requires = requires(value)?,
            "message" => request.messages.push(Message::text(&command.key, value)),
            "parameter" => {
                let warning = add_parameter(&mut request.parameters, &command.key, value);
                self.warnings.extend(warning.map_err(anyhow::Error::msg)?);
            }
            other => anyhow::bail!("unknown command \"{other}\""),
        }
        Ok(())
    }

    fn add_from(&mut self, value: &str, folder: &Path, home: Option<&Path>) -> anyhow::Result<()> {
        let path = files::expand(value, folder, home)?;
        match files::collect(&path)? {
            Some(found) => {
                self.files.extend(found);
                self.from_paths.push(path);
            }
            None if is_path(value) => anyhow::bail!(
                "no file {value}: {} is not there; FROM takes a GGUF file, a folder or the name of a model",
                path.components().collect::<PathBuf>().display()
            ),
            None => value.clone_into(&mut self.request.from),
        }
        Ok(())
    }

    fn add_draft(&mut self, value: &str, folder: &Path, home: Option<&Path>) -> anyhow::Result<()> {
        let path = files::expand(value, folder, home)?;
        if self.from_paths.contains(&path) {
            let path = path.display();
            anyhow::bail!("DRAFT must not reference the same local path as FROM: {path}");
        }
        self.draft_files.extend(local_files(value, folder, home)?);
        Ok(())
    }
}

/// Whether a text can only be a path: a model's name neither begins nor ends like that.
fn is_path(value: &str) -> bool {
    let begins = ["/", "./", "../", "~"];
    let ends = [".gguf", ".bin", ".safetensors", ".pth"];
    let is_plain = !value.contains(':');
    matches!(value, "." | "..")
        || begins.iter().any(|begin| value.starts_with(begin))
        || is_plain && ends.iter().any(|end| value.ends_with(end))
        || ModelName::parse(value).is_err()
            && ModelName::split_source(value)
                .is_ok_and(|(rest, _)| ModelName::parse(&rest).is_err())
}

fn local_files(value: &str, folder: &Path, home: Option<&Path>) -> anyhow::Result<Files> {
    let path = files::expand(value, folder, home)?;
    let Some(found) = files::collect(&path)? else {
        anyhow::bail!("stat {}: no such file or directory", path.display());
    };
    Ok(found)
}

/// Sets a parameter, or returns a warning about one that no longer has an effect.
fn add_parameter(
    parameters: &mut Map<String, Value>,
    key: &str,
    text: &str,
) -> Result<Option<String>, String> {
    if parameter::is_deprecated(key) {
        return Ok(Some(format!("warning: parameter {key} is deprecated")));
    }
    let value = parameter::parse(key, &[text])?;
    match (parameters.get_mut(key), value) {
        (Some(Value::Array(list)), Value::Array(more)) => list.extend(more),
        (_, value) => {
            parameters.insert(key.to_owned(), value);
        }
    }
    Ok(None)
}

/// Accepts `1.2.3`, `v1.2`, `0.14.0-rc1`, `1`.
fn requires(value: &str) -> anyhow::Result<String> {
    let version = value.strip_prefix('v').unwrap_or(value);
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let is_number =
        |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if numbers.len() > 3 || !numbers.iter().all(is_number) {
        anyhow::bail!("requires must be a valid semver (e.g. 0.14.0)");
    }
    Ok(version.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn command(name: &str, key: &str, value: &str) -> Command {
        Command {
            name: name.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
            line: 7,
        }
    }

    fn planned(commands: &[Command]) -> anyhow::Result<Plan> {
        let modelfile = Modelfile {
            commands: commands.to_vec(),
        };
        plan(&modelfile, Path::new("/no/such/folder"), None)
    }

    #[test]
    fn a_from_without_file_is_a_model() {
        let plan = planned(&[
            command("from", "", "llama3.2"),
            command("system", "", "a"),
            command("system", "", "b"),
            command("license", "", "one"),
            command("license", "", "two"),
            command("message", "user", "hi"),
            command("parameter", "stop", "x"),
            command("parameter", "stop", "y"),
            command("parameter", "temperature", "0.5"),
            command("parameter", "temperature", "1"),
            command("parameter", "mirostat", "1"),
        ])
        .unwrap();
        assert_eq!(plan.request.from, "llama3.2");
        assert_eq!(plan.request.system, "b");
        let two = StringOrList::Many(vec!["one".to_owned(), "two".to_owned()]);
        assert_eq!(plan.request.license, Some(two));
        assert_eq!(plan.request.messages, [Message::text("user", "hi")]);
        let expected = json!({"stop": ["x", "y"], "temperature": 1.0});
        assert_eq!(Value::Object(plan.request.parameters), expected);
        assert_eq!(plan.warnings, ["warning: parameter mirostat is deprecated"]);
    }

    #[test]
    fn a_from_that_can_only_be_a_file_must_be_there() {
        for from in [
            "./m.gguf",
            "../m",
            "/models/m",
            "m.gguf",
            "models/m.gguf",
            "m.safetensors",
            "a b",
        ] {
            let error = planned(&[command("from", "", from)]).unwrap_err();
            let said = format!("(line 7): no file {from}: /");
            assert!(error.to_string().starts_with(&said), "{error}");
        }
        for from in [
            "m",
            "m:8b",
            "user/m",
            "hf.co/user/repo:m.gguf",
            "localhost:5000/a/b",
            "m:cloud",
        ] {
            let plan = planned(&[command("from", "", from)]).unwrap();
            assert_eq!(plan.request.from, from);
        }
    }

    #[test]
    fn mistakes_name_the_line() {
        let error = planned(&[command("parameter", "tempo", "1")]).unwrap_err();
        assert_eq!(error.to_string(), "(line 7): unknown parameter 'tempo'");
    }

    #[test]
    fn an_adapter_must_exist() {
        let error = planned(&[command("adapter", "", "a.gguf")]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "(line 7): stat /no/such/folder/a.gguf: no such file or directory"
        );
    }

    #[test]
    fn a_draft_is_not_the_model() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("m.gguf"), "GGUF").unwrap();
        let modelfile = Modelfile {
            commands: vec![
                command("from", "", "m.gguf"),
                command("draft", "", "m.gguf"),
            ],
        };
        let error = plan(&modelfile, folder.path(), None)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("(line 7): DRAFT must not reference the same local path as FROM: ")
        );
    }

    #[test]
    fn versions_are_checked() {
        assert_eq!(requires("v0.14.0").unwrap(), "0.14.0");
        assert!(requires("new").is_err());
    }
}
