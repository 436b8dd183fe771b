// A document in a dialog, with a passage marked where one was cited.

import { readDocument } from "./api.js";
import { count, find, latestOnly, make } from "./element.js";

const begin = latestOnly();

export async function openDocument(corpus, id, start = null, end = null) {
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
    find("reader-title").textContent = found.title || id;
    about.textContent = start === null ? `${id}: ${sizes}` : `${id}: ${sizes}. The passage is marked.`;
    show(text, found.text, start, end);
  } catch (error) {
    if (isLatest()) about.textContent = error.message;
  }
}

// Places count characters as Python does; this language counts some, such as emoji, as two.
function show(place, text, start, end) {
  if (start === null) {
    place.textContent = text;
    place.scrollTop = 0;
    return;
  }
  const characters = Array.from(text);
  const passage = make("mark", characters.slice(start, end).join(""));
  place.append(characters.slice(0, start).join(""), passage, characters.slice(end).join(""));
  passage.scrollIntoView({ block: "center" });
}

find("reader-close").addEventListener("click", () => find("reader").close());
find("reader").addEventListener("click", (event) => {
  if (event.target === find("reader")) find("reader").close();
});
