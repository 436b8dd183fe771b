// Adding files, and the list of what a corpus holds.

import { addDocument, listDocuments, makeCorpus } from "./api.js";
import { count, find, latestOnly, make } from "./element.js";
import { openDocument } from "./reader.js";

const begin = latestOnly();

export async function showDocuments(corpus) {
  const isLatest = begin();
  const title = find("list-title");
  title.hidden = corpus === null;
  if (corpus === null) {
    find("list").replaceChildren();
    return;
  }
  const page = await listDocuments(corpus);
  if (!isLatest()) return;
  title.textContent = `In the corpus ${corpus}`;
  find("list").replaceChildren(...page.data.map((one) => item(corpus, one)));
  if (page.has_more) find("list").append(make("li", `and more: lloco corpus show ${corpus} lists them all`, "small"));
}

function item(corpus, one) {
  const button = make("button", "", "source");
  button.type = "button";
  const sizes = `${count(one.document_tokens, "token")} kept as ${count(one.virtual_tokens, "vector")}`;
  button.append(make("strong", one.title || one.id), make("span", `${one.id}: ${sizes}`));
  button.addEventListener("click", () => openDocument(corpus, one.id));
  const made = make("li");
  made.append(button);
  return made;
}

// `corpora` gives the names there are; `onAdded` is called with the corpus that a file went into.
export function takeFiles(corpora, onAdded) {
  const take = async (files) => {
    const into = find("into");
    if (!into.value || !into.reportValidity()) {
      into.focus();
      show(make("li", "Say first which corpus the file goes into."));
      return;
    }
    for (const file of files) await add(file, into.value, false);
  };

  const add = async (file, corpus, replaces) => {
    const line = show(make("li", `${file.name}: being read and compressed …`));
    const started = performance.now();
    try {
      const isThere = corpora().some((name) => name.toLowerCase() === corpus.toLowerCase());
      if (!isThere) await makeCorpus(corpus);
      const made = await addDocument(corpus, file, replaces);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      const sizes = `${count(made.document_tokens, "token")} are now ${count(made.virtual_tokens, "vector")}`;
      line.textContent = `${file.name}: ${replaces ? "replaced" : "added"} in ${seconds} s. ${sizes}.`;
      line.className = "done";
      await onAdded(made.corpus);
    } catch (error) {
      line.className = "failed";
      line.textContent = `${file.name}: ${error.message}`;
      if (error.code === "exists") {
        line.textContent = `${file.name}: the corpus ${corpus} has a document of this name. `;
        const button = make("button", "Replace it");
        button.type = "button";
        button.addEventListener("click", () => {
          line.remove();
          add(file, corpus, true);
        });
        line.append(button);
      }
      await onAdded(null, error);
    }
  };

  find("file").addEventListener("change", async (event) => {
    await take([...event.target.files]);
    event.target.value = "";
  });
  acceptDrops(find("drop"), take);
}

function show(line) {
  find("uploads").prepend(line);
  return line;
}

function acceptDrops(place, take) {
  // A file that misses the place must not replace the page.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
  place.addEventListener("dragover", () => place.classList.add("over"));
  place.addEventListener("dragleave", () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    place.classList.remove("over");
    take([...event.dataTransfer.files]);
  });
}
