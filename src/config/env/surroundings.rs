//! What a runner's sandbox leaves accessible because of its environment.

use std::path::PathBuf;

use super::process;

/// Whether child processes limit what they can do (`DROVER_SANDBOX`). They do not if `GGML_NO_BACKTRACE=0` asks for
/// debuggers, which the failing process starts.
pub fn wants_sandbox() -> bool {
    wants(&process)
}

fn wants(lookup: &dyn Fn(&str) -> Option<String>) -> bool {
    let is_off = lookup("DROVER_SANDBOX").is_some_and(|text| is_on(&text) == Some(false));
    let debugs = lookup("GGML_NO_BACKTRACE").is_none_or(|value| value != "1");
    !is_off && !debugs
}

/// The value of a switch; `None` = the text is not a switch.
pub(super) fn is_on(text: &str) -> Option<bool> {
    match text {
        "on" | "1" | "true" => Some(true),
        "off" | "0" | "false" => Some(false),
        _ => None,
    }
}

/// Folders with shared libraries besides the system's: ours, and those that the environment names for the loader and
/// Vulkan.
pub fn libraries() -> Vec<PathBuf> {
    let own = std::env::current_exe().ok();
    let own = own.and_then(|exe| exe.canonicalize().ok());
    let own = own.and_then(|exe| {
        let folder = exe.parent()?;
        Some([folder.to_owned(), folder.parent()?.join("lib")])
    });
    let lists = [
        "LD_LIBRARY_PATH",
        "VK_ICD_FILENAMES",
        "VK_DRIVER_FILES",
        "VK_LAYER_PATH",
        "GGML_BACKEND_PATH",
    ];
    let listed = lists
        .into_iter()
        .filter_map(process)
        .flat_map(|list| folders(&list));
    own.into_iter().flatten().chain(listed).collect()
}

/// Servers with devices of other machines (`DROVER_RPC`), separated by commas.
pub fn rpc_servers() -> Vec<String> {
    let list = process("DROVER_RPC").unwrap_or_default();
    let servers = list.split(',').map(str::trim);
    servers
        .filter(|server| !server.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Folders in which drivers keep compiled kernels and temporary files.
pub fn driver_caches() -> Vec<PathBuf> {
    let named = [
        "CUDA_CACHE_PATH",
        "MESA_SHADER_CACHE_DIR",
        "XDG_CACHE_HOME",
        "TMPDIR",
    ];
    let named = named.into_iter().filter_map(process).map(PathBuf::from);
    let home = process("HOME").map(PathBuf::from);
    let usual = home
        .into_iter()
        .flat_map(|home| [home.join(".nv"), home.join(".cache")]);
    named.chain(usual).chain([PathBuf::from("/tmp")]).collect()
}

fn folders(list: &str) -> Vec<PathBuf> {
    let folders = list.split(':').filter(|folder| folder.starts_with('/'));
    folders.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sandbox_is_on_unless_somebody_says_otherwise_or_debugs() {
        let wants = |sandbox: Option<&str>, backtrace: Option<&str>| {
            wants(&|name| {
                let value = match name {
                    "DROVER_SANDBOX" => sandbox,
                    _ => backtrace,
                };
                value.map(str::to_owned)
            })
        };
        assert!(wants(None, Some("1")) && wants(Some("on"), Some("1")));
        assert!(!wants(Some("off"), Some("1")) && !wants(Some("0"), Some("1")));
        assert!(!wants(None, None) && !wants(None, Some("0")));
    }

    #[test]
    fn lists_of_folders_are_absolute() {
        let expected = ["/a/lib", "/b"].map(PathBuf::from);
        assert_eq!(folders("/a/lib::./x:/b"), expected);
    }
}
