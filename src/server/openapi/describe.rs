//! How the routes of an API are described: `post("/api/chat", "…").takes::<Request>().gives::<Answer>()`.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::openapi::path::{
    Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{
    ArrayBuilder, KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Content, ContentBuilder, HttpMethod, Ref, RefOr, Required};
use utoipa::{PartialSchema as _, ToSchema};

use crate::api::openai::Page;
use crate::server::access::Need;

/// The name of the security scheme.
pub(super) const KEY: &str = "key";

const JSON: &str = "application/json";
const BYTES: &str = "application/octet-stream";
const ANSWER: &str = "The answer";

/// Schemas by their names.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

/// The routes of one API.
pub(super) struct Api {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) routes: Vec<Described>,
    pub(super) schemas: Schemas,
    /// The body of every error.
    error: Option<Ref>,
    /// Fields that every answer has, by schema.
    pub(super) always: BTreeMap<String, Vec<String>>,
}

/// One method of one route.
pub(super) struct Described {
    pub(super) method: HttpMethod,
    /// As the route table writes it.
    pub(super) path: &'static str,
    summary: &'static str,
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    status: &'static str,
    answers: Vec<Answer>,
    schemas: Schemas,
}

/// The answer in one content type.
struct Answer {
    kind: &'static str,
    /// Alternatives: the answer is one of them.
    schemas: Vec<RefOr<Schema>>,
    about: &'static str,
}

impl Answer {
    fn content(&self) -> Content {
        let schema = match self.schemas.as_slice() {
            [only] => only.clone(),
            several => {
                let either = several.iter().cloned();
                let either = either.fold(OneOfBuilder::new(), OneOfBuilder::item);
                either.into()
            }
        };
        let content = ContentBuilder::new().schema(Some(schema));
        content.description(Some(self.about)).build()
    }
}

impl Api {
    pub(super) fn new(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            about,
            routes: Vec::new(),
            schemas: Schemas::new(),
            error: None,
            always: BTreeMap::new(),
        }
    }

    /// Every error has this body.
    pub(super) fn errors<T: ToSchema>(mut self) -> Self {
        self.error = Some(reference::<T>(&mut self.schemas));
        self
    }

    pub(super) fn route(mut self, route: Described) -> Self {
        self.schemas.extend(route.schemas.iter().cloned());
        self.routes.push(route);
        self
    }

    /// Clients may leave out all fields of such a type, while our answers always have those that its empty value is
    /// serialized with.
    pub(super) fn whole<T: ToSchema + Default + Serialize>(mut self) -> Self {
        if let Ok(serde_json::Value::Object(empty)) = serde_json::to_value(T::default()) {
            let fields = empty.into_iter().map(|(name, _)| name).collect();
            self.always.insert(T::name().into_owned(), fields);
        }
        self
    }
}

impl Described {
    fn new(method: HttpMethod, path: &'static str, summary: &'static str) -> Self {
        let parameters = path.split('/').filter_map(|part| {
            let name = part.strip_prefix('{')?.strip_suffix('}')?;
            Some(parameter(name.trim_start_matches('*'), ParameterIn::Path))
        });
        Self {
            method,
            parameters: parameters
                .map(|it| it.required(Required::True).build())
                .collect(),
            path,
            summary,
            body: None,
            status: "200",
            answers: Vec::new(),
            schemas: Schemas::new(),
        }
    }

    /// The body is JSON.
    pub(super) fn takes<T: ToSchema>(self) -> Self {
        self.takes_as::<T>(JSON)
    }

    /// The body is a form with a file.
    pub(super) fn takes_form<T: ToSchema>(self) -> Self {
        self.takes_as::<T>("multipart/form-data")
    }

    fn takes_as<T: ToSchema>(mut self, kind: &str) -> Self {
        let schema = reference::<T>(&mut self.schemas);
        self.body = Some(body(kind, schema.into()));
        self
    }

    /// The body is a file.
    pub(super) fn takes_bytes(mut self) -> Self {
        self.body = Some(body(BYTES, bytes()));
        self
    }

    /// The answer is one JSON object.
    pub(super) fn gives<T: ToSchema>(self) -> Self {
        self.gives_as::<T>(JSON, ANSWER)
    }

    /// The answer is a stream of lines of JSON.
    pub(super) fn lines<T: ToSchema>(self) -> Self {
        self.gives_as::<T>(
            "application/x-ndjson",
            "A stream; the schema is that of one line",
        )
    }

    /// The answer is a stream of server-sent events.
    pub(super) fn events<T: ToSchema>(self) -> Self {
        self.gives_as::<T>(
            "text/event-stream",
            "A stream; the schema is that of one event's data",
        )
    }

    fn gives_as<T: ToSchema>(mut self, kind: &'static str, about: &'static str) -> Self {
        let schema = reference::<T>(&mut self.schemas);
        self.answer(kind, schema.into(), about)
    }

    /// The answer is a page of OpenAI's lists.
    pub(super) fn gives_page<T: ToSchema>(mut self) -> Self {
        // By itself, the page has the same name for all item types.
        let name = format!("{}.{}", Page::<T>::name(), T::name());
        self.schemas.push((name.clone(), Page::<T>::schema()));
        Page::<T>::schemas(&mut self.schemas);
        reference::<T>(&mut self.schemas);
        self.answer(JSON, Ref::from_schema_name(name).into(), ANSWER)
    }

