// A document in a dialog, with the sentences marked that a question was about.

import { readDocument } from "./api.js";
import { count, find, latestOnly, make } from "./element.js";
import { matchingSentences, withoutMarkdown } from "./words.js";

const begin = latestOnly();

// `cited` has the start and end of a passage and the question that it was found for.
export async function openDocument(corpus, id, cited = null) {
  const isLatest = begin();
  const text = find("reader-text");
  const about = find("reader-about");
  find("reader-title").textContent = id;
  about.textContent = "Loading …";
  text.replaceChildren();
  if (!find("reader").open) find("reader").showModal();
  try {
    const found = await readDocument(corpus, id);
    if (!isLatest()) return;
    const sizes = `${count(found.document_tokens, "token")}, kept as ${count(found.virtual_tokens, "vector")}`;
    find("reader-title").textContent = withoutMarkdown(found.title) || id;
    const isMarked = cited !== null && cited.start !== null;
    about.textContent = isMarked ? `${id}: ${sizes}. What fits the question is marked.` : `${id}: ${sizes}`;
    show(text, found.text, isMarked ? cited : null);
  } catch (error) {
    if (isLatest()) about.textContent = error.message;
  }
}

// Offsets count characters as Python does; this language counts some, such as emoji, as two.
function show(target, text, cited) {
  if (cited === null) {
    target.textContent = text;
    target.scrollTop = 0;
    return;
  }
  const characters = Array.from(text);
  const passage = make("span", "", "passage");
  for (const [sentence, isMatch] of matchingSentences(characters.slice(cited.start, cited.end).join(""), cited.question)) {
    const [, before, words, after] = sentence.match(/^(\s*)([\s\S]*?)(\s*)$/);
    passage.append(before, isMatch ? make("mark", words) : words, after);
  }
  target.append(characters.slice(0, cited.start).join(""), passage, characters.slice(cited.end).join(""));
  (passage.querySelector("mark") ?? passage).scrollIntoView({ block: "center" });
}

find("reader-close").addEventListener("click", () => find("reader").close());
find("reader").addEventListener("click", (event) => {
  if (event.target === find("reader")) find("reader").close();
});
