// Anthropic's SDK and Vercel's AI SDK, unchanged.
//
// DROVER_URL, DROVER_MODEL (a small chat model) and DROVER_SCRIPTED (a model that says `[[say TEXT]]`) come
// from the environment; DROVER_NODE_MODULES is the folder that has the packages, if it is not above this one.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const modules = process.env.DROVER_NODE_MODULES
const load = createRequire(modules ? join(modules, 'index.js') : import.meta.url)
const { Anthropic } = load('@anthropic-ai/sdk')
const { generateText, stepCountIs, streamText, tool } = load('ai')
const { createAnthropic } = load('@ai-sdk/anthropic')
const { createOpenAI } = load('@ai-sdk/openai')
const { z } = load('zod')

const url = process.env.DROVER_URL.replace(/\/$/, '')
const model = process.env.DROVER_MODEL
const scripted = process.env.DROVER_SCRIPTED
const client = new Anthropic({ baseURL: url, apiKey: 'any', maxRetries: 0 })
const CALL = '[[say I look.<tool_call>{"name": "weather", "arguments": {"city": "Ulm"}}</tool_call>]]'
const weather = {
  name: 'weather',
  description: 'What the sky does',
  input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
}
const said = (text) => ({ model: scripted, max_tokens: 1000, messages: [{ role: 'user', content: text }] })

const providers = {
  anthropic: createAnthropic({ baseURL: `${url}/v1`, apiKey: 'any' }),
  'openai chat': createOpenAI({ baseURL: `${url}/v1`, apiKey: 'any' }).chat,
  'openai responses': createOpenAI({ baseURL: `${url}/v1`, apiKey: 'any' }),
}

const checks = {
  async 'whole and streamed agree'() {
    const request = { model, max_tokens: 5, messages: [{ role: 'user', content: 'Name three colours.' }] }
    const body = { ...request, temperature: 0 }
    const whole = await client.messages.create(request, { body })
    assert.equal(whole.stop_reason, 'max_tokens')
    const stream = client.messages.stream(request, { body: { ...body, stream: true } })
    const text = []
    stream.on('text', (piece) => text.push(piece))
    const final = await stream.finalMessage()
    assert.equal(final.content[0].text, text.join(''))
    assert.equal(final.usage.output_tokens, 5)
    const counted = await client.messages.countTokens({ model, messages: request.messages })
    const { input_tokens, cache_read_input_tokens } = final.usage
    assert.equal(counted.input_tokens, input_tokens + cache_read_input_tokens)
  },

  async 'calls come with their arguments'() {
    const stream = client.messages.stream({ ...said(CALL), tools: [weather] })
    const pieces = []
    stream.on('inputJson', (piece) => pieces.push(piece))
    const final = await stream.finalMessage()
    assert.equal(final.stop_reason, 'tool_use')
    assert.deepEqual(final.content[1].input, { city: 'Ulm' })
    assert.deepEqual(JSON.parse(pieces.join('')), { city: 'Ulm' })
  },

  async 'thinking comes in blocks'() {
    const thinking = { type: 'enabled', budget_tokens: 1024 }
    const request = { ...said('[[say <think>Hm.</think>Four.]]'), max_tokens: 2000, thinking }
    const final = await client.messages.stream(request).finalMessage()
    assert.deepEqual(final.content.map((block) => block.type), ['thinking', 'text'])
    assert.ok(final.content[0].signature)
  },

  async 'errors have their classes'() {
    await assert.rejects(client.messages.create({ ...said('a'), model: 'no-such-model' }), Anthropic.NotFoundError)
    await assert.rejects(client.messages.create({ ...said('a'), max_tokens: 0 }), Anthropic.BadRequestError)
  },
}

for (const [name, provider] of Object.entries(providers)) {
  checks[`AI SDK over ${name}: texts, whole and streamed`] = async () => {
    const asked = { model: provider(scripted), prompt: '[[say Hello there.]]' }
    const { text, usage, finishReason } = await generateText(asked)
    assert.deepEqual([text, finishReason], ['Hello there.', 'stop'])
    assert.ok(usage.inputTokens > 0 && usage.outputTokens > 0, JSON.stringify(usage))
    const { textStream } = streamText(asked)
    let streamed = ''
    for await (const piece of textStream) streamed += piece
    assert.equal(streamed, 'Hello there.')
  }
  checks[`AI SDK over ${name}: a tool round`] = async () => {
    const asked = []
    const tools = {
      weather: tool({
        description: 'What the sky does',
        inputSchema: z.object({ city: z.string() }),
        execute: async ({ city }) => {
          asked.push(city)
          return 'It rains.'
        },
      }),
    }
    const { text } = await generateText({ model: provider(scripted), prompt: CALL, tools, stopWhen: stepCountIs(3) })
    assert.deepEqual(asked, ['Ulm'])
    assert.match(text, /It rains/)
  }
}

let failed = 0
for (const [name, check] of Object.entries(checks)) {
  try {
    await check()
    console.log(`ok   ${name}`)
  } catch (error) {
    failed += 1
    console.log(`FAIL ${name}\n${error.stack}`)
  }
}
const total = Object.keys(checks).length
console.log(`${total - failed} of ${total} checks passed`)
process.exit(failed ? 1 : 0)
