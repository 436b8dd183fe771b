// The page: which corpus, which question, the conversation so far.

import { NAMES, numRead } from "./answer.js";
import { hasKey, keepKey, listCorpora } from "./api.js";
import { showDocuments } from "./documents.js";
import { count, find, latestOnly } from "./element.js";
import { Turn } from "./turn.js";
import { takeFiles } from "./uploads.js";

const FIRST_CORPUS = "documents";
const ALL_CORPORA = "lloco/auto";
const begin = latestOnly();
let corpora = [];
let turns = [];
let running = null;
let isModeChosen = false;

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
  const names = corpora.map((corpus) => corpus.id);
  const options = names.map((name) => new Option(name, name));
  if (names.length > 1) options.push(new Option("whichever fits the question", ALL_CORPORA));
  find("corpus").replaceChildren(...options);
  find("corpora").replaceChildren(...names.map((name) => new Option(name)));
  if (options.some((option) => option.value === chosen)) find("corpus").value = chosen;
  find("empty").hidden = corpora.some((corpus) => corpus.num_documents > 0);
  find("ask").hidden = corpora.length === 0;
  find("documents").hidden = false;
  await showCorpus();
}

function asked() {
  const chosen = find("corpus").value;
  return chosen === ALL_CORPORA ? corpora : corpora.filter((corpus) => corpus.id === chosen);
}

async function showCorpus() {
  const shown = asked();
  const chosen = shown.length === 1 ? shown[0] : null;
  find("into").value = chosen?.id ?? FIRST_CORPUS;
  find("corpus-size").textContent = chosen === null ? aboutAll(shown) : about(chosen);
  if (shown.length) showModel(shown);
  showButtons();
  try {
    await showDocuments(chosen?.id ?? null, start);
  } catch (error) {
    problem(error);
  }
}

function showModel(shown) {
  const names = [...new Set(shown.map(({ model }) => modelLine(model)))];
  find("model").textContent = names.join(" ");
  if (!isModeChosen) find("mode").value = shown[0].model.mode;
}

function modelLine({ name, num_parameters: size, good_for: use }) {
  const millions = size === null ? "" : ` (${size < 1e9 ? `${(size / 1e6).toPrecision(3)} M` : `${(size / 1e9).toPrecision(3)} B`} parameters)`;
  return `${name}${millions} answers.${use ? ` ${use}` : ""}`;
}

function aboutAll(shown) {
  return shown.length ? `${shown.length} corpora: lloco picks the best-matching one.` : "";
}

function about(corpus) {
  if (!corpus.num_documents) return "No document yet: add one under Documents.";
  const tokens = count(corpus.document_tokens, "token");
  const size = `${count(corpus.num_documents, "document")}: ${tokens}, kept as ${count(corpus.virtual_tokens, "vector")}.`;
  return corpus.adapter ? size : `${size} No adapter is trained for them yet.`;
}

function showButtons() {
  find("send").disabled = running !== null || !asked().some((corpus) => corpus.num_documents);
  find("compare").disabled = find("send").disabled;
  find("send").hidden = running !== null;
  find("stop").hidden = running === null;
  find("clear").hidden = turns.length === 0;
  find("intro").hidden = turns.length > 0 || find("send").disabled;
  find("follow").hidden = history().length === 0;
  find("cost").textContent = costLine();
}

function history() {
  const corpus = find("corpus").value;
  return turns.filter((turn) => turn.corpus === corpus).flatMap((turn) => turn.messages);
}

function costLine() {
  const answers = turns.map((turn) => turn.answers[0]).filter((answer) => answer.usage !== null);
  if (answers.length < 2) return "";
  const sum = (value) => answers.reduce((total, answer) => total + value(answer), 0);
  return `${count(answers.length, "question")} so far: ${count(sum(numRead), "position")} read instead of ` +
    `${count(sum((answer) => answer.usage.document_tokens), "token")}.`;
}

function problem(error) {
  const needsKey = error?.status === 401;
  if (needsKey) find("key-form").hidden = false;
  else if (error === null) find("key-form").hidden = true;
  if (needsKey) find("ask").hidden = find("documents").hidden = true;
  const isWords = error !== null && !(needsKey && !hasKey());
  find("problem").hidden = !isWords;
  find("problem").textContent = isWords ? error.message : "";
  if (needsKey) {
    find("key").focus();
    find("key").select();
  }
}

async function ask(modes) {
  const question = find("question").value.trim();
  if (!question || find("send").disabled) return;
  const turn = new Turn(find("corpus").value, question, modes);
  const before = find("follow-up").checked ? history() : [];
  const isLoading = asked().some((corpus) => !corpus.model.is_loaded);
  turns.push(turn);
  find("conversation").append(turn.card);
  find("question").value = "";
  running = new AbortController();
  showButtons();
  turn.card.scrollIntoView({ block: "start" });
  try {
    await turn.ask([...before, { role: "user", content: question }], running.signal, isLoading);
    if (turns.includes(turn)) announce(turn);
    noteLoaded(turn.answers[0].readBy.corpus);
  } catch (error) {
    if (error.status === 401) problem(error);
    if (!find("question").value && !turn.answers[0].said && !running.signal.aborted) find("question").value = question;
    find("status").textContent = turn.card.querySelector(".note").textContent;
  } finally {
    running = null;
    showButtons();
  }
}

function noteLoaded(name) {
  const answered = corpora.find((corpus) => corpus.id === name);
  for (const corpus of corpora) corpus.model.is_loaded ||= corpus.model.name === answered?.model.name;
}

function announce(turn) {
  const isCompared = turn.answers.length > 1;
  const said = turn.answers.map((answer) => `${isCompared ? `From ${NAMES[answer.mode]}` : "Answer"}: ${answer.said || "empty"}`);
  find("status").textContent = said.join(". ");
}

function clear() {
  running?.abort();
  turns = [];
  find("conversation").replaceChildren();
  find("follow-up").checked = false;
  find("status").textContent = "Conversation cleared";
  showButtons();
  find("question").focus();
}

// What is scrolled to, or focused, is not hidden by the question's form at the bottom.
new ResizeObserver(() => {
  document.documentElement.style.setProperty("--ask-height", `${find("ask").offsetHeight + 16}px`);
}).observe(find("ask"));
find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  keepKey(find("key").value.trim());
  start();
});
find("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  ask([find("mode").value]);
});
find("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  find("ask").requestSubmit();
});
find("compare").addEventListener("click", () => ask(["compressed", "full"]));
find("stop").addEventListener("click", () => {
  running?.abort();
  find("question").focus();
});
find("clear").addEventListener("click", clear);
find("corpus").addEventListener("change", showCorpus);
find("mode").addEventListener("change", () => {
  isModeChosen = true;
});
takeFiles(() => corpora.map((corpus) => corpus.id), async (corpus, error) => {
  if (error?.status === 401) problem(error);
  if (corpus !== null) await start(corpus);
});
start();
