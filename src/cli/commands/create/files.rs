//! Which files a FROM, ADAPTER or DRAFT refers to, and their names in the request.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use crate::model::gguf::split::PartName;

const NOTHING: &str = "no Modelfile or safetensors files found";
/// The first group with a match is the model.
const WEIGHTS: [&[&str]; 6] = [
    &[
        "model*.safetensors",
        "*/model*.safetensors",
        "adapter_model*.safetensors",
        "adapters*.safetensors",
    ],
    &["consolidated*.safetensors"],
    &["pytorch_model*.bin"],
    &["consolidated*.pth"],
    &["*.gguf"],
    &["*.bin"],
];
const COMPANIONS: [&str; 5] = [
    "*.json",
    "*/*.json",
    "chat_template.jinja",
    "tokenizer.model",
    "*/tokenizer.model",
];

/// Name in the request → file.
pub(super) type Files = BTreeMap<String, PathBuf>;

/// Expands `~` and resolves relative paths against the Modelfile's folder.
pub(super) fn expand(text: &str, folder: &Path, home: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(rest) = text.strip_prefix('~') {
        let Some(below) = rest
            .strip_prefix('/')
            .or_else(|| rest.is_empty().then_some(""))
        else {
            let user = rest.split('/').next().unwrap_or_default();
            anyhow::bail!("failed to find user '{user}': write the whole path instead");
        };
        let Some(home) = home else {
            anyhow::bail!("the home folder is unknown: HOME is not set")
        };
        return Ok(home.join(below));
    }
    Ok(folder.join(text))
}

/// Lists the files that a path stands for; `None` when there is no such path.
pub(super) fn collect(path: &Path) -> anyhow::Result<Option<Files>> {
    let metadata = match fs_err::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    if metadata.is_dir() {
        folder_files(path).map(Some)
    } else if metadata.is_file() {
        Ok(Some(file_and_parts(path)))
    } else {
        anyhow::bail!("{}: no regular file", path.display())
    }
}

/// The file; if it is a part of a split file, also the other parts next to it. (The daemon reports missing parts.)
fn file_and_parts(path: &Path) -> Files {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut files = Files::new();
    if let Some(part) = PartName::parse(&name) {
        let siblings = (0..part.count).map(|index| part.sibling(index));
        let siblings = siblings.map(|name| (path.with_file_name(&name), name));
        let there = siblings.filter(|(path, _)| path.is_file());
        files.extend(there.map(|(path, name)| (name, path)));
    }
    files.insert(name.into_owned(), path.to_owned());
    files
}

fn folder_files(folder: &Path) -> anyhow::Result<Files> {
    let all = two_levels(folder)?;
    let select = |patterns: &[&str]| -> Vec<&(String, PathBuf)> {
        let wanted = |name: &str| patterns.iter().any(|pattern| matches(pattern, name));
        all.iter().filter(|(name, _)| wanted(name)).collect()
    };
    let weights = WEIGHTS
        .iter()
        .map(|patterns| select(patterns))
        .find(|found| !found.is_empty());
    let Some(weights) = weights else {
        anyhow::bail!(NOTHING)
    };
    let mut files = Files::new();
    for (name, path) in weights.into_iter().chain(select(&COMPANIONS)) {
        check_inside(folder, name, path)?;
        check_content(name, path)?;
        files.insert(name.clone(), path.clone());
    }
    Ok(files)
}

/// The files of a folder and of its subfolders, with `/`-separated relative names. Folders that we may not read
/// (`lost+found`), devices and FIFOs do not belong to the model.
fn two_levels(folder: &Path) -> anyhow::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for (name, path) in entries(folder)? {
        if !path.is_dir() {
            found.push((name, path));
            continue;
        }
        let inner = match entries(&path) {
            Ok(inner) => inner,
            Err(error) if error.kind() == ErrorKind::PermissionDenied => continue,
            Err(error) => return Err(error.into()),
        };
        let files = inner.into_iter().filter(|(_, path)| !path.is_dir());
        found.extend(files.map(|(inner, path)| (format!("{name}/{inner}"), path)));
    }
    // A dangling link is reported later, if its name says that it is needed.
    found.retain(|(_, path)| path.metadata().is_ok_and(|file| file.is_file()) || path.is_symlink());
    found.sort();
    Ok(found)
}

fn entries(folder: &Path) -> std::io::Result<Vec<(String, PathBuf)>> {
    let entries = fs_err::read_dir(folder)?.map(|entry| {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        Ok((name, entry.path()))
    });
    entries.collect()
}

/// Matches a name against a pattern in which `*` matches anything but `/`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => {
            let Some(rest) = name.strip_prefix(before) else {
                return false;
            };
            let room = rest.find('/').unwrap_or(rest.len());
            let mut ends = (0..=room).filter(|end| rest.is_char_boundary(*end));
            ends.any(|end| rest.get(end..).is_some_and(|rest| matches(after, rest)))
        }
    }
}

