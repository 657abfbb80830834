"""Libraries that applications are made with, unchanged, over Ollama's and OpenAI's protocol.

DROVER_URL, DROVER_MODEL (a small chat model), DROVER_CALLER (the same with a template for tools) and
DROVER_SCRIPTED (a model that says `[[say TEXT]]`) come from the environment.
"""

import asyncio
import os

from pydantic import BaseModel, Field

from checks import MODEL, URL, check, equal, main

# Some libraries read these when they are imported.
os.environ["OLLAMA_HOST"] = URL
os.environ["LLM_USER_PATH"] = os.getcwd()
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

CALLER = os.environ["DROVER_CALLER"]
SCRIPTED = os.environ["DROVER_SCRIPTED"]
QUESTION = "Name three colours."
FIXED = {"temperature": 0, "seed": 1, "num_predict": 12}
# Enough for an answer that ends by itself.
ROOMY = {**FIXED, "num_predict": 300}
CALL = '[[say <tool_call>{"name": "rain", "arguments": {"city": "Ulm", "days": 2}}</tool_call>]]'


class Person(BaseModel):
    """A person, as pydantic writes it: closed by nobody but drover."""

    name: str = Field(max_length=20)
    age: int = Field(ge=0, le=120)


def rain(city: str, days: int = 1) -> str:
    """Tells how much it rains in a city.

    Args:
        city: The city.
        days: How many days.
    """
    return f"{days} days of rain in {city}"


RAINED = rain("Ulm", 2)


@check
def llm_answers_and_streams():
    import llm

    model = llm.get_model(f"ollama/{MODEL}:latest")
    whole = model.prompt(QUESTION, **FIXED, stream=False)
    assert whole.text().strip(), "the answer is empty"
    assert whole.usage().input > 0 and whole.usage().output > 0, f"{whole.usage()}"
    parts = list(model.prompt(QUESTION, **FIXED))
    assert len(parts) > 2, f"only {len(parts)} parts"
    equal("".join(parts), whole.text(), "streamed text")


@check
def llm_structured():
    import llm

    answer = llm.get_model(f"ollama/{MODEL}:latest").prompt("Who is Bob?", schema=Person, **ROOMY, stream=False)
    Person.model_validate_json(answer.text())
    equal(answer.response_json["done_reason"], "stop", "done_reason")


@check
def llm_tools():
    import llm

    chain = llm.get_model(f"ollama/{SCRIPTED}:latest").chain(CALL, tools=[rain])
    equal(chain.text(), RAINED, "the model's word about the result")
    equal([len(response.tool_calls()) for response in chain.responses()], [1, 0], "calls")


@check
def llama_index_answers_and_streams():
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.ollama import Ollama

    model = Ollama(model=MODEL, base_url=URL, additional_kwargs=FIXED, temperature=0)
    messages = [ChatMessage(role="system", content="Be terse."), ChatMessage(role="user", content=QUESTION)]
    whole = model.chat(messages)
    assert whole.message.content.strip(), "the answer is empty"
    parts = list(model.stream_chat(messages))
    equal(parts[-1].message.content, whole.message.content, "streamed text")
    assert model.complete(QUESTION).text.strip(), "the completion is empty"


@check
def llama_index_structured():
    from llama_index.core import PromptTemplate
    from llama_index.llms.ollama import Ollama

    model = Ollama(model=MODEL, base_url=URL, additional_kwargs=ROOMY, temperature=0)
    person = model.structured_predict(Person, PromptTemplate("Who is Bob?"))
    assert isinstance(person, Person), f"{person!r}"
    *_, person = model.stream_structured_predict(Person, PromptTemplate("Who is Bob?"))
    assert person.name and person.age is not None, f"{person!r}"


@check
def llama_index_tools():
    from llama_index.core.tools import FunctionTool
    from llama_index.llms.ollama import Ollama

    model = Ollama(model=SCRIPTED, base_url=URL)
    tool = FunctionTool.from_defaults(rain)
    answer = model.predict_and_call([tool], CALL)
    equal(answer.response, RAINED, "result")
    asked = model.chat_with_tools([tool], CALL)
    call, = model.get_tool_calls_from_response(asked)
    equal((call.tool_name, call.tool_kwargs), ("rain", {"city": "Ulm", "days": 2}), "call")


