//! What can be typed: commands and their flags. No logic; the number of arguments is checked against the table in
//! `help.rs`, because those errors have Ollama's texts.

#![expect(
    clippy::doc_markdown,
    reason = "these comments are what `--help` prints"
)]

mod admin;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use admin::ServeArgs;
pub(crate) use admin::{
    CompletionArgs, DoctorArgs, HealthArgs, KeyArgs, ManArgs, RollbackArgs, RpcServerArgs,
    TakeoverArgs,
};

use super::commands::bench::{Api, Arrival};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    about = "Large language model runner",
    disable_version_flag = true,
    args_override_self = true,
    subcommand_help_heading = "Available Commands"
)]
pub(crate) struct Cli {
    /// Show version information
    #[arg(short = 'v', long)]
    pub(crate) version: bool,
    /// Show timings for response
    #[arg(long, hide = true)]
    pub(crate) verbose: bool,
    /// Don't wrap words to the next line automatically
    #[arg(long, hide = true)]
    pub(crate) nowordwrap: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// The commands, in the order in which help lists them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start the server
    #[command(alias = "start")]
    Serve(ServeArgs),
    /// Create a model from a Modelfile
    Create(CreateArgs),
    /// Show information for a model
    Show(ShowArgs),
    /// Run a model
    Run(RunArgs),
    /// Stop a running model
    Stop(ModelArgs),
    /// Pull a model from a registry
    Pull(TransferArgs),
    /// Push a model to a registry
    Push(TransferArgs),
    /// Sign in (not available: this server has no cloud)
    #[command(alias = "login")]
    Signin(AnyArgs),
    /// Sign out (not available: this server has no cloud)
    #[command(alias = "logout")]
    Signout(AnyArgs),
    /// List models
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// List running models
    Ps(PsArgs),
    /// Watch what the server is doing
    Top(TopArgs),
    /// Say whether the server answers, for health checks
    Health(HealthArgs),
    /// Lend this machine's devices to a server on another machine
    RpcServer(RpcServerArgs),
    /// Copy a model
    Cp(ModelArgs),
    /// Remove a model
    Rm(ModelArgs),
    /// Start an agent (claude, codex, opencode) with a model of this server
    Launch(LaunchArgs),
    /// Print a shell's completion script
    Completion(CompletionArgs),
    /// Have many requests answered, from a file to a file
    Batch(BatchArgs),
    /// Make, list and revoke API keys
    Key(KeyArgs),
    /// Measure how fast a server answers
    Bench(BenchArgs),
    /// Show where a model would go, and what context fits
    Fit(FitArgs),
    /// Take the place of the Ollama on this machine
    Takeover(TakeoverArgs),
    /// Give the machine back to Ollama
    Rollback(RollbackArgs),
    /// Look for what keeps drover from working well (`doctor store`: the model directory)
    Doctor(DoctorArgs),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man(ManArgs),
    /// Internal: serve one model to the server that started this process
    #[command(hide = true)]
    Runner(AnyArgs),
    /// Internal: make prompts for the server that started this process
    #[command(hide = true)]
    Renderer(AnyArgs),
}

/// Flags of `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Print the state once, as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Flags of `ps`.
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Show how the graphics cards are doing, too
    #[arg(long)]
    pub(crate) gpu: bool,
    #[command(flatten)]
    pub(crate) list: ListArgs,
}

