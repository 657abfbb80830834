//! async-openai, unchanged, against a running daemon: chats, streams, calls, stored chats, responses, embeddings, errors.
//!
//! DROVER_URL, DROVER_MODEL (a small chat model) and DROVER_SCRIPTED (a model that says `[[say TEXT]]`)
//! come from the environment. It ends with status 101 when a check fails.

use std::env;

use async_openai::Client;
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::chat::CreateChatCompletionRequest;
use async_openai::types::embeddings::CreateEmbeddingRequest;
use async_openai::types::responses::{CreateResponse, ResponseStreamEvent};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_stream::StreamExt as _;

const CALL: &str = r#"[[say <tool_call>{"name": "rain", "arguments": {"city": "Ulm", "days": 2}}</tool_call>]]"#;
const ARGUMENTS: &str = r#"{"city":"Ulm","days":2}"#;

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("no {name}"))
}

/// The crate's own type of a request.
fn of<T: DeserializeOwned>(request: Value) -> T {
    serde_json::from_value(request).unwrap()
}

fn parameters() -> Value {
    json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}})
}

struct Clients {
    openai: Client<OpenAIConfig>,
    model: String,
    scripted: String,
}

impl Clients {
    fn question(&self, extra: Value) -> CreateChatCompletionRequest {
        let mut request = json!({"model": self.model, "temperature": 0, "seed": 1,
            "messages": [{"role": "user", "content": "Name three colours."}], "max_completion_tokens": 12});
        let fields = request.as_object_mut().unwrap();
        fields.extend(extra.as_object().unwrap().clone());
        of(request)
    }

    async fn chats(&self) {
        let chats = self.openai.chat();
        let whole = chats.create(self.question(json!({}))).await.unwrap();
        let text = whole.choices[0].message.content.clone().unwrap();
        assert!(!text.trim().is_empty());
        let mut stream = chats
            .create_stream(self.question(json!({"stream": true})))
            .await
            .unwrap();
        let (mut streamed, mut n_pieces) = (String::new(), 0);
        while let Some(chunk) = stream.next().await {
            let delta = chunk.unwrap().choices.remove(0).delta;
            streamed += &delta.content.unwrap_or_default();
            n_pieces += 1;
        }
        assert_eq!(streamed, text);
        assert!(n_pieces > 3, "{n_pieces} pieces");
        println!("ok   whole and streamed");
    }

    async fn calls(&self) {
        let tools = json!([{"type": "function", "function": {"name": "rain", "parameters": parameters()}}]);
        let request = json!({"model": self.scripted, "tools": tools, "stream": true, "max_completion_tokens": 200,
            "messages": [{"role": "user", "content": CALL}]});
        let chats = self.openai.chat();
        let mut stream = chats.create_stream(of(request)).await.unwrap();
        let (mut name, mut arguments) = (String::new(), String::new());
        while let Some(chunk) = stream.next().await {
            let delta = chunk.unwrap().choices.remove(0).delta;
            for call in delta.tool_calls.into_iter().flatten() {
                let function = call.function.unwrap();
                name += &function.name.unwrap_or_default();
                arguments += &function.arguments.unwrap_or_default();
            }
        }
        assert_eq!((name.as_str(), arguments.as_str()), ("rain", ARGUMENTS));
        println!("ok   calls");
    }

    async fn stored(&self) {
        let chats = self.openai.chat();
        let extra = json!({"store": true, "metadata": {"run": "rust"}});
        let told = chats.create(self.question(extra)).await.unwrap();
        let found = chats.retrieve(&told.id).await.unwrap();
        assert_eq!(found.choices, told.choices);
        let listed = chats.list().await.unwrap().data;
        assert!(listed.iter().any(|chat| chat.id == told.id));
        let changed = of(json!({"metadata": {"run": "over"}}));
        chats.update(&told.id, changed).await.unwrap();
        assert!(chats.delete(&told.id).await.unwrap().deleted);
        let missing = chats.retrieve(&told.id).await.unwrap_err();
        assert!(matches!(missing, OpenAIError::ApiError(_)), "{missing:?}");
        println!("ok   stored chats, errors");
    }

    async fn responses(&self) {
        let responses = self.openai.responses();
        let request = |input: &str| json!({"model": self.scripted, "input": input});
        let first = responses.create(of(request("[[say one]]"))).await.unwrap();
        assert_eq!(first.output_text().as_deref(), Some("one"));
        let mut request = request(CALL);
        request["stream"] = true.into();
        request["previous_response_id"] = first.id.clone().into();
        request["tools"] =
            json!([{"type": "function", "name": "rain", "parameters": parameters(), "strict": false}]);
        let request: CreateResponse = of(request);
        let mut stream = responses.create_stream(request).await.unwrap();
        let (mut deltas, mut is_done) = (String::new(), false);
        while let Some(event) = stream.next().await {
            match event.unwrap() {
                ResponseStreamEvent::ResponseFunctionCallArgumentsDelta(event) => deltas += &event.delta,
                ResponseStreamEvent::ResponseCompleted(_) => is_done = true,
                _ => {}
            }
        }
        assert_eq!((deltas.as_str(), is_done), (ARGUMENTS, true));
        assert_eq!(responses.retrieve(&first.id).await.unwrap().id, first.id);
        assert!(responses.delete(&first.id).await.unwrap().deleted);
        println!("ok   responses");
    }

    async fn embeddings(&self) {
        let request: CreateEmbeddingRequest = of(json!({"model": self.model, "input": ["a", "b"]}));
        let answer = self.openai.embeddings().create(request).await.unwrap();
        assert_eq!(answer.data.len(), 2);
        println!("ok   embeddings");
    }
}

#[tokio::main]
async fn main() {
    let base = format!("{}/v1", variable("DROVER_URL").trim_end_matches('/'));
    let config = OpenAIConfig::new()
        .with_api_base(base)
        .with_api_key("any");
    let clients = Clients {
        openai: Client::with_config(config),
        model: variable("DROVER_MODEL"),
        scripted: variable("DROVER_SCRIPTED"),
    };
    assert_eq!(clients.openai.models().list().await.unwrap().data.len(), 3);
    clients.chats().await;
    clients.calls().await;
    clients.stored().await;
    clients.responses().await;
    clients.embeddings().await;
}
