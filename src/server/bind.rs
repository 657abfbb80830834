//! The address: bound as `OLLAMA_HOST` says, or refused with what to do about it.

use std::io::{self, ErrorKind};
use std::time::Duration;

use tokio::net::TcpListener;

use super::ServeError;
use crate::client::Client;
use crate::config::HostSpec;

/// How long whoever has the address may take to say what it is.
const INTRODUCTION: Duration = Duration::from_secs(1);

/// Binds the address; an empty host means all interfaces.
///
/// # Errors
/// `InUse` names who answers there, if it does.
pub(super) async fn bind(host: &HostSpec) -> Result<TcpListener, ServeError> {
    let error = match listen(host).await {
        Ok(listener) => return Ok(listener),
        Err(error) => error,
    };
    let address = address_of(host);
    if error.kind() != ErrorKind::AddrInUse {
        return Err(ServeError::Bind {
            address,
            source: error,
        });
    }
    Err(ServeError::InUse {
        address,
        occupant: occupant(host).await,
    })
}

async fn listen(host: &HostSpec) -> io::Result<TcpListener> {
    if !host.host.is_empty() {
        return TcpListener::bind((host.host.as_str(), host.port)).await;
    }
    match TcpListener::bind(("::", host.port)).await {
        // A system without IPv6.
        Err(error) if error.kind() != ErrorKind::AddrInUse => {
            TcpListener::bind(("0.0.0.0", host.port)).await
        }
        result => result,
    }
}

fn address_of(host: &HostSpec) -> String {
    if host.host.contains(':') {
        format!("[{}]:{}", host.host, host.port)
    } else {
        format!("{}:{}", host.host, host.port)
    }
}

/// Asks whoever has the address for its version, as clients do.
async fn occupant(host: &HostSpec) -> String {
    let host = HostSpec {
        scheme: "http".to_owned(),
        path: String::new(),
        ..host.clone()
    };
    let version = async { Client::new(&host).ok()?.version().await.ok() };
    match tokio::time::timeout(INTRODUCTION, version).await {
        Ok(Some(version)) => {
            format!("an Ollama server, or another drover, (version {version}) answers there")
        }
        _ => "another program has it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_in_use_is_told_with_what_to_do() {
        let first = bind(&HostSpec::parse("127.0.0.1:0")).await.unwrap();
        let address = first.local_addr().unwrap().to_string();
        let host = HostSpec::parse(&address);
        let taken = bind(&host);
        // The occupant hangs up instead of telling its version.
        let hang_up = async { drop(first.accept().await.unwrap()) };
        let (error, ()) = tokio::join!(taken, hang_up);
        let text = error.unwrap_err().to_string();
        let expected = format!("listen tcp {address}: bind: address already in use\n");
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.contains("another program"), "{text}");
        assert!(text.contains("OLLAMA_HOST"), "{text}");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_told() {
        let error = bind(&HostSpec::parse("192.0.2.1:1")).await.unwrap_err();
        assert!(
            error.to_string().starts_with("listen tcp 192.0.2.1:1: "),
            "{error}"
        );
    }
}
