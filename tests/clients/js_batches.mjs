// Files and batch jobs with the official OpenAI client for JavaScript.
//
// DROVER_URL, DROVER_MODEL and DROVER_NODE_MODULES (where the packages are) come from the environment.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.DROVER_NODE_MODULES, "here.js"));
const { OpenAI, toFile } = require("openai");

const client = new OpenAI({ baseURL: `${process.env.DROVER_URL}/v1`, apiKey: "any", maxRetries: 0 });
const model = process.env.DROVER_MODEL;

const line = (name, more = {}) =>
  JSON.stringify({
    custom_id: name,
    method: "POST",
    url: "/v1/chat/completions",
    body: { model, messages: [{ role: "user", content: "Hello." }], max_tokens: 5, ...more },
  });

async function run(lines) {
  const file = await client.files.create({
    file: await toFile(Buffer.from(lines.join("\n")), "in.jsonl"),
    purpose: "batch",
  });
  let batch = await client.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
  });
  while (!["completed", "failed", "expired", "cancelled"].includes(batch.status)) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    batch = await client.batches.retrieve(batch.id);
  }
  return batch;
}

const batch = await run([line("a"), line("b"), line("c", { top_p: 7 })]);
assert.equal(batch.status, "completed");
assert.deepEqual(batch.request_counts, { total: 3, completed: 2, failed: 1 });
const output = await (await client.files.content(batch.output_file_id)).text();
const names = output.trim().split("\n").map((text) => JSON.parse(text).custom_id);
assert.deepEqual(names.sort(), ["a", "b"]);
const error = JSON.parse(await (await client.files.content(batch.error_file_id)).text());
assert.equal(error.response.body.error.param, "top_p");
for await (const each of client.batches.list({ limit: 1 })) assert.match(each.id, /^batch_/);
const files = [];
for await (const each of client.files.list({ limit: 1 })) files.push(each.id);
for (const each of files) await client.files.delete(each);
const failed = await run(["no json"]);
assert.equal(failed.errors.data[0].code, "invalid_json_line");
await assert.rejects(client.batches.cancel(batch.id), OpenAI.ConflictError);
await assert.rejects(client.files.retrieve("file-x"), OpenAI.NotFoundError);
console.log("all well");
