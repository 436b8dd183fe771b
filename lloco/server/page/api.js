// Requests to the server that sent this page, and what their failures mean in plain words.

const KEY = "lloco-api-key";
const KNOWN = {
  no_document_found: "No match for this question. Rephrase it in words that the documents use.",
  context_length_exceeded: "The question and what was said before do not fit. Ask a shorter one, or without Follow-up.",
  model_not_found: "This corpus is not there any more. Load the page again.",
  corpus_not_found: "This corpus is not there any more. Load the page again.",
  document_not_found: "This document is not there any more. Load the page again.",
  engine_unavailable: "The model cannot be used now. Try again later.",
  disk_full: "The server's disk is full. Delete documents, or ask its operator.",
  exists: "There is one of this name.",
};

export class ApiError extends Error {
  constructor(status, message, code = null) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function keepKey(key) {
  sessionStorage.setItem(KEY, key);
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

async function send(path, options = {}) {
  const headers = new Headers(options.headers);
  try {
    if (hasKey()) headers.set("authorization", `Bearer ${sessionStorage.getItem(KEY)}`);
  } catch {
    throw unknownKey(); // It has letters that no header can carry.
  }
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw new ApiError(0, "The server cannot be reached. Is lloco serve still running?");
  }
  if (!response.ok) throw await failure(response);
  return response;
}

function unknownKey() {
  return new ApiError(401, "The server does not know this key. Ask its operator for one.");
}

async function failure(response) {
  const body = await response.json().catch(() => null);
  const said = body?.error?.message ?? response.statusText;
  if (response.status === 401) return unknownKey();
  if (response.status === 429) {
    const seconds = response.headers.get("retry-after") ?? "a few";
    return new ApiError(429, `Too many questions at once. Try again in ${seconds} s.`);
  }
  const known = KNOWN[body?.error?.code];
  if (known !== undefined) return new ApiError(response.status, known, body.error.code);
  if (response.status >= 500) return new ApiError(response.status, "The server failed. Its log says why.");
  const words = said.startsWith(`${body?.error?.param}: `) ? said.slice(body.error.param.length + 2) : said;
  return new ApiError(response.status, sentence(withoutRequests(words)), body?.error?.code);
}

// What an answer says of requests is for programs.
function withoutRequests(text) {
  return text.replace(/[:,;]?\s*(?:[a-z]+ (?:one|them|it) with )?(?:GET|POST|PUT|DELETE) \/\S*.*$/, "").replace(/[,:]?\s*(?:or )?[^,:]*\{"lloco".*$/, "");
}

function sentence(text) {
  const begun = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

function json(value) {
  return { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value) };
}

export async function listCorpora() {
  return (await (await send("/v1/corpora")).json()).data;
}

export async function makeCorpus(name) {
  await send("/v1/corpora", json({ name }));
}

export async function listDocuments(corpus) {
  return (await send(`/v1/documents?corpus=${encodeURIComponent(corpus)}`)).json();
}

function pathOf(corpus, id) {
  return `/v1/documents/${encodeURIComponent(corpus)}/${encodeURIComponent(id)}`;
}

export async function readDocument(corpus, id) {
  return (await send(pathOf(corpus, id))).json();
}

export async function addDocument(corpus, file, replaces) {
  const body = new FormData();
  if (!replaces) body.append("corpus", corpus);
  body.append("file", file);
  const path = replaces ? pathOf(corpus, file.name) : "/v1/documents";
  return (await send(path, { method: replaces ? "PUT" : "POST", body })).json();
}

export async function removeDocument(corpus, id) {
  await send(pathOf(corpus, id), { method: "DELETE" });
}

export async function listQueue() {
  return (await (await send("/v1/queue")).json()).data;
}

// Yields the chunks of an answer as they come.
export async function* streamAnswer(corpus, messages, mode, signal) {
  const response = await send("/v1/chat/completions", {
    ...json({ model: corpus, messages, stream: true, stream_options: { include_usage: true }, lloco: { mode } }),
    signal,
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read().catch(() => {
      throw new ApiError(0, "The connection was lost before the answer ended.");
    });
    if (done) throw new ApiError(0, "The connection was lost before the answer ended.");
    held += value;
    const events = held.split("\n\n");
    held = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(500, sentence(chunk.error.message));
      yield chunk;
    }
  }
}
