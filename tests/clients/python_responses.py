"""The Responses API with the official OpenAI client, in its strict mode, and OpenAI's Agents SDK.

DROVER_URL, DROVER_MODEL (a small chat model), DROVER_CALLER (the same with a template for tools) and
DROVER_SCRIPTED (a model that says `[[say TEXT]]`) come from the environment.
"""

import asyncio
import os
import time
from typing import Literal

import openai
from agents import Agent, ModelSettings, Runner, function_tool, set_tracing_disabled
from agents.models.openai_provider import OpenAIProvider
from agents.run import RunConfig
from pydantic import BaseModel

from checks import MODEL, URL, check, equal, main

CALLER = os.environ["DROVER_CALLER"]
SCRIPTED = os.environ["DROVER_SCRIPTED"]
CLIENT = openai.OpenAI(
    base_url=f"{URL}/v1", api_key="any", timeout=180, max_retries=0, _strict_response_validation=True
)
FIXED = {"temperature": 0, "max_output_tokens": 16}
SET_LIGHT = {
    "type": "function",
    "name": "set_light",
    "description": "Switches a light.",
    "strict": True,
    "parameters": {
        "type": "object",
        "properties": {"room": {"type": "string", "enum": ["kitchen", "hall"]}, "on": {"type": "boolean"}},
        "required": ["room", "on"],
        "additionalProperties": False,
    },
}


class Weather(BaseModel):
    sky: Literal["clear", "cloudy"]
    warm: bool


def create(text="Name three colours.", **keywords):
    return CLIENT.responses.create(**{"model": MODEL, "input": text, **FIXED, **keywords})


def scripted(text, **keywords):
    return CLIENT.responses.create(model=SCRIPTED, input=text, **keywords)


def fails(kind, function, *arguments, **keywords):
    try:
        result = function(*arguments, **keywords)
    except kind as error:
        return error.body
    raise AssertionError(f"expected {kind.__name__}, got {result!r}")


def ended(response):
    while response.status in ("queued", "in_progress"):
        time.sleep(0.05)
        response = CLIENT.responses.retrieve(response.id)
    return response


@check
def a_response_is_created_and_found_again():
    response = create()
    assert response.output_text.strip(), f"{response}"
    assert response.status in ("completed", "incomplete"), response.status
    usage = response.usage
    equal(usage.total_tokens, usage.input_tokens + usage.output_tokens, "total_tokens")
    equal(CLIENT.responses.retrieve(response.id), response, "retrieved")
    items = CLIENT.responses.input_items.list(response.id).data
    equal(items[0].content[0].text, "Name three colours.", "input item")
    CLIENT.responses.delete(response.id)
    fails(openai.NotFoundError, CLIENT.responses.retrieve, response.id)


@check
def a_stream_agrees_with_the_whole():
    create()
    whole = create()
    with CLIENT.responses.stream(model=MODEL, input="Name three colours.", **FIXED) as stream:
        events = list(stream)
    equal([event.sequence_number for event in events], list(range(len(events))), "numbers")
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    equal(text, whole.output_text, "text")
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete"), last.type
    equal(last.response.usage, whole.usage, "usage")
    raw = list(create(stream=True))
    assert raw[0].type == "response.created" and raw[-1].response.output_text == text


@check
def a_length_is_obeyed():
    response = create(max_output_tokens=2)
    equal(response.status, "incomplete", "status")
    equal(response.incomplete_details.reason, "max_output_tokens", "reason")
    equal(response.usage.output_tokens, 2, "output_tokens")


@check
def answers_are_parsed():
    answer = CLIENT.responses.parse(
        model=MODEL, input="How is the weather?", text_format=Weather, temperature=0, max_output_tokens=128
    )
    assert isinstance(answer.output_parsed, Weather), f"{answer}"
    with CLIENT.responses.stream(
        model=MODEL, input="How is the weather?", text_format=Weather, temperature=0, max_output_tokens=128
    ) as stream:
        final = stream.get_final_response()
    equal(final.output_parsed, answer.output_parsed, "parsed")


