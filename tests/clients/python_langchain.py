"""LangChain over OpenAI's and Anthropic's protocol, unchanged.

DROVER_URL, DROVER_MODEL (a small chat model) and DROVER_SCRIPTED (a model that says what is between `[[say ` and
`]]`) come from the environment.
"""

import os

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from checks import MODEL, URL, check, equal, main

SCRIPTED = os.environ["DROVER_SCRIPTED"]
CALL = '[[say I look.<tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</tool_call>]]'


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@tool
def weather(city: str) -> str:
    """What the sky does."""
    return "It rains."


def openai(model, **more):
    return ChatOpenAI(model=model, base_url=f"{URL}/v1", api_key="any", max_retries=0, **more)


def anthropic(model, **more):
    more = {"max_tokens": 1000, **more}
    return ChatAnthropic(model=model, base_url=URL, api_key="any", max_retries=0, **more)


def both(model, **more):
    return [openai(model, **more), anthropic(model, **more)]


@check
def texts_whole_and_streamed():
    for llm in both(SCRIPTED):
        messages = [SystemMessage("Be brief."), HumanMessage("[[say Hello there.]]")]
        answer = llm.invoke(messages)
        equal(answer.text, "Hello there.", "text")
        assert answer.usage_metadata["input_tokens"] > 0, answer.usage_metadata
        streamed = "".join(chunk.text for chunk in llm.stream(messages))
        equal(streamed, "Hello there.", "stream")


@check
def tools_are_called_and_answered():
    for llm in both(SCRIPTED):
        llm = llm.bind_tools([weather])
        messages = [HumanMessage(CALL)]
        answer = llm.invoke(messages)
        equal([(call["name"], call["args"]) for call in answer.tool_calls], [("weather", {"city": "Ulm"})], "calls")
        result = ToolMessage(weather.invoke(answer.tool_calls[0]["args"]), tool_call_id=answer.tool_calls[0]["id"])
        equal(llm.invoke([*messages, answer, result]).text, "It rains.", "answer")


@check
def structured_output_is_parsed():
    question = "Bob is 42 years old. Give his name and age."
    for llm in both(MODEL, max_tokens=200):
        person = llm.with_structured_output(Person, method="json_schema").invoke(question)
        assert isinstance(person, Person), person


main()
