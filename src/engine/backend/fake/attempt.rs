//! What a compromised runner would try, for tests of its sandbox.
//!
//! | Attempt | What is tried |
//! | --- | --- |
//! | `open PATH`, `write PATH` | to read a file, to make one |
//! | `connect ADDRESS` | to open a TCP connection |
//! | `exec PROGRAM` | to start a program |
//! | `bomb` | to start this program over and over |
//! | `storm` | to open a socket over and over |
//! | `kill PID` | to end another process |

use std::fmt::Display;
use std::net::TcpStream;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

/// Programs that `bomb` starts.
const BOMB: usize = 200;

/// Sockets that `storm` opens.
const STORM: usize = 1000;

/// Makes an attempt; returns its outcome, and logs it.
pub(super) fn run(attempt: &str) -> String {
    let (what, argument) = attempt.split_once(' ').unwrap_or((attempt, ""));
    let outcome = match what {
        "open" => told(fs_err::read(argument)),
        "write" => told(fs_err::write(argument, "written")),
        "connect" => told(TcpStream::connect(argument)),
        "exec" => told(Command::new(argument).status()),
        "bomb" => {
            let start = |_: &usize| Command::new("/proc/self/exe").arg("runner").spawn().is_ok();
            let n = (0..BOMB).filter(start).count();
            format!("{n} started")
        }
        "storm" => {
            let refused = |_: &usize| std::net::UdpSocket::bind("127.0.0.1:0").is_err();
            format!("{} refused", (0..STORM).filter(refused).count())
        }
        "kill" => {
            let pid = argument.parse().ok().and_then(Pid::from_raw);
            told(
                pid.ok_or("no process")
                    .and_then(|pid| kill_process(pid, Signal::KILL).map_err(|_| "refused")),
            )
        }
        _ => "unknown".to_owned(),
    };
    tracing::info!("the fake tried to {attempt}: {outcome}");
    format!("{what}: {outcome}")
}

fn told<T, E: Display>(result: Result<T, E>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(error) => error.to_string(),
    }
}
