// Adding files: a queue that is seen, one file at a time, with the reason of each refusal.

import { addDocument, listQueue, makeCorpus } from "./api.js";
import { count, find, make, makeButton } from "./element.js";

const CORPUS_NAME = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$/;
const BAD_NAME = "Use 1 to 64 letters, digits, “.”, “_” or “-” for the corpus, and no “.” at the beginning.";
const ASK_EVERY_MS = 2000;

// `corpora` gives the names there are; `onAdded` is called with the corpus that a file went into.
export function takeFiles(corpora, onAdded) {
  let last = Promise.resolve();

  const take = (files) => {
    const corpus = find("into").value.trim();
    if (!isNamed(corpus)) return;
    const refused = files.map((file) => file.name).filter((name) => !canRead(name));
    if (refused.length) show(make("li", `Can't read ${refused.join(", ")}. Supported: ${fileTypes().join(" ")}`, "failed"));
    for (const file of files) if (canRead(file.name)) queue(file, corpus, false);
  };

  const queue = (file, corpus, replaces) => {
    const line = show(make("li", `${file.name}: waiting …`));
    last = last.then(() => add(line, file, corpus, replaces));
  };

  const add = async (line, file, corpus, replaces) => {
    const started = performance.now();
    line.textContent = `${file.name}: sending …`;
    const timer = setInterval(() => showStage(line, file.name, corpus), ASK_EVERY_MS);
    try {
      const isThere = corpora().some((name) => name.toLowerCase() === corpus.toLowerCase());
      if (!isThere) await makeCorpus(corpus).catch(unlessThere);
      const made = await addDocument(corpus, file, replaces);
      clearInterval(timer);
      const took = ((performance.now() - started) / 1000).toFixed(1);
      const sizes = `${count(made.document_tokens, "token")} are now ${count(made.virtual_tokens, "vector")}`;
      const unread = made.unread ? ` Left out: ${made.unread}.` : "";
      line.textContent = `${file.name}: ${replaces ? "replaced" : "added"} in ${took} s. ${sizes}.${unread}`;
      line.className = "done";
      await onAdded(made.corpus);
    } catch (error) {
      clearInterval(timer);
      line.className = "failed";
      line.textContent = `${file.name}: ${error.message.replace(/^File '.*' cannot be read: /, "not added, ")}`;
      if (error.code === "exists") offerReplacing(line, file, corpus);
      await onAdded(null, error);
    }
  };

  const offerReplacing = (line, file, corpus) => {
    line.textContent = `${file.name}: the corpus ${corpus} has a document of this name. `;
    line.append(makeButton("Replace it", () => {
      line.remove();
      queue(file, corpus, true);
    }));
  };

  find("file").addEventListener("change", (event) => {
    take([...event.target.files]);
    event.target.value = "";
  });
  find("into").addEventListener("input", () => sayOfName(""));
  acceptDrops(find("drop"), take);
}

function unlessThere(error) {
  if (error.code !== "exists") throw error;
}

function isNamed(corpus) {
  const said = !corpus ? "Choose a corpus first." : CORPUS_NAME.test(corpus) ? "" : BAD_NAME;
  sayOfName(said);
  if (said) find("into").focus();
  return !said;
}

function sayOfName(text) {
  find("into-problem").textContent = text;
  find("into-problem").hidden = !text;
  find("into").setAttribute("aria-invalid", String(text !== ""));
}

function fileTypes() {
  return find("file").accept.split(",");
}

// A name without an ending is read as plain text, or refused by the server.
function canRead(name) {
  const [ending] = name.replace(/\.gz$/i, "").match(/\.[a-z][a-z0-9]{0,9}$/i) ?? [null];
  return ending === null || fileTypes().includes(ending.toLowerCase());
}

async function showStage(line, name, corpus) {
  const jobs = await listQueue().catch(() => []);
  const job = jobs.find((queued) => queued.corpus === corpus && queued.id === name);
  if (job === undefined || line.className) return;
  const left = job.seconds_left === null ? "" : `, about ${job.seconds_left} s left`;
  const ahead = job.num_ahead ? `, ${job.num_ahead} ahead` : "";
  line.textContent = `${name}: ${job.stage}${ahead}${left} …`;
}

function show(line) {
  find("uploads").append(line);
  return line;
}

function acceptDrops(target, take) {
  // A file that misses the target must not replace the page.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  target.addEventListener("dragover", () => target.classList.add("over"));
  target.addEventListener("dragleave", () => target.classList.remove("over"));
  target.addEventListener("drop", (event) => {
    target.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
}