/// Flags of `fit`.
#[derive(Debug, Args)]
pub(crate) struct FitArgs {
    /// Context of a request in tokens
    #[arg(long, value_name = "TOKENS")]
    pub(crate) ctx: Option<u32>,
    /// Requests at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) slots: Option<u32>,
    /// Type of the KV cache: f16, q8_0, q4_0
    #[arg(long, value_name = "TYPE")]
    pub(crate) kv: Option<String>,
    /// Print the server's answer
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Flags of `create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// Name of the Modelfile (default "Modelfile")
    #[arg(short = 'f', long, value_name = "FILE", allow_hyphen_values = true)]
    pub(crate) file: Option<String>,
    /// Quantize model to this level (e.g. q4_K_M)
    #[arg(short = 'q', long, value_name = "TYPE")]
    pub(crate) quantize: Option<String>,
    /// Quantize the draft model to this level
    #[arg(long, value_name = "TYPE")]
    pub(crate) draft_quantize: Option<String>,
    /// Not supported
    #[arg(long, hide = true)]
    pub(crate) experimental: bool,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Flags of `show`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each one is a flag")]
pub(crate) struct ShowArgs {
    /// Show license of a model
    #[arg(long)]
    pub(crate) license: bool,
    /// Show Modelfile of a model
    #[arg(long)]
    pub(crate) modelfile: bool,
    /// Show parameters of a model
    #[arg(long)]
    pub(crate) parameters: bool,
    /// Show template of a model
    #[arg(long)]
    pub(crate) template: bool,
    /// Show system message of a model
    #[arg(long)]
    pub(crate) system: bool,
    /// Show detailed model information
    #[arg(short = 'v', long)]
    pub(crate) verbose: bool,
    /// Print the server's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Flags of `run`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each one is a flag")]
pub(crate) struct RunArgs {
    /// Duration to keep a model loaded (e.g. 5m)
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    pub(crate) keepalive: Option<String>,
    /// Show timings for response
    #[arg(long)]
    pub(crate) verbose: bool,
    /// Use an insecure registry
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Don't wrap words to the next line automatically
    #[arg(long)]
    pub(crate) nowordwrap: bool,
    /// Response format: json, or a JSON schema
    #[arg(long, value_name = "FORMAT", allow_hyphen_values = true)]
    pub(crate) format: Option<String>,
    /// Thinking mode: true, false, high, medium, low or max; the value needs `=`
    #[arg(
        long,
        value_name = "MODE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    pub(crate) think: Option<String>,
    /// Hide thinking output (if provided)
    #[arg(long)]
    pub(crate) hidethinking: bool,
    /// Embedding models: cut inputs that are longer than the context
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) truncate: Option<String>,
    /// Embedding models: number of values per vector
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = super::usage::integer)]
    pub(crate) dimensions: Option<i64>,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Flags of `pull` and `push`.
#[derive(Debug, Args)]
pub(crate) struct TransferArgs {
    /// Use an insecure registry (plain HTTP)
    #[arg(long)]
    pub(crate) insecure: bool,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Flags of `list` and `ps`.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print the server's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Nothing but names of models.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Flags of `batch`.
#[derive(Debug, Args)]
pub(crate) struct BatchArgs {
    /// Where the answers go, instead of standard output
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// What is asked about each row or line: text with {column}s, for lines {text}
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) prompt: Option<String>,
    /// System message of these requests
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) system: Option<String>,
    /// Model of these requests
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Longest answer of these requests
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_tokens: Option<u32>,
    /// Route of the requests of a JSONL file, instead of the first one's
    #[arg(long, value_name = "PATH")]
    pub(crate) endpoint: Option<String>,
    /// Other server: an address, or `openai`; it gets the key in OPENAI_API_KEY
    #[arg(long, value_name = "URL")]
    pub(crate) host: Option<String>,
    /// Do not wait for the end
    #[arg(long)]
    pub(crate) detach: bool,
    /// Print jobs as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Flags of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Server to measure, instead of OLLAMA_HOST
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Second server, measured in turn with the first
    #[arg(long, value_name = "URL")]
    pub(crate) against: Option<String>,
    /// What the servers speak: ollama or openai
    #[arg(long, value_name = "API", default_value = "ollama")]
    pub(crate) api: Api,
    /// Requests at once, one measurement for each number
    #[arg(
        long,
        value_name = "N,N,...",
        value_delimiter = ',',
        default_value = "1,4,8",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub(crate) concurrency: Vec<u16>,
    /// Requests (conversations, with --turns) per measurement
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) requests: u32,
    /// Measurements of each server, in turn; with --against each pair has a ratio
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pairs: u32,
    /// Length of a prompt, about
    #[arg(long, value_name = "N", default_value_t = 128)]
    pub(crate) prompt_tokens: u32,
    /// Longest answer
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) output_tokens: u32,
    /// When requests come: closed (the next when one ends) or poisson:RATE (per second)
    #[arg(long, value_name = "WHEN", default_value = "closed")]
    pub(crate) arrival: Arrival,
    /// How much of the prompt is the same in all requests
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) shared_prefix: u32,
    /// Questions per conversation
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) turns: u32,
    /// Prompts of your own: per line a JSON string, {"prompt": ...} or {"messages": [...]}
    #[arg(long, value_name = "FILE")]
    pub(crate) prompts: Option<PathBuf>,
    /// Other seed, other prompts
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(crate) seed: u32,
    /// Write the results to a file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the results to a file as a Markdown table
    #[arg(long, value_name = "FILE")]
    pub(crate) markdown: Option<PathBuf>,
    /// Draw the results into a file as an SVG picture
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
    #[arg(hide = true)]
    pub(crate) args: Vec<String>,
}

/// Flags of `launch`.
#[derive(Debug, Args)]
pub(crate) struct LaunchArgs {
    /// The agent: claude, codex or opencode; without it they are listed
    pub(crate) name: Option<String>,
    /// The model; not needed if only one supports tools
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Print the command instead of running it
    #[arg(long)]
    pub(crate) config: bool,
    /// Accepted for Ollama's sake: nothing is asked
    #[arg(short, long, hide = true)]
    pub(crate) yes: bool,
    /// Accepted for Ollama's sake: nothing was changed
    #[arg(long, hide = true)]
    pub(crate) restore: bool,
    /// Arguments for the agent
    #[arg(last = true)]
    pub(crate) args: Vec<String>,
}

/// Anything at all, flags included.
#[derive(Debug, Args)]
pub(crate) struct AnyArgs {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) args: Vec<String>,
}
