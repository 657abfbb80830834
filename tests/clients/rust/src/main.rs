//! ollama-rs, unchanged, against a running daemon: a chat, a stream, structured answers, a tool.
//!
//! DROVER_URL, DROVER_MODEL (a small chat model) and DROVER_SCRIPTED (a model that says `[[say TEXT]]`)
//! come from the environment. It ends with status 101 when a check fails.

#![expect(dead_code, reason = "what was read is printed as a whole")]

use std::collections::HashMap;
use std::env;

use ollama_rs::Ollama;
use ollama_rs::coordinator::Coordinator;
use ollama_rs::generation::chat::ChatMessage;
use ollama_rs::generation::chat::request::ChatMessageRequest;
use ollama_rs::generation::completion::request::GenerationRequest;
use ollama_rs::generation::parameters::{FormatType, JsonStructure};
use ollama_rs::models::ModelOptions;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio_stream::StreamExt as _;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(deny_unknown_fields)]
struct Closed {
    age: u8,
}

/// What a field's comment says stands beside its reference.
#[derive(Debug, Deserialize, JsonSchema)]
struct Person {
    #[schemars(length(max = 12))]
    name: String,
    age: u8,
    /// What they do.
    mood: Mood,
    friend: Option<Friend>,
    #[schemars(length(max = 2))]
    pets: Vec<Pet>,
}

#[derive(Debug, Deserialize, JsonSchema)]
enum Mood {
    /// Smiles.
    Good,
    /// Does not.
    Bad,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Friend {
    married: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "kind")]
enum Pet {
    Cat { lives: u8 },
    Dog { legs: u8 },
}

#[derive(Debug, Deserialize, JsonSchema)]
enum Shape {
    Circle(u8),
    Box { side: u8 },
    Empty,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Mixed {
    point: (u8, u8),
    shape: Shape,
    #[schemars(extend("maxProperties" = 2))]
    counts: HashMap<Name, u8>,
}

#[derive(Debug, Deserialize, JsonSchema, PartialEq, Eq, Hash)]
struct Name(#[schemars(length(max = 8))] String);

/// How much it rains.
///
/// * city - The city.
/// * days - How many days.
#[ollama_rs::function]
async fn rain(city: String, days: u8) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    Ok(format!("{days} days of rain in {city}"))
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("no {name}"))
}

struct Client {
    ollama: Ollama,
    model: String,
}

impl Client {
    async fn structured<T: DeserializeOwned + JsonSchema + std::fmt::Debug>(&self) {
        let format = FormatType::StructuredJson(Box::new(JsonStructure::new::<T>()));
        let options = ModelOptions::default().temperature(0.0).num_predict(400);
        let prompt = "Give an example in JSON.".to_owned();
        let request = GenerationRequest::new(self.model.clone(), prompt);
        let answer = self
            .ollama
            .generate(request.format(format).options(options))
            .await
            .unwrap();
        let value: T = serde_json::from_str(&answer.response)
            .unwrap_or_else(|error| panic!("{error} in {}", answer.response));
        println!("ok   structured {value:?}");
    }

    fn question(&self) -> ChatMessageRequest {
        let options = ModelOptions::default()
            .temperature(0.0)
            .seed(1)
            .num_predict(12);
        let question = ChatMessage::user("Name three colours.".to_owned());
        ChatMessageRequest::new(self.model.clone(), vec![question]).options(options)
    }

    async fn chats(&self) {
        let whole = self
            .ollama
            .send_chat_messages(self.question())
            .await
            .unwrap();
        let text = whole.message.content;
        assert!(!text.trim().is_empty());
        assert_eq!(whole.final_data.unwrap().eval_count, 12);
        let mut stream = self
            .ollama
            .send_chat_messages_stream(self.question())
            .await
            .unwrap();
        let (mut streamed, mut n_pieces) = (String::new(), 0);
        while let Some(piece) = stream.next().await {
            streamed.push_str(&piece.unwrap().message.content);
            n_pieces += 1;
        }
        assert_eq!(streamed, text);
        assert!(n_pieces > 2, "{n_pieces} pieces");
        println!("ok   whole and streamed");
    }

    async fn calls(&self) {
        let call = r#"[[say <tool_call>{"name": "rain", "arguments": {"city": "Ulm", "days": 2}}</tool_call>]]"#;
        let scripted = variable("DROVER_SCRIPTED");
        let mut coordinator =
            Coordinator::new(self.ollama.clone(), scripted, vec![]).add_tool(rain);
        let answer = coordinator
            .chat(vec![ChatMessage::user(call.to_owned())])
            .await
            .unwrap();
        assert_eq!(answer.message.content, "2 days of rain in Ulm");
        println!("ok   tool");
    }
}

#[tokio::main]
async fn main() {
    let ollama = Ollama::try_new(variable("DROVER_URL")).unwrap();
    let client = Client {
        ollama,
        model: variable("DROVER_MODEL"),
    };
    assert_eq!(client.ollama.list_local_models().await.unwrap().len(), 3);
    client.chats().await;
    client.structured::<Closed>().await;
    client.structured::<Person>().await;
    client.structured::<Mixed>().await;
    client.calls().await;
}
