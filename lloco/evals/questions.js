"use strict";
// Shows the questions that fit what was chosen: words, a document, and how two modes of reading did.
for (const form of document.querySelectorAll("form.filter")) {
  const articles = [...form.closest("section").querySelectorAll("article")];
  const fields = new Map(articles.map((article) => [article, textsOf(article)]));
  const modes = form.querySelectorAll("[name=mode]");
  const scores = form.querySelectorAll("[name=score]");

  const apply = () => {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const field = form.elements.field.value;
    const wantedDocument = form.elements.document ? form.elements.document.value : "";
    let shown = 0;
    for (const article of articles) {
      const texts = fields.get(article).filter(([name]) => !field || name === field).map(([, text]) => text).join(" ");
      const fits = words.every((word) => texts.includes(word))
        && (!wantedDocument || article.dataset.document === wantedDocument)
        && [...modes].every((mode, place) => hasScore(article, mode.value, scores[place].value));
      article.hidden = !fits;
      shown += fits;
    }
    form.querySelector("output").textContent = `${shown} of ${articles.length} questions`;
  };

  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
}

function textsOf(article) {
  return [...article.querySelectorAll("[data-field]")].map((one) => [one.dataset.field, one.textContent.toLowerCase()]);
}

function hasScore(article, mode, wanted) {
  if (!wanted) return true;
  const cell = [...article.querySelectorAll("[data-score]")].find((one) => one.dataset.mode === mode);
  return cell !== undefined && (Number(cell.dataset.score) >= 50) === (wanted === "right");
}

const openTarget = () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
addEventListener("hashchange", openTarget);
openTarget();
