//! Flags of the commands for those who run a server.

use std::path::PathBuf;

use clap::Args;

use crate::keys::{Class, Limits, Scope};

/// Flags of `rpc-server`.
#[derive(Debug, Args)]
pub(crate) struct RpcServerArgs {
    /// Address to listen on; whoever reaches it can run code here
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50052")]
    pub(crate) listen: String,
    /// Threads to compute with where there is no GPU
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Flags of `serve`.
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// Address to listen on, instead of OLLAMA_HOST
    #[arg(long, value_name = "HOST:PORT")]
    pub host: Option<String>,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Flags of `key`.
#[derive(Debug, Args)]
pub(crate) struct KeyArgs {
    /// What the key is for: inference, models, metrics, admin (which includes the others)
    #[arg(
        long,
        value_name = "SCOPE,...",
        value_delimiter = ',',
        default_value = "inference"
    )]
    pub(crate) scope: Vec<Scope>,
    /// Models that it may use, * = anything (default all): llama3.2,team/*
    #[arg(long, value_name = "MODEL,...", value_delimiter = ',')]
    pub(crate) models: Vec<String>,
    /// How much it may take: requests (at once), queue (waiting for that), tokens (per minute)
    #[arg(
        long,
        value_name = "LIMIT=N,...",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) limit: Limits,
    /// Priority of its requests: interactive, or background (after all others)
    #[arg(long, value_name = "CLASS", default_value = "interactive")]
    pub(crate) class: Class,
    /// When it ends: 90d, 12h, 2027-01-31 or 2027-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub(crate) expires: Option<String>,
    /// With `revoke`: also if it is the last key, which opens the server to everyone
    #[arg(long)]
    pub(crate) last: bool,
    /// Change this file of keys instead of asking the server
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Print as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Print the findings as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// With `store`: mend what can be mended, without asking
    #[arg(long)]
    pub(crate) repair: bool,
    /// With `store`: do not read the blobs through
    #[arg(long)]
    pub(crate) quick: bool,
    /// With `store`: this model directory, instead of OLLAMA_MODELS
    #[arg(long, value_name = "FOLDER")]
    pub(crate) models: Option<PathBuf>,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Flags of `takeover`.
#[derive(Debug, Args)]
pub(crate) struct TakeoverArgs {
    /// Show the plan and the checks, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also when there is an NVIDIA card that drover cannot use
    #[arg(long)]
    pub(crate) without_gpu: bool,
}

/// Flags of `rollback`.
#[derive(Debug, Args)]
pub(crate) struct RollbackArgs {}

/// Where manual pages go.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    pub(crate) folder: String,
}

/// The shell to complete for.
#[derive(Debug, Args)]
pub(crate) struct CompletionArgs {
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// `health` has none.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}
