// The list of what a corpus holds: open, filter, delete.

import { listDocuments, removeDocument } from "./api.js";
import { count, find, latestOnly, make, makeButton, makeTitledButton } from "./element.js";
import { openDocument } from "./reader.js";
import { withoutMarkdown } from "./words.js";

const MAX_WITHOUT_FILTER = 10;
const begin = latestOnly();
let isOpened = false;

// `onRemoved` is called with the corpus from which a document was deleted.
export async function showDocuments(corpus, onRemoved) {
  const isLatest = begin();
  if (corpus === null) {
    find("listed").hidden = true;
    find("list").replaceChildren();
    return;
  }
  const page = await listDocuments(corpus);
  if (!isLatest()) return;
  const total = `${page.data.length}${page.has_more ? "+" : ""}`;
  find("list-title").textContent = `In the corpus ${corpus} (${total})`;
  find("listed").hidden = false;
  if (!isOpened) find("listed").open = page.data.length <= MAX_WITHOUT_FILTER && matchMedia("(min-width: 60rem)").matches;
  isOpened = true;
  find("list").replaceChildren(...page.data.map((document) => item(corpus, document, onRemoved)));
  if (page.has_more) find("list").append(make("li", `and more: lloco corpus show ${corpus} lists them all`, "small"));
  for (const part of document.querySelectorAll(".filter")) part.hidden = page.data.length <= MAX_WITHOUT_FILTER;
  find("filter").value = "";
  find("filtered").textContent = "";
}

function item(corpus, document, onRemoved) {
  const title = withoutMarkdown(document.title) || document.id;
  const sizes = `${count(document.document_tokens, "token")} kept as ${count(document.virtual_tokens, "vector")}`;
  const remove = makeButton("Delete", () => confirmRemoval(corpus, document.id, onRemoved), "remove");
  remove.setAttribute("aria-label", `Delete ${document.id}`);
  const made = make("li", "", "document");
  made.dataset.words = `${title} ${document.id}`.toLowerCase();
  made.append(makeTitledButton(title, `${document.id}: ${sizes}`, () => openDocument(corpus, document.id)), remove);
  return made;
}

function confirmRemoval(corpus, id, onRemoved) {
  const dialog = find("confirm");
  find("confirm-text").textContent = `Delete ${id} from the corpus ${corpus}? Its text and its vectors are removed.`;
  find("confirm-yes").disabled = false;
  find("confirm-yes").onclick = async () => {
    find("confirm-yes").disabled = true;
    try {
      await removeDocument(corpus, id);
      dialog.close();
      find("status").textContent = `${id} is deleted`;
      await onRemoved(corpus);
    } catch (error) {
      find("confirm-text").textContent = error.message;
    }
  };
  dialog.showModal();
  find("confirm-no").focus();
}

find("confirm-no").addEventListener("click", () => find("confirm").close());
find("filter").addEventListener("input", () => {
  const wanted = find("filter").value.trim().toLowerCase();
  const items = [...find("list").querySelectorAll(".document")];
  for (const item of items) item.hidden = !item.dataset.words.includes(wanted);
  const shown = items.filter((item) => !item.hidden).length;
  find("filtered").textContent = wanted ? `${shown} of ${count(items.length, "document")}` : "";
});
