// The page: which corpus, which question, and what the other files show of them.

import { Answer } from "./answer.js";
import { hasKey, keepKey, listCorpora, loadModels } from "./api.js";
import { showDocuments, takeFiles } from "./documents.js";
import { count, find, latestOnly, make } from "./element.js";

const FIRST_CORPUS = "documents";
const ALL_CORPORA = "lloco/auto";
let corpora = [];
const isLoaded = new Set();
const begin = latestOnly();
let isAsking = false;

async function start(chosen = find("corpus").value) {
  const isLatest = begin();
  try {
    const found = await listCorpora();
    if (!isLatest()) return;
    corpora = found;
    problem(null);
  } catch (error) {
    if (isLatest()) problem(error);
    return;
  }
  const names = corpora.map((one) => one.id);
  const options = names.map((name) => new Option(name, name));
  if (names.length > 1) options.push(new Option("whichever fits the question", ALL_CORPORA));
  find("corpus").replaceChildren(...options);
  find("corpora").replaceChildren(...names.map((name) => new Option(name)));
  if (options.some((one) => one.value === chosen)) find("corpus").value = chosen;
  find("empty").hidden = corpora.some((one) => one.num_documents > 0);
  find("ask").hidden = corpora.length === 0;
  await showCorpus();
}

async function showCorpus() {
  const asked = find("corpus").value === ALL_CORPORA ? corpora : corpora.filter((one) => one.id === find("corpus").value);
  const chosen = asked.length === 1 ? asked[0] : null;
  find("into").value = chosen?.id ?? FIRST_CORPUS;
  find("corpus-size").textContent = chosen === null ? aboutAll(asked) : about(chosen);
  find("send").disabled = isAsking || !asked.some((one) => one.num_documents);
  try {
    await showDocuments(chosen?.id ?? null);
  } catch (error) {
    problem(error);
  }
}

function aboutAll(asked) {
  return asked.length ? `${asked.length} corpora: the passages found say which one a question is about.` : "";
}

function about(corpus) {
  if (!corpus.num_documents) return "No document yet: add one below.";
  const tokens = count(corpus.document_tokens, "token");
  const size = `${count(corpus.num_documents, "document")}: ${tokens}, kept as ${count(corpus.virtual_tokens, "vector")}.`;
  if (corpus.adapter) return size;
  return `${size} No adapter was trained to read them yet, so answers may be poor: see lloco finetune.`;
}

function problem(error) {
  const needsKey = error?.status === 401;
  if (needsKey) find("key-form").hidden = false;
  else if (error === null) find("key-form").hidden = true;
  const isWords = error !== null && !(needsKey && !hasKey());
  find("problem").hidden = !isWords;
  find("problem").textContent = isWords ? error.message : "";
  if (needsKey) {
    find("key").focus();
    find("key").select();
  }
}

// The two are asked one after the other, with the models loaded, so that the times compare.
async function ask() {
  const corpus = find("corpus").value;
  const question = find("question").value.trim();
  const modes = find("compare").checked ? ["compressed", "full"] : ["compressed"];
  const answers = modes.map((mode) => new Answer(mode));
  find("answers").replaceChildren(make("h2", question), ...answers.map((one) => one.card));
  find("answers").classList.toggle("two", modes.length > 1);
  isAsking = true;
  find("send").disabled = true;
  try {
    if (modes.length > 1 && !isLoaded.has(corpus)) {
      answers[0].say("Loading the models, so that the times compare …");
      await loadModels(corpus, question);
    }
    for (const one of answers) await one.ask(corpus, question);
    isLoaded.add(corpus);
  } catch (error) {
    if (error.status === 401) problem(error);
    answers.filter((one) => !one.text.textContent).forEach((one) => one.say(error.message));
  } finally {
    isAsking = false;
    find("send").disabled = false;
  }
}

find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(find("key").value.trim());
  start();
});
find("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  if (!find("send").disabled && find("question").value.trim()) ask();
});
find("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  find("ask").requestSubmit();
});
find("corpus").addEventListener("change", showCorpus);
takeFiles(() => corpora.map((one) => one.id), async (corpus, error) => {
  if (error?.status === 401) problem(error);
  if (corpus !== null) await start(corpus);
});
start();