@check
def haystack_answers_streams_and_structures():
    from haystack.dataclasses import ChatMessage
    from haystack_integrations.components.generators.ollama import OllamaChatGenerator

    def ask(question, **keywords):
        answer = OllamaChatGenerator(model=MODEL, url=URL, **keywords).run([ChatMessage.from_user(question)])
        return answer["replies"][0]

    whole = ask(QUESTION, generation_kwargs=FIXED)
    assert whole.text.strip() and whole.meta["usage"]["completion_tokens"] > 0, f"{whole}"
    parts = []
    streamed = ask(QUESTION, generation_kwargs=FIXED, streaming_callback=parts.append)
    equal("".join(part.content for part in parts), whole.text, "streamed text")
    equal(streamed.text, whole.text, "joined text")
    person = ask("Who is Bob?", generation_kwargs=ROOMY, response_format=Person.model_json_schema())
    Person.model_validate_json(person.text)
    equal(person.meta["finish_reason"], "stop", "finish_reason")


@check
def haystack_tools():
    from haystack.components.agents import Agent
    from haystack.dataclasses import ChatMessage
    from haystack.tools import create_tool_from_function
    from haystack_integrations.components.generators.ollama import OllamaChatGenerator

    generator = OllamaChatGenerator(model=SCRIPTED, url=URL)
    agent = Agent(chat_generator=generator, tools=[create_tool_from_function(rain)])
    said = agent.run(messages=[ChatMessage.from_user(CALL)])["messages"]
    call, = said[1].tool_calls
    equal((call.tool_name, call.arguments), ("rain", {"city": "Ulm", "days": 2}), "call")
    equal(said[2].tool_call_result.result, RAINED, "result")
    equal(said[-1].text, RAINED, "the model's word about it")


def autogen_model(name, **options):
    from autogen_ext.models.ollama import OllamaChatCompletionClient

    info = {"vision": False, "function_calling": True, "json_output": True, "family": "unknown",
            "structured_output": True}
    return OllamaChatCompletionClient(model=name, host=URL, model_info=info, options=options)


@check
def autogen_answers_streams_and_structures():
    from autogen_core.models import UserMessage

    async def ask():
        model = autogen_model(MODEL, **FIXED)
        question = [UserMessage(content=QUESTION, source="user")]
        whole = await model.create(question)
        *parts, streamed = [part async for part in model.create_stream(question)]
        equal("".join(parts), whole.content, "streamed text")
        equal(streamed.usage.completion_tokens, whole.usage.completion_tokens, "tokens")
        question = [UserMessage(content="Who is Bob?", source="user")]
        person = await autogen_model(MODEL, **ROOMY).create(question, json_output=Person)
        Person.model_validate_json(person.content)
        equal(person.finish_reason, "stop", "finish_reason")

    asyncio.run(ask())


@check
def autogen_tools():
    from autogen_agentchat.agents import AssistantAgent

    async def ask():
        agent = AssistantAgent("agent", autogen_model(SCRIPTED), tools=[rain], system_message=None,
                               reflect_on_tool_use=True)
        said = (await agent.run(task=CALL)).messages
        result, = said[2].content
        equal((result.name, result.content, result.is_error), ("rain", RAINED, False), "result")
        equal(said[-1].content, RAINED, "the model's word about it")

    asyncio.run(ask())


def pydantic_ai_model(name):
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.ollama import OllamaProvider

    return OpenAIChatModel(name, provider=OllamaProvider(base_url=f"{URL}/v1"))


@check
def pydantic_ai_answers_and_streams():
    from pydantic_ai import Agent

    agent = Agent(pydantic_ai_model(MODEL), model_settings={"temperature": 0, "max_tokens": 12, "seed": 1})
    whole = agent.run_sync(QUESTION)
    assert whole.output.strip() and whole.usage.output_tokens > 0, f"{whole}"

    async def stream():
        async with agent.run_stream(QUESTION) as answer:
            return "".join([part async for part in answer.stream_text(delta=True, debounce_by=None)])

    equal(asyncio.run(stream()), whole.output, "streamed text")


@check
def pydantic_ai_structures():
    from pydantic_ai import Agent, NativeOutput, ToolOutput

    settings = {"temperature": 0, "max_tokens": 300}
    # As the answer's format, and as a forced call.
    for model, output in ((MODEL, NativeOutput(Person)), (CALLER, ToolOutput(Person))):
        agent = Agent(pydantic_ai_model(model), output_type=output, model_settings=settings, retries=0)
        answer = agent.run_sync("Who is Bob?")
        assert isinstance(answer.output, Person), f"{answer.output!r}"
        equal(answer.usage.requests, 1, "requests")


@check
def pydantic_ai_tools():
    from pydantic_ai import Agent

    agent = Agent(pydantic_ai_model(SCRIPTED), tools=[rain])
    equal(agent.run_sync(CALL).output, RAINED, "the model's word about the result")


if __name__ == "__main__":
    main()
