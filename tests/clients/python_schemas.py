"""Schemas as pydantic, schemars and langchain4j write them, over both protocols.

Each answer must end by itself and match its schema with nothing added: none of these writers closes
its objects. Texts are bounded, as a small model does not stop by itself; where a value may hold another
one of its kind, the model is given one to repeat. DROVER_URL and DROVER_MODEL (a
small chat model) come from the environment.
"""

import datetime
import decimal
import enum
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Literal, Optional, Union

import jsonschema
import ollama
import openai
from pydantic import BaseModel, ConfigDict, Field, RootModel

from checks import MODEL, URL, check, main

OLLAMA = ollama.Client(host=URL, timeout=180)
OPENAI = openai.OpenAI(base_url=f"{URL}/v1", api_key="any", timeout=180, max_retries=0)
QUESTION = "Give an example in JSON."
# For the cases that have one, by name.
EXAMPLES = {
    "Tree": {"name": "Ann", "children": [{"name": "Bob", "children": []}]},
    "Chain": {"value": 1, "next": {"value": 2, "next": None}},
    "recursive": {"value": 1, "next": {"value": 2, "next": None}},
    "reference": {"person": {"name": "Ann", "children": [{"name": "Bob", "children": []}]}},
}
LONGEST = 600

Word = Annotated[str, Field(max_length=12)]
Count = Annotated[int, Field(ge=0, le=99)]


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Plain(BaseModel):
    name: Word
    age: Count


class Documented(BaseModel):
    """What a field means is said beside a reference."""

    who: Plain = Field(description="The person")
    colour: Colour = Field(default=Colour.RED, description="Of the hair")


class Nested(BaseModel):
    owner: Plain
    address: Documented


class Optionals(BaseModel):
    name: Word
    nick: Optional[Word] = None
    friend: Optional[Plain]
    level: Level | None = None


class Literals(BaseModel):
    kind: Literal["cat"]
    mood: Literal["good", "bad"]
    legs: Literal[2, 4]
    mixed: Literal["one", 1, True, None]


class Enums(BaseModel):
    colour: Colour
    level: Level
    colours: set[Colour] = Field(max_length=2)


class Lists(BaseModel):
    people: list[Plain] = Field(min_length=1, max_length=2)
    pair: tuple[Count, Word]
    matrix: list[Annotated[list[Count], Field(min_length=2, max_length=2)]] = Field(max_length=2)


class Times(BaseModel):
    at: datetime.datetime
    day: datetime.date
    hour: datetime.time
    id: uuid.UUID


class Numbers(BaseModel):
    small: int = Field(ge=-5, le=5)
    open: int = Field(gt=0, lt=10)
    even: int = Field(multiple_of=2, ge=0, le=100)
    ratio: float = Field(ge=0, le=1)
    price: decimal.Decimal = Field(ge=0, le=1000, max_digits=6, decimal_places=2)


class Texts(BaseModel):
    code: str = Field(pattern=r"^[A-Z]{2}-\d{3}$")
    short: str = Field(min_length=2, max_length=5)
    secret: bytes = Field(max_length=8)


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Count


class Dog(BaseModel):
    kind: Literal["dog"]
    name: Word


class Discriminated(BaseModel):
    pet: Union[Cat, Dog] = Field(discriminator="kind")
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = Field(max_length=2)


class Unions(BaseModel):
    id: Count | bool
    either: Cat | Plain | None


class Tree(BaseModel):
    name: Word
    children: list["Tree"] = Field(default_factory=list, max_length=1)


class Chain(BaseModel):
    value: Count
    next: Optional["Chain"]


class Maps(BaseModel):
    counts: dict[str, int] = Field(max_length=2)
    people: dict[Literal["a", "b"], Plain]
    colours: dict[Colour, Count]
    codes: dict[Annotated[str, Field(pattern="^[A-Z]{2}$")], bool] = Field(max_length=2)
    words: dict[Word, bool] = Field(max_length=2)


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Word


class Aliased(BaseModel):
    first_name: Word = Field(alias="firstName")
    size: Count = Field(serialization_alias="the size")


class Nothing(BaseModel):
    pass


class Several(RootModel):
    root: list[Plain] = Field(min_length=1, max_length=2)


PYDANTIC = [Plain, Documented, Nested, Optionals, Literals, Enums, Lists, Times, Numbers, Texts,
            Discriminated, Unions, Tree, Chain, Maps, Strict, Aliased, Nothing, Several]

WORD = {"type": "string", "maxLength": 12}
UINT8 = {"type": "integer", "format": "uint8", "minimum": 0, "maximum": 255}

