//! One file per command.

pub(crate) mod account;
pub(crate) mod batch;
pub(crate) mod bench;
pub(crate) mod completion;
pub(crate) mod cp;
pub(crate) mod create;
pub(crate) mod deploy;
pub(crate) mod doctor_store;
pub(crate) mod fit;
pub(crate) mod health;
pub(crate) mod key;
pub(crate) mod launch;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rm;
pub(crate) mod rpc_server;
pub(crate) mod run;
pub(crate) mod runner;
pub mod serve;
pub(crate) mod show;
pub(crate) mod stop;
pub(crate) mod top;
pub(crate) mod version;
