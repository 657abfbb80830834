//! Requests to a daemon, with answers that are easy to check.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use super::TestServer;

/// The longest wait for the next line of a stream, including loading a model on a busy machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        Self {
            status,
            headers,
            text,
        }
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error} in {} {:?}", self.status, self.text))
    }

    /// The lines of a body of several JSON objects.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The events of a streamed body; the last one may be `[DONE]`.
    pub(crate) fn events(&self) -> Vec<Value> {
        assert_eq!(self.headers["content-type"], "text/event-stream");
        let frames = self.text.split_terminator("\n\n");
        frames
            .map(|frame| match frame.strip_prefix("data: ") {
                Some("[DONE]") => "[DONE]".into(),
                Some(data) => serde_json::from_str(data).unwrap(),
                None => panic!("no event: {frame}"),
            })
            .collect()
    }

    /// The events of a streamed body that have names, which are the same as their types.
    pub(crate) fn named_events(&self) -> Vec<Value> {
        assert_eq!(self.headers["content-type"], "text/event-stream");
        let frames = self.text.split_terminator("\n\n");
        frames
            .map(|frame| {
                let (name, data) = frame.split_once("\ndata: ").expect(frame);
                let event: Value = serde_json::from_str(data).unwrap();
                let name = name.strip_prefix("event: ").expect(frame);
                assert_eq!(event["type"], name, "{frame}");
                event
            })
            .collect()
    }

    /// The text in the answer's `error`; empty if there is none.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_default().to_owned()
    }

    /// Fails unless the status is 200.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{}", self.text);
        self
    }
}

/// An answer that is still arriving, line by line.
pub(crate) struct Stream {
    response: Response,
    buffer: Vec<u8>,
}

impl Stream {
    pub(crate) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The next object; `None` at the end, also if the stream broke off.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|&byte| byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            match chunk.expect("no line in time") {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Everything that is still to come.
    pub(crate) async fn rest(mut self) -> Vec<Value> {
        let mut lines = Vec::new();
        while let Some(line) = self.next().await {
            lines.push(line);
        }
        lines
    }
}

impl TestServer {
    pub(crate) async fn request(&self, method: Method, path: &str, body: Vec<u8>) -> Answer {
        let request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .body(body);
        Answer::of(request.timeout(PATIENCE).send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, Vec::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.request(Method::POST, path, body.to_string().into_bytes())
            .await
    }

    /// Sends a form: names, file names if they are files, and contents.
    pub(crate) async fn post_form(
        &self,
        path: &str,
        fields: &[(&str, Option<&str>, &[u8])],
    ) -> Answer {
        let request = self.form(path, fields).timeout(PATIENCE);
        Answer::of(request.send().await.unwrap()).await
    }

    /// The same form, not sent yet.
    pub(crate) fn form(
        &self,
        path: &str,
        fields: &[(&str, Option<&str>, &[u8])],
    ) -> RequestBuilder {
        const BOUNDARY: &str = "a line between fields";
        let mut body = Vec::new();
        for (name, file, content) in fields {
            let file = file.map_or_else(String::new, |file| format!("; filename=\"{file}\""));
            let head = format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n"
            );
            body.extend_from_slice(head.as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
        let request = self.http.post(format!("{}{path}", self.url)).body(body);
        let kind = format!("multipart/form-data; boundary=\"{BOUNDARY}\"");
        request.header("Content-Type", kind)
    }

    /// Sends a request and returns as soon as the headers are there.
    pub(crate) async fn stream(&self, path: &str, body: &Value) -> Stream {
        let request = self
            .http
            .post(format!("{}{path}", self.url))
            .body(body.to_string());
        let response = tokio::time::timeout(PATIENCE, request.send()).await;
        let response = response.expect("no headers in time").unwrap();
        Stream {
            response,
            buffer: Vec::new(),
        }
    }

    /// Uploads a file as a blob and returns its digest.
    pub(crate) async fn upload(&self, file: Vec<u8>) -> String {
        let digest = super::models::digest(&file);
        let path = format!("/api/blobs/{digest}");
        let answer = self.request(Method::POST, &path, file).await;
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
        digest
    }

    /// Makes a model out of a GGUF file; `extra` are more fields of the request.
    pub(crate) async fn create(&self, name: &str, file: Vec<u8>, extra: Value) -> Answer {
        let digest = self.upload(file).await;
        let mut body = extra;
        body["model"] = name.into();
        body["files"] = serde_json::json!({ "model.gguf": digest });
        body["stream"] = false.into();
        self.post("/api/create", &body).await
    }
}
