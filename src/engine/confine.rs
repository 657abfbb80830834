//! The runner's sandbox: which files it can open, and when that is limited.
//!
//! Before its first thread starts, a runner gives up all files but those of its command and what libraries and
//! drivers read. Once the model is loaded, the threads that work on clients' requests keep only the model's
//! files, and no thread may create sockets, processes or mounts, or start programs. With a GPU in use, the
//! threads keep the files of the first rule: drivers open their nodes, libraries and caches of compiled kernels
//! at any time.

use std::path::PathBuf;

use super::host_cache;
use crate::protocol::{Command, LoadParams, QuantizeParams};
use crate::sandbox::{self, Files};

/// What libraries (the C library, too) and drivers read.
const SYSTEM: [&str; 13] = [
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/opt",
    "/etc",
    "/proc",
    "/sys",
    "/run",
    "/nix",
    "/gnu",
    "/snap",
    "/var/lib/dcgm",
];

/// Device nodes that every program uses, and those of GPUs.
const NODES: [&str; 6] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/shm",
];
const DEVICES: &str = "/dev";

/// What depends on the build and the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// False = without a sandbox.
    pub is_on: bool,
    /// Folders of libraries: beside the program, and where the loader is told to look.
    pub libraries: Vec<PathBuf>,
    /// Where drivers keep compiled kernels.
    pub caches: Vec<PathBuf>,
    /// Servers (`HOST:PORT`) with devices of other machines.
    pub rpc_servers: Vec<String>,
}

/// Whether this build has GPU backends.
const HAS_DRIVERS: bool = cfg!(any(
    feature = "cuda",
    feature = "vulkan",
    feature = "rocm",
    feature = "metal",
    feature = "dynamic-backends"
));

impl Surroundings {
    /// Limits this thread and all later ones to what the command needs.
    pub(super) fn begin(&self, command: &Command) {
        let own = match command {
            Command::Load(params) => of_load(params),
            Command::Quantize(params) => of_quantize(params),
            // Such a runner only lists devices, and reads nothing untrusted.
            _ => return,
        };
        if !self.is_on {
            return;
        }
        for folder in &own.write {
            // Landlock can only allow what exists. If this fails, the later write to the folder reports it.
            let _ = host_cache::make_folder(folder);
        }
        if let Err(error) = sandbox::limit_files(&self.with_system(own)) {
            tracing::warn!("the runner can open all files of its user: {error}");
        }
        if matches!(command, Command::Quantize(_))
            && let Err(error) = sandbox::limit_calls()
        {
            tracing::warn!("the quantizer can make all system calls: {error}");
        }
    }

    /// Limits the threads that work on requests, once the model is loaded.
    pub(super) fn loaded(&self, params: &LoadParams, uses_gpu: bool) {
        if !self.is_on {
            return;
        }
        let files = if uses_gpu {
            Ok(())
        } else {
            sandbox::limit_files(&of_load(params))
        };
        match (files, sandbox::limit_calls()) {
            (Ok(()), Ok(())) => tracing::info!(
                "the sandbox is closed: {}, no sockets, no programs",
                if uses_gpu {
                    "files of model and drivers"
                } else {
                    "files of the model"
                }
            ),
            (files, calls) => {
                // `begin` has logged why files are not limited.
                if let Err(error) = files {
                    tracing::debug!("files are not limited: {error}");
                }
                if let Err(error) = calls {
                    tracing::warn!("the runner can make all system calls: {error}");
                }
            }
        }
    }

    /// Adds what libraries and drivers need.
    fn with_system(&self, mut files: Files) -> Files {
        files.read.extend(SYSTEM.map(PathBuf::from));
        files.read.extend(self.libraries.iter().cloned());
        files
            .connect
            .extend(self.rpc_servers.iter().filter_map(|server| port(server)));
        files.write.extend(NODES.map(PathBuf::from));
        if HAS_DRIVERS {
            files.write.push(DEVICES.into());
            files.write.extend(self.caches.iter().cloned());
        }
        files
    }
}

/// The port of a server.
fn port(server: &str) -> Option<u16> {
    server.rsplit_once(':')?.1.parse().ok()
}

/// The files of a model: all read-only except the folder of saved prompts.
fn of_load(params: &LoadParams) -> Files {
    let mut read = vec![params.model.path.clone()];
    read.extend(
        params
            .projector
            .iter()
            .map(|projector| projector.file.path.clone()),
    );
    read.extend(params.adapters.iter().map(|adapter| adapter.path.clone()));
    read.extend(params.draft.iter().map(|draft| draft.model.path.clone()));
    let folder = params.spill.files.iter().map(|files| files.folder.clone());
    Files {
        read,
        write: folder.collect(),
        ..Files::default()
    }
}

fn of_quantize(params: &QuantizeParams) -> Files {
    let folder = params.target.parent().map(ToOwned::to_owned);
    Files {
        read: vec![params.source.path.clone()],
        write: folder.into_iter().collect(),
        ..Files::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Adapter, ProjectorParams, SpillFiles};
    use crate::view::ModelFile;

    #[test]
    fn a_command_keeps_its_own_files_only() {
        let quantize = QuantizeParams {
            source: ModelFile::original("/models/blobs/a"),
            target: "/models/blobs/tmp/b".into(),
            file_type: 7,
            tensor_types: Vec::new(),
        };
        let expected = Files {
            connect: Vec::new(),
            read: vec!["/models/blobs/a".into()],
            write: vec!["/models/blobs/tmp".into()],
        };
        assert_eq!(of_quantize(&quantize), expected);
        let mut params = crate::engine::tests::load_params(std::path::Path::new("/m/a"), 64, 1);
        params.projector = Some(ProjectorParams::original("/m/p"));
        params.adapters = vec![Adapter {
            path: "/m/l".into(),
            scale: 1.0,
        }];
        params.spill.files = Some(SpillFiles {
            folder: "/state/prompts".into(),
            limit_bytes: 1,
        });
        let expected = Files {
            connect: Vec::new(),
            read: ["/m/a", "/m/p", "/m/l"].map(PathBuf::from).to_vec(),
            write: vec!["/state/prompts".into()],
        };
        assert_eq!(of_load(&params), expected);
        // Libraries need neither the home folder nor other models.
        let all = Surroundings::default().with_system(expected);
        for folder in ["/", "/home", "/root", "/m", "/var", "/tmp"] {
            assert!(!all.read.contains(&PathBuf::from(folder)), "{folder}");
        }
    }
}