@check
def one_response_goes_on_from_another():
    first = create("My name is Ada.")
    second = create("What is my name?", previous_response_id=first.id)
    alone = create("What is my name?")
    assert second.usage.input_tokens > alone.usage.input_tokens + 5, f"{second.usage} {alone.usage}"
    # The history is in the cache.
    assert second.usage.input_tokens_details.cached_tokens > 10, f"{second.usage}"
    counted = CLIENT.responses.input_tokens.count(
        model=MODEL, input="What is my name?", previous_response_id=first.id
    )
    equal(counted.input_tokens, second.usage.input_tokens, "counted")
    body = fails(openai.BadRequestError, create, previous_response_id="resp_unknown")
    equal(body["code"], "previous_response_not_found", "code")


@check
def output_can_be_sent_back():
    first = create("My name is Ada.", store=False, include=["reasoning.encrypted_content"])
    history = [{"role": "user", "content": "My name is Ada."}]
    history += [item.model_dump(exclude_none=True) for item in first.output]
    history.append({"role": "user", "content": "What is my name?"})
    assert create(history, store=False).output_text is not None


@check
def conversations():
    conversation = CLIENT.conversations.create(
        metadata={"topic": "names"}, items=[{"role": "user", "content": "My name is Ada."}]
    )
    equal(CLIENT.conversations.retrieve(conversation.id), conversation, "retrieved")
    response = create("What is my name?", conversation=conversation.id)
    equal(response.conversation.id, conversation.id, "conversation")
    create("And again?", conversation=conversation.id)
    items = list(CLIENT.conversations.items.list(conversation.id, order="asc", limit=2))
    roles = [item.role for item in items]
    equal(roles, ["user", "user", "assistant", "user", "assistant"], "roles of all pages")
    added = CLIENT.conversations.items.create(
        conversation.id, items=[{"role": "user", "content": "Bye."}]
    )
    item = CLIENT.conversations.items.retrieve(added.data[0].id, conversation_id=conversation.id)
    equal(item.content[0].text, "Bye.", "item")
    CLIENT.conversations.items.delete(item.id, conversation_id=conversation.id)
    updated = CLIENT.conversations.update(conversation.id, metadata={"topic": "none"})
    equal(updated.metadata, {"topic": "none"}, "metadata")
    assert CLIENT.conversations.delete(conversation.id).deleted
    fails(openai.NotFoundError, CLIENT.conversations.retrieve, conversation.id)


@check
def tools_are_called_and_answered():
    keywords = {"tools": [SET_LIGHT], "tool_choice": "required", "max_output_tokens": 256}
    response = create("Switch the light in the hall on.", model=CALLER, **keywords)
    [call] = [item for item in response.output if item.type == "function_call"]
    equal(call.name, "set_light", "name")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "done"}
    answer = create([output], model=CALLER, previous_response_id=response.id, tools=[SET_LIGHT])
    assert answer.status in ("completed", "incomplete"), f"{answer}"
    with CLIENT.responses.stream(
        model=CALLER, input="Switch the light in the hall on.", temperature=0, **keywords
    ) as stream:
        calls = [event for event in stream if event.type == "response.function_call_arguments.done"]
    equal(len(calls), 1, "calls")


@check
def thinking_is_told_in_both_forms():
    say = "[[say <think>hm</think>yes]]"
    include = ["reasoning.encrypted_content"]
    raw = scripted(say, include=include, stream=True)
    texts = [event.text for event in raw if event.type == "response.reasoning_text.done"]
    equal(texts, ["hm"], "reasoning")
    with CLIENT.responses.stream(model=SCRIPTED, input=say, reasoning={"summary": "auto"}) as stream:
        kinds = [event.type for event in stream]
    assert "response.reasoning_summary_part.added" in kinds, kinds
    response = scripted(say, include=include)
    assert response.output[0].encrypted_content, f"{response}"
    equal(response.output_text, "yes", "text")


