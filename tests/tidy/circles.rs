//! Folders that import each other in a circle.
//!
//! If files of a folder name files of a sibling folder, then no file of the sibling may name a file of the first, not
//! even indirectly over other folders: otherwise neither could be read, tested or moved without the other. Files next
//! to the folders, such as their `mod.rs`, belong to both.

use std::collections::{BTreeMap, BTreeSet};

use super::{SourceFile, mentions};

/// The imports of sibling folders, each with an example of two files.
type Imports = BTreeMap<(String, String), (String, String)>;

/// Returns the imports that close circles, a line for each pair of folders.
pub(crate) fn between_folders(files: &[SourceFile]) -> Vec<String> {
    let mut imports = Imports::new();
    for (from, named) in graph(files) {
        for to in named {
            if let Some(folders) = beside(&from, &to) {
                imports.entry(folders).or_insert((from.clone(), to));
            }
        }
    }
    let closes = |(from, to): &(String, String)| reaches(&imports, to, from);
    let circles = imports.iter().filter(|(folders, _)| closes(folders));
    let lines = circles.map(|((from, to), (file, named))| {
        format!("{from} and {to} import each other: {file} names {named}")
    });
    lines.collect()
}

/// The sibling folders of two files where their paths diverge; `None` if one of the files is directly there.
fn beside(from: &str, to: &str) -> Option<(String, String)> {
    let parts = |name: &str| -> Vec<String> { name.split('/').map(str::to_owned).collect() };
    let (from, to) = (parts(from), parts(to));
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let is_folder = |name: &[String]| name.len() > common + 1;
    let folder = |name: &[String]| name[..=common].join("/");
    // For top-level modules, the levels decide.
    (common > 0 && is_folder(&from) && is_folder(&to)).then(|| (folder(&from), folder(&to)))
}

/// Whether a folder imports another one, directly or indirectly.
fn reaches(imports: &Imports, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(folder) = open.pop() {
        if folder == to {
            return true;
        }
        if seen.insert(folder) {
            let next = imports.keys().filter(|(from, _)| from == folder);
            open.extend(next.map(|(_, to)| to.as_str()));
        }
    }
    false
}

/// Each file with the files that it names.
fn graph(files: &[SourceFile]) -> BTreeMap<String, BTreeSet<String>> {
    let files = || {
        files
            .iter()
            .filter(|file| !file.is_test && file.module().is_some())
    };
    let modules: BTreeMap<Vec<&str>, &str> = files()
        .map(|file| (module_path(&file.name), file.name.as_str()))
        .collect();
    let mut graph = BTreeMap::new();
    for file in files() {
        let own = module_path(&file.name);
        let code = without_exports(&file.code);
        let mut named = BTreeSet::new();
        for (root, base) in [
            ("crate::", &[][..]),
            ("super::", &own[..own.len() - 1]),
            ("self::", &own),
        ] {
            for (_, mut rest) in mentions(&code, root) {
                let mut base = base;
                while let Some(further) = rest.strip_prefix("super::") {
                    (base, rest) = (&base[..base.len().saturating_sub(1)], further);
                }
                for path in paths(rest) {
                    let whole: Vec<&str> = base.iter().copied().chain(path).collect();
                    named.extend(resolve(&modules, &whole));
                }
            }
        }
        named.remove(&file.name);
        graph.insert(file.name.clone(), named);
    }
    graph
}

/// The file of the longest prefix of the path that is a module.
fn resolve(modules: &BTreeMap<Vec<&str>, &str>, path: &[&str]) -> Option<String> {
    let mut beginnings = (1..=path.len()).rev().map(|n| &path[..n]);
    beginnings.find_map(|path| modules.get(path).map(|file| (*file).to_owned()))
}

/// `pub use` passes a name on: code that uses it depends on the original file, not on the one in between.
fn without_exports(code: &str) -> String {
    let mut kept = String::new();
    let mut is_export = false;
    for line in code.lines() {
        let text = line.trim_start();
        is_export |=
            text.starts_with("pub use ") || (text.starts_with("pub(") && text.contains(") use "));
        if !is_export {
            kept.push_str(line);
        }
        kept.push('\n');
        is_export &= !text.contains(';');
    }
    kept
}

/// The paths of a use tree, or the single path that code names.
fn paths(text: &str) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    tree(text, &mut Vec::new(), &mut found);
    found
}

/// Parses one tree; returns the rest of the text.
fn tree<'a>(text: &'a str, above: &mut Vec<&'a str>, found: &mut Vec<Vec<&'a str>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if rest.is_empty() || rest.starts_with('}') {
                return rest.get(1..).unwrap_or_default();
            }
            let before = rest.len();
            rest = tree(rest, above, found);
            // An alias (`as x`) and the comma.
            let end = rest.find([',', '}']).unwrap_or(rest.len());
            rest = &rest[end..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
            if rest.len() == before {
                return "";
            }
        }
    }
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    above.push(name);
    let rest = match rest.strip_prefix("::") {
        Some(below) => tree(below, above, found),
        None => {
            found.push(above.clone());
            rest
        }
    };
    above.pop();
    rest
}

/// `a`, `b` for `a/b.rs` and `a/b/mod.rs`.
fn module_path(name: &str) -> Vec<&str> {
    let name = name.strip_suffix(".rs").unwrap_or(name);
    let mut path: Vec<&str> = name.split('/').collect();
    if path.last() == Some(&"mod") {
        path.pop();
    }
    path
}

#[test]
fn circles_are_found_over_several_folders() {
    let file = |name: &str, text: &str| SourceFile::new(name.to_owned(), text.to_owned());
    let mut files = vec![
        file("a/mod.rs", "mod x;\nmod y;\nmod z;\nuse x::X;\n"),
        file("a/x/mod.rs", "use crate::a::{self, y::{Y, Z as W}};\n"),
        file("a/y/mod.rs", "mod deep;\n"),
        file("a/y/deep.rs", "use super::super::z::Z;\nuse super::Y;\n"),
        file("a/z/mod.rs", "pub use super::x::X;\n"),
        file("b/mod.rs", "use crate::a::x::X;\n"),
    ];
    // A file that only passes a name on does not depend on it.
    assert_eq!(between_folders(&files), Vec::<String>::new());
    files.push(file("a/z/back.rs", "fn f() { crate::a::x::X::new() }\n"));
    let found = between_folders(&files);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(
        found[0],
        "a/x and a/y import each other: a/x/mod.rs names a/y/mod.rs"
    );
    assert_eq!(
        paths("{b::{C, d::*}, e as f}; g"),
        [vec!["b", "C"], vec!["b", "d", ""], vec!["e"]]
    );
}
