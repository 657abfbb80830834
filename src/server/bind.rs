//! The listening address: passed by systemd, or bound from `OLLAMA_HOST`, or an error that says what to do.

use std::io::{self, ErrorKind};
use std::time::Duration;

use listenfd::ListenFd;
use socket2::SockRef;
use tokio::net::TcpListener;

use super::ServeError;
use crate::client::Client;
use crate::config::HostSpec;

/// Clients that may wait to be accepted; the system has a limit of its own (`net.core.somaxconn`, mostly 4,096).
const BACKLOG: i32 = 65_535;

/// How long the program that has the address may take to identify itself.
const INTRODUCTION: Duration = Duration::from_secs(1);

/// Takes the socket from systemd (`drover.socket`). It survives a restart, so clients wait instead of being
/// refused.
///
/// # Errors
/// The passed file descriptor is not a listening TCP socket.
pub(super) fn inherited() -> io::Result<Option<std::net::TcpListener>> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        return Err(io::Error::other(
            "systemd handed over several sockets; drover.socket must have one ListenStream= (an \
             empty `ListenStream=` line before it clears the others)",
        ));
    }
    let listener = sockets.take_tcp_listener(0)?;
    if let Some(listener) = &listener {
        listener.set_nonblocking(true)?;
    }
    Ok(listener)
}

/// Uses the passed socket, or binds the address; an empty host means all interfaces.
///
/// # Errors
/// `InUse` names the program that answers there, if one does.
pub(super) async fn bind(
    host: &HostSpec,
    inherited: Option<std::net::TcpListener>,
) -> Result<TcpListener, ServeError> {
    if let Some(listener) = inherited {
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        if address.port() != host.port {
            tracing::warn!(%address, "drover.socket decides where drover listens, OLLAMA_HOST has no effect");
        }
        return Ok(listener);
    }
    let error = match listen(host).await {
        Ok(listener) => {
            // The runtime's own backlog is a quarter of the system's limit. Beyond it, a burst of clients waits for
            // seconds,
            // and some of them in vain.
            if let Err(error) = SockRef::from(&listener).listen(BACKLOG) {
                tracing::debug!(%error, "the backlog could not be changed");
            }
            return Ok(listener);
        }
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
        // The system has no IPv6.
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

/// Asks the program at the address for its version, as clients do.
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
        let first = bind(&HostSpec::parse("127.0.0.1:0"), None).await.unwrap();
        let address = first.local_addr().unwrap().to_string();
        let host = HostSpec::parse(&address);
        let taken = bind(&host, None);
        // The occupant closes the connection instead of answering.
        let hang_up = async { drop(first.accept().await.unwrap()) };
        let (error, ()) = tokio::join!(taken, hang_up);
        let text = error.unwrap_err().to_string();
        let expected = format!("listen tcp {address}: bind: address already in use\n");
        assert!(text.starts_with(&expected), "{text}");
        assert!(text.contains("another program"), "{text}");
        assert!(text.contains("OLLAMA_HOST"), "{text}");
    }

    #[tokio::test]
    async fn a_socket_that_was_handed_over_comes_before_the_setting() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        held.set_nonblocking(true).unwrap();
        let address = held.local_addr().unwrap();
        let listener = bind(&HostSpec::parse("192.0.2.1:1"), Some(held)).await;
        assert_eq!(listener.unwrap().local_addr().unwrap(), address);
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_told() {
        let error = bind(&HostSpec::parse("192.0.2.1:1"), None)
            .await
            .unwrap_err();
        assert!(
            error.to_string().starts_with("listen tcp 192.0.2.1:1: "),
            "{error}"
        );
    }
}
