//! Hosts and addresses: how they are written, which network they are in, what this machine is called.

mod host;
mod own;
mod place;

pub use host::{Domain, Host, Pattern};
pub use own::Own;
pub use place::{Place, is_ours};