fn check_inside(folder: &Path, name: &str, path: &Path) -> anyhow::Result<()> {
    let inside = fs_err::canonicalize(path)?.starts_with(fs_err::canonicalize(folder)?);
    if inside {
        return Ok(());
    }
    if name.contains(".cache") {
        anyhow::bail!("insecure path: {name}, use `--local-dir` when downloading the model");
    }
    anyhow::bail!("insecure path: {name}")
}

/// Refuses a text page in place of weights, the usual result of a failed download.
fn check_content(name: &str, path: &Path) -> anyhow::Result<()> {
    let mut start = Vec::new();
    fs_err::File::open(path)?
        .take(512)
        .read_to_end(&mut start)?;
    let is_text = std::str::from_utf8(&start).is_ok_and(|text| !text.contains('\0'));
    let wants_text = [".json", ".jinja"].iter().any(|end| name.ends_with(end));
    let is_weights = name.ends_with(".gguf") || name.ends_with(".bin") || name.ends_with(".pth");
    if is_weights && is_text && !start.starts_with(b"GGUF") && !start.is_empty() {
        anyhow::bail!("invalid content type: expected application/octet-stream for {name}");
    }
    if wants_text && start.contains(&0) {
        anyhow::bail!("invalid content type: expected text/plain for {name}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &Files) -> Vec<&str> {
        files.keys().map(String::as_str).collect()
    }

    #[test]
    fn patterns_stay_within_a_folder() {
        assert!(matches(
            "model*.safetensors",
            "model-00001-of-00002.safetensors"
        ));
        assert!(matches("*/model*.safetensors", "a/model.safetensors"));
        assert!(!matches("*.json", "a/b.json"));
        assert!(!matches("model*.safetensors", "other.safetensors"));
    }

    #[test]
    fn paths_are_expanded() {
        let folder = Path::new("/models/x");
        let home = Some(Path::new("/home/a"));
        let expanded = |text| expand(text, folder, home).unwrap();
        assert_eq!(expanded("/abs/m.gguf"), Path::new("/abs/m.gguf"));
        assert_eq!(expanded("m.gguf"), Path::new("/models/x/m.gguf"));
        assert_eq!(expanded("~/m.gguf"), Path::new("/home/a/m.gguf"));
        assert_eq!(expanded("~"), Path::new("/home/a/"));
        assert!(expand("~b/m.gguf", folder, home).is_err());
    }

    #[test]
    fn a_folder_is_its_first_group_and_the_companions() {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in [
            ("model-1.safetensors", "x"),
            ("other.gguf", "GGUF"),
            ("config.json", "{}"),
            ("notes.txt", "x"),
        ] {
            fs_err::write(folder.path().join(name), content).unwrap();
        }
        let files = collect(folder.path()).unwrap().unwrap();
        assert_eq!(names(&files), ["config.json", "model-1.safetensors"]);
        let single = collect(&folder.path().join("other.gguf")).unwrap().unwrap();
        assert_eq!(names(&single), ["other.gguf"]);
        assert!(collect(&folder.path().join("none")).unwrap().is_none());
    }

    #[test]
    fn a_part_brings_the_others_that_lie_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let parts = ["a-00001-of-00003.gguf", "a-00003-of-00003.gguf"];
        for name in parts.iter().chain(&["b-00002-of-00003.gguf", "a.gguf"]) {
            fs_err::write(folder.path().join(name), "GGUF").unwrap();
        }
        for part in parts {
            let files = collect(&folder.path().join(part)).unwrap().unwrap();
            assert_eq!(names(&files), parts);
            assert_eq!(files[part], folder.path().join(part));
        }
    }

    #[test]
    fn what_is_no_file_or_not_ours_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs_err::write(path("a.gguf"), "GGUF").unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        for name in ["b.gguf", "config.json"] {
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, path(name), kind, mode, 0).unwrap();
        }
        let closed = path("lost+found");
        fs_err::create_dir(&closed).unwrap();
        fs_err::write(closed.join("config.json"), "{}").unwrap();
        let nobody = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        fs_err::set_permissions(&closed, nobody).unwrap();
        let files = collect(folder.path()).unwrap().unwrap();
        // The superuser may read every folder.
        let n_read = usize::from(fs_err::read_dir(&closed).is_ok());
        assert_eq!(names(&files)[..1], ["a.gguf"]);
        assert_eq!(files.len(), 1 + n_read, "{files:?}");
        let error = collect(&path("b.gguf")).unwrap_err().to_string();
        assert!(error.ends_with("b.gguf: no regular file"), "{error}");
        fs_err::remove_file(path("a.gguf")).unwrap();
        std::os::unix::fs::symlink("nowhere", path("a.gguf")).unwrap();
        let error = collect(folder.path()).unwrap_err().to_string();
        assert!(error.contains("a.gguf"), "{error}");
    }

    #[test]
    fn an_empty_folder_has_ollamas_text() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(collect(folder.path()).unwrap_err().to_string(), NOTHING);
    }
}
