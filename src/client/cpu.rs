//! The instruction sets that a daemon uses, from its metrics.

use std::time::Duration;

use reqwest::Method;
use serde::Serialize;

use super::{Client, ClientError};

/// The longest wait for the metrics: the server may not be drover.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most bytes of metrics that are read.
const MOST: usize = 4 << 20;

/// Instruction sets by llama.cpp's names, separated by spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cpu {
    pub used: String,
    /// Instruction sets that the CPU has but the daemon's build of llama.cpp does not use.
    pub unused: String,
}

impl Client {
    /// Asks which instruction sets the daemon uses; `None` for servers other than drover.
    pub async fn cpu(&self) -> Option<Cpu> {
        let text = tokio::time::timeout(PATIENCE, self.counters()).await;
        read(&text.ok()?.ok()?)
    }

    async fn counters(&self) -> Result<String, ClientError> {
        let mut response = Self::send(self.request(Method::GET, "/metrics")).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn read(text: &str) -> Option<Cpu> {
    let start = "drover_cpu_info{used=\"";
    let labels = text.lines().find_map(|line| line.strip_prefix(start))?;
    let (used, labels) = labels.split_once("\",unused=\"")?;
    let (unused, _) = labels.split_once("\"}")?;
    Some(Cpu {
        used: used.to_owned(),
        unused: unused.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_out_of_the_counters_as_they_are_written() {
        crate::metrics::cpu("SSE3 AVX2".to_owned(), "AVX512".to_owned());
        let cpu = read(&crate::metrics::text().unwrap()).unwrap();
        assert_eq!((&*cpu.used, &*cpu.unused), ("SSE3 AVX2", "AVX512"));
        for text in ["", "drover_cpu_info{} 1", "drover_cpu_info{used=\"a\"} 1"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