# What schemars 1 and 0.8 write for Rust structs and enums.
SCHEMARS = {
    "struct": {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Person", "type": "object",
        "properties": {
            "name": WORD, "age": UINT8, "nick": {"type": ["string", "null"], "maxLength": 12},
            "height": {"type": ["number", "null"], "format": "float", "minimum": 0, "maximum": 3},
            "kind": {"$ref": "#/$defs/Kind"},
            "friend": {"anyOf": [{"$ref": "#/$defs/Friend"}, {"type": "null"}]},
        },
        "required": ["name", "age", "kind"],
        "$defs": {
            "Kind": {"description": "What it is", "oneOf": [
                {"description": "A", "type": "string", "const": "Adult"},
                {"description": "B", "type": "string", "const": "Child"}]},
            "Friend": {"type": "object", "properties": {"name": WORD}, "required": ["name"]},
        },
    },
    "externally tagged": {
        "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Shape",
        "oneOf": [
            {"type": "string", "const": "Empty"},
            {"type": "object", "properties": {"Circle": UINT8}, "required": ["Circle"],
             "additionalProperties": False},
            {"type": "object", "properties": {"Box": {"type": "object", "properties": {"side": UINT8},
             "required": ["side"]}}, "required": ["Box"], "additionalProperties": False},
        ],
    },
    "internally tagged": {
        "title": "Event",
        "oneOf": [
            {"type": "object", "properties": {"type": {"type": "string", "const": "Key"}, "code": UINT8},
             "required": ["type", "code"]},
            {"type": "object", "properties": {"type": {"type": "string", "const": "Quit"}},
             "required": ["type"]},
        ],
    },
    "untagged": {"title": "Id", "anyOf": [UINT8, WORD]},
    "tuple and map": {
        "title": "Row", "type": "object",
        "properties": {
            "point": {"type": "array", "prefixItems": [UINT8, UINT8], "minItems": 2, "maxItems": 2},
            "tags": {"type": "array", "items": WORD, "maxItems": 2, "uniqueItems": True},
            "counts": {"type": "object", "additionalProperties": UINT8, "maxProperties": 2},
        },
        "required": ["point", "tags", "counts"],
    },
    "draft 7": {
        "$schema": "http://json-schema.org/draft-07/schema#", "title": "Person", "type": "object",
        "required": ["address", "tags"],
        "properties": {
            "address": {"description": "Where", "allOf": [{"$ref": "#/definitions/Address"}]},
            "tags": {"type": "array", "items": [WORD, UINT8], "minItems": 2, "maxItems": 2},
            "mood": {"default": None, "anyOf": [{"$ref": "#/definitions/Mood"}, {"type": "null"}]},
        },
        "definitions": {
            "Address": {"type": "object", "required": ["street"], "properties": {"street": WORD}},
            "Mood": {"type": "string", "enum": ["Good", "Bad"]},
        },
    },
    "recursive": {
        "title": "List", "type": "object",
        "properties": {"value": UINT8, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["value"],
    },
}

# What langchain4j makes of JsonObjectSchema and similar types.
LANGCHAIN4J = {
    "object": {
        "type": "object",
        "properties": {
            "name": {**WORD, "description": "The name"},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
            "married": {"type": "boolean"},
            "mood": {"type": "string", "enum": ["GOOD", "BAD"]},
            "address": {"type": "object", "properties": {"city": WORD}, "required": ["city"]},
            "phones": {"type": "array", "items": WORD, "maxItems": 2},
        },
        "required": ["name", "age", "married", "mood", "address", "phones"],
    },
    "nothing required": {"type": "object", "properties": {"name": WORD, "height": {"type": "boolean"}},
                         "required": []},
    "any of": {
        "type": "object", "required": ["shape"],
        "properties": {"shape": {"anyOf": [
            {"type": "object", "properties": {"radius": UINT8}, "required": ["radius"]},
            {"type": "object", "properties": {"width": UINT8, "height": UINT8}, "required": ["width", "height"]},
        ]}},
    },
    "reference": {
        "type": "object", "properties": {"person": {"$ref": "#/$defs/9e28a3f2-0e7c"}}, "required": ["person"],
        "$defs": {"9e28a3f2-0e7c": {"type": "object", "required": ["name"], "properties": {
            "name": WORD,
            "children": {"type": "array", "items": {"$ref": "#/$defs/9e28a3f2-0e7c"}, "maxItems": 1}}}},
    },
}


def closed(schema):
    """The schema with its objects closed, where it does not say otherwise.

    That elements differ is no rule of a grammar: Ollama does not enforce it, and drover neither.
    """
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(part) for key, part in schema.items() if key != "uniqueItems"}
    if "properties" in schema and "type" in schema:
        schema.setdefault("additionalProperties", False)
    return schema


def by_ollama(schema, question):
    options = {"temperature": 0, "seed": 1, "num_predict": LONGEST}
    messages = [{"role": "user", "content": question}]
    answer = OLLAMA.chat(MODEL, messages, format=schema, options=options)
    return answer.done_reason, answer.message.content


def by_openai(schema, question):
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    choice = OPENAI.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": question}], response_format=form,
        temperature=0, seed=1, max_tokens=LONGEST,
    ).choices[0]
    return choice.finish_reason, choice.message.content


def all_match(schemas):
    """Asks for all of them, several at once; every failure is told."""
    def ask(case):
        name, schema, model, by = case
        try:
            example = EXAMPLES.get(name)
            reason, text = by(schema, f"Repeat this: {json.dumps(example)}" if example else QUESTION)
            assert reason == "stop", f"it ends with {reason}: {text}"
            value = json.loads(text)
            kind = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
            kind(closed(schema), format_checker=kind.FORMAT_CHECKER).validate(value)
            if model:
                model.model_validate_json(text)
        except Exception as error:
            return f"{name} {by.__name__}: {error}"
        return None

    cases = [(name, schema, model, by) for name, schema, model in schemas for by in (by_ollama, by_openai)]
    with ThreadPoolExecutor(8) as threads:
        failures = [failure for failure in threads.map(ask, cases) if failure]
    assert not failures, "\n".join(failures)


@check
def pydantic_schemas():
    all_match([(model.__name__, model.model_json_schema(), model) for model in PYDANTIC])


@check
def schemars_schemas():
    all_match([(name, schema, None) for name, schema in SCHEMARS.items()])


@check
def langchain4j_schemas():
    all_match([(name, schema, None) for name, schema in LANGCHAIN4J.items()])


if __name__ == "__main__":
    main()
