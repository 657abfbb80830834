//! Checks what the repository says about itself: unit file, sample Modelfiles, scripts.

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

/// The targets of a page's links to other files of the repository.
fn links(page: &Path) -> Vec<PathBuf> {
    let text = fs_err::read_to_string(page).unwrap();
    let links = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let local = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
    let folder = page.parent().unwrap();
    let files = local.map(|link| folder.join(link.split('#').next().unwrap()));
    files.collect()
}

#[test]
fn links_lead_to_files_and_every_page_is_in_the_index() {
    let pages = files("docs");
    let pages = pages
        .iter()
        .filter(|page| page.extension().is_some_and(|end| end == "md"));
    let pages: Vec<&PathBuf> = pages.collect();
    for page in pages.iter().copied().chain([&root().join("README.md")]) {
        for target in links(page) {
            assert!(target.exists(), "{}: {}", page.display(), target.display());
        }
    }
    let index = root().join("docs/README.md");
    let listed = links(&index);
    for page in pages {
        assert!(
            *page == index || listed.contains(page),
            "{}",
            page.display()
        );
    }
}

#[test]
fn the_manifests_name_only_variables_that_exist() {
    let text = fs_err::read_to_string(root().join("packaging/kubernetes/base/statefulset.yaml"));
    let text = text.unwrap();
    let named = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- name: DROVER_"));
    let named: Vec<String> = named.map(|name| format!("DROVER_{name}")).collect();
    assert!(named.len() >= 4, "{named:?}");
    for name in &named {
        assert!(VARIABLES.iter().any(|known| known.name == name), "{name}");
    }
}

#[test]
fn on_kubernetes_nothing_is_open_that_need_not_be() {
    let read = |file: &str| {
        fs_err::read_to_string(root().join("packaging/kubernetes").join(file)).unwrap()
    };
    for file in ["base/statefulset.yaml", "gpu/kustomization.yaml"] {
        assert!(!read(file).contains("DROVER_KEYS_ANONYMOUS"), "{file}");
    }
    // The endpoint picker cannot send a key.
    assert!(read("inference-pool/kustomization.yaml").contains("DROVER_KEYS_ANONYMOUS"));
}

#[test]
fn the_image_is_healthy_by_what_needs_no_key() {
    let file = fs_err::read_to_string(root().join("packaging/Dockerfile")).unwrap();
    let check = file.lines().find(|line| line.starts_with("HEALTHCHECK"));
    assert!(check.unwrap().ends_with("CMD [\"drover\", \"health\"]"));
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

/// Models as Ollama publishes them.
const PUBLISHED: [&str; 3] = ["gemma3:12b", "gpt-oss:20b", "mistral:7b"];

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
                .is_some_and(|from| from.ends_with(".gguf") || PUBLISHED.contains(&from)),
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
        "packaging/vulkan-headers",
        "packaging/install",
        "packaging/wait-for-gpu",
        "packaging/deb/postinst",
        "packaging/deb/prerm",
        "packaging/deb/postrm",
        "tests/boot/run",
        "tests/gpu/rehearse",
        "tests/image/run",
        "tests/run",
        "tests/vulkan/run",
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

/// All Rust files below a folder.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs_err::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&fs_err::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_tests_that_the_page_about_security_names_exist() {
    let page = fs_err::read_to_string(root().join("docs/security.md")).unwrap();
    let mut code = String::new();
    for folder in ["src", "tests"] {
        sources(&root().join(folder), &mut code);
    }
    let table = page.split("| --- | --- | --- | --- |").nth(1).unwrap();
    let mut n_named = 0;
    for line in table.lines().filter(|line| line.starts_with('|')) {
        let tests = line.rsplit('|').nth(1).unwrap();
        for name in tests.split('`').skip(1).step_by(2) {
            n_named += 1;
            let is_there = code.contains(&format!("fn {name}("));
            assert!(
                is_there,
                "{name} is named in docs/security.md and is no test"
            );
        }
    }
    assert!(n_named > 40, "{n_named}");
}
