//! What the repository says about itself is true: README, unit file, sample Modelfiles, scripts.

use std::path::{Path, PathBuf};
use std::process::Command;

use drover::config::env::VARIABLES;
use drover::model::modelfile::Modelfile;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs_err::read_dir(root().join(folder)).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect()
}

#[test]
fn the_readme_lists_every_variable_as_it_is() {
    let readme = fs_err::read_to_string(root().join("README.md")).unwrap();
    let documented: Vec<&str> = readme
        .lines()
        .filter(|line| line.starts_with("| `OLLAMA_") || line.starts_with("| `DROVER_"))
        .collect();
    let expected: Vec<String> = VARIABLES
        .iter()
        .map(|variable| {
            let default = match variable.default {
                "" => "–".to_owned(),
                default => format!("`{default}`"),
            };
            format!("| `{}` | {default} | {} |", variable.name, variable.doc)
        })
        .collect();
    assert_eq!(
        documented,
        expected,
        "the table should be:\n{}",
        expected.join("\n")
    );
}

#[test]
fn the_unit_names_only_variables_that_exist() {
    let unit = fs_err::read_to_string(root().join("systemd/drover.service")).unwrap();
    let mut n_named = 0;
    for word in unit.split(|c: char| !c.is_ascii_uppercase() && c != '_') {
        if word.starts_with("OLLAMA_") || word.starts_with("DROVER_") {
            n_named += 1;
            assert!(
                VARIABLES.iter().any(|variable| variable.name == word),
                "{word}"
            );
        }
    }
    assert!(n_named > 0);
}

#[test]
fn sample_modelfiles_are_modelfiles_with_known_parameters() {
    let samples = files("modelfiles");
    assert!(samples.len() >= 4, "{samples:?}");
    for path in samples {
        let name = path.display();
        let file = Modelfile::decode(&fs_err::read(&path).unwrap())
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            file.last("from")
                .is_some_and(|from| from.ends_with(".gguf")),
            "{name}"
        );
        let parameters = file
            .parameters()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            parameters.values.contains_key("num_ctx"),
            "{name} leaves the context open"
        );
        assert_eq!(parameters.deprecated, [""; 0], "{name}");
    }
}

#[test]
fn scripts_are_sound_for_the_shell() {
    let scripts = [
        "packaging/quickstart",
        "packaging/fetch-test-models",
        "packaging/setup.bash",
        "packaging/stage",
        "packaging/build-deb",
        "packaging/build-release",
        "packaging/cuda-toolkit",
        "packaging/install",
        "packaging/wait-for-gpu",
        "packaging/deb/postinst",
        "packaging/deb/prerm",
        "packaging/deb/postrm",
        "tests/boot/run",
        "tests/run",
        ".ci/run",
    ];
    for script in scripts {
        let output = Command::new("bash")
            .arg("-n")
            .arg(root().join(script))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{script}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}