    /// The answer is a list of JSON objects.
    pub(super) fn gives_list<T: ToSchema>(mut self) -> Self {
        let item = reference::<T>(&mut self.schemas);
        self.answer(JSON, ArrayBuilder::new().items(item).into(), ANSWER)
    }

    /// The answer is JSON of any form.
    pub(super) fn gives_any(self) -> Self {
        let any = ObjectBuilder::new().schema_type(SchemaType::AnyValue);
        self.answer(JSON, any.into(), ANSWER)
    }

    /// The answer is text.
    pub(super) fn gives_text(self, kind: &'static str) -> Self {
        let text = ObjectBuilder::new().schema_type(Type::String);
        self.answer(kind, text.into(), ANSWER)
    }

    /// The answer is a file.
    pub(super) fn gives_bytes(self) -> Self {
        self.answer(BYTES, bytes(), ANSWER)
    }

    /// The answer is a file, whose content type depends on it.
    pub(super) fn gives_file(self) -> Self {
        self.answer("*/*", bytes(), ANSWER)
    }

    /// Adds a form of the answer; two forms of one content type are alternatives.
    fn answer(mut self, kind: &'static str, schema: RefOr<Schema>, about: &'static str) -> Self {
        let same = self.answers.iter_mut().find(|answer| answer.kind == kind);
        match same {
            Some(answer) => answer.schemas.push(schema),
            None => self.answers.push(Answer {
                kind,
                schemas: vec![schema],
                about,
            }),
        }
        self
    }

    /// The answer has no body.
    pub(super) fn done(self) -> Self {
        self
    }

    pub(super) fn status(mut self, status: &'static str) -> Self {
        self.status = status;
        self
    }

    /// A parameter in the address.
    pub(super) fn query(mut self, name: &str, about: &str) -> Self {
        let parameter = parameter(name, ParameterIn::Query).description(Some(about));
        self.parameters.push(parameter.build());
        self
    }

    /// The parameters of a list in pages.
    pub(super) fn pages(self) -> Self {
        self.query("after", "Id of the entry that comes before the page")
            .query("limit", "The most entries of the page")
            .query("order", "`asc` or `desc`")
    }

    /// The path as the document writes it.
    pub(super) fn plain_path(&self) -> String {
        self.path.replace("{*", "{")
    }

    /// A name for generated clients, such as `post_api_chat`.
    fn id(&self) -> String {
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let path: String = self.path.chars().map(word).collect();
        let words = path.split('_').filter(|word| !word.is_empty());
        let words: Vec<&str> = std::iter::once(self.method_name()).chain(words).collect();
        words.join("_").to_ascii_lowercase()
    }

    /// The method as the route table writes it.
    pub(super) fn method_name(&self) -> &'static str {
        match self.method {
            HttpMethod::Get => "GET",
            HttpMethod::Head => "HEAD",
            HttpMethod::Delete => "DELETE",
            _ => "POST",
        }
    }

    /// The entry of the document.
    pub(super) fn operation(&self, api: &Api, need: Need) -> Operation {
        let about = self.answers.first().map_or("Done", |answer| answer.about);
        let answers = self.answers.iter();
        let answer = answers.fold(ResponseBuilder::new().description(about), |all, answer| {
            all.content(answer.kind, answer.content())
        });
        let mut operation = OperationBuilder::new()
            .tag(api.name)
            .operation_id(Some(self.id()))
            .summary(Some(self.summary))
            .parameters(Some(self.parameters.clone()))
            .request_body(self.body.clone())
            .response(self.status, answer);
        if let Some(error) = &api.error {
            let content = ContentBuilder::new().schema(Some(error.clone())).build();
            let response = ResponseBuilder::new()
                .description("An error")
                .content(JSON, content);
            operation = operation.response("default", response);
        }
        if let Need::Scope(scope) = need {
            operation = operation.security(SecurityRequirement::new(KEY, [scope.as_str()]));
        }
        operation.build()
    }
}

pub(super) fn get(path: &'static str, summary: &'static str) -> Described {
    Described::new(HttpMethod::Get, path, summary)
}

pub(super) fn head(path: &'static str, summary: &'static str) -> Described {
    Described::new(HttpMethod::Head, path, summary)
}

pub(super) fn post(path: &'static str, summary: &'static str) -> Described {
    Described::new(HttpMethod::Post, path, summary)
}

pub(super) fn delete(path: &'static str, summary: &'static str) -> Described {
    Described::new(HttpMethod::Delete, path, summary)
}

/// Adds a schema and all schemas that it refers to.
fn reference<T: ToSchema>(schemas: &mut Schemas) -> Ref {
    let name = T::name();
    schemas.push((name.to_string(), T::schema()));
    T::schemas(schemas);
    Ref::from_schema_name(name)
}

fn parameter(name: &str, place: ParameterIn) -> ParameterBuilder {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(Required::False)
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
}

fn body(kind: &str, schema: RefOr<Schema>) -> RequestBody {
    let content = ContentBuilder::new().schema(Some(schema)).build();
    RequestBodyBuilder::new()
        .content(kind, content)
        .required(Some(Required::True))
        .build()
}

fn bytes() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
        .into()
}