@check
def logprobs_are_given():
    response = create(include=["message.output_text.logprobs"], top_logprobs=2, max_output_tokens=4)
    logprobs = response.output[0].content[0].logprobs
    equal(len(logprobs), 4, "tokens")
    assert all(len(token.top_logprobs) == 2 for token in logprobs), f"{logprobs}"
    events = list(create(include=["message.output_text.logprobs"], stream=True, max_output_tokens=4))
    streamed = [one for event in events if event.type == "response.output_text.delta" for one in event.logprobs]
    equal([one.token for one in streamed], [one.token for one in logprobs], "streamed")


@check
def responses_in_the_background():
    response = scripted("[[slow 5]] [[repeat 30]]abc", background=True)
    assert response.status == "queued", response.status
    response = ended(response)
    equal(response.output_text, " ".join(["abc"] * 30), "text")
    stream = scripted("[[slow 5]] [[repeat 30]]abc", background=True, stream=True)
    begun = []
    for event in stream:
        begun.append(event)
        if event.sequence_number == 6:
            break
    stream.close()
    id = begun[0].response.id
    rest = list(CLIENT.responses.retrieve(id, stream=True, starting_after=6))
    equal(rest[0].sequence_number, 7, "first number")
    equal(rest[-1].response, ended(rest[-1].response), "last response")
    cancelled = scripted("[[slow 50]] [[repeat 300]]abc", background=True)
    equal(CLIENT.responses.cancel(cancelled.id).status, "cancelled", "status")


@check
def a_long_conversation_is_compacted():
    compacted = CLIENT.responses.compact(
        model=SCRIPTED, input=[{"role": "user", "content": "A long story."}]
    )
    [item] = compacted.output
    equal(item.type, "compaction", "type")
    response = scripted([item.model_dump(exclude_none=True), {"role": "user", "content": "So?"}])
    assert response.output_text.endswith("So?"), response.output_text


@check
def mistakes_name_their_field():
    for keywords, param in (
        ({"temperature": 3}, "temperature"),
        ({"truncation": "some"}, "truncation"),
        ({"input": [{"type": "poem"}]}, "input[0]"),
        ({"model": "no-such-model"}, "model"),
    ):
        kind = openai.NotFoundError if param == "model" else openai.BadRequestError
        equal(fails(kind, create, **keywords)["param"], param, "param")


@function_tool
def sky(city: str) -> str:
    """Tells what the sky does."""
    return f"[[say blue over {city}]]"


@check
def the_agents_sdk():
    set_tracing_disabled(True)
    client = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key="any", max_retries=0)
    config = RunConfig(model_provider=OpenAIProvider(openai_client=client, use_responses=True))
    agent = Agent(name="a", instructions="Be brief.", model=SCRIPTED, tools=[sky])
    question = '[[say <tool_call>{"name": "sky", "arguments": {"city": "Rome"}}</tool_call>]]'

    async def run():
        result = await Runner.run(agent, question, run_config=config)
        equal(result.final_output, "blue over Rome", "answer")
        streamed = Runner.run_streamed(agent, question, run_config=config)
        kinds = [event.type async for event in streamed.stream_events()]
        assert "run_item_stream_event" in kinds, kinds
        equal(streamed.final_output, "blue over Rome", "streamed answer")
        # With the history stored at the server.
        plain = Agent(name="p", model=SCRIPTED)
        first = await Runner.run(plain, "My name is Ada.", run_config=config)
        second = await Runner.run(
            plain, "So?", run_config=config, previous_response_id=first.last_response_id
        )
        equal(second.final_output, "So?", "with a history")
        typed = Agent(
            name="t", model=MODEL, output_type=Weather, model_settings=ModelSettings(temperature=0)
        )
        result = await Runner.run(typed, "How is the weather?", run_config=config)
        assert isinstance(result.final_output, Weather), result.final_output

    asyncio.run(run())


if __name__ == "__main__":
    main()
