//! Hosts and addresses: their notation, their networks, and this machine's names.

mod host;
mod own;
mod place;

pub use host::{Domain, Host, Pattern};
pub use own::Own;
pub use place::{Place, is_ours};
