// A question with its answer, or with two that are compared, and what they were read from.

import { Answer, NAMES, notes, numRead } from "./answer.js";
import { count, find, make, makeTitledButton, number, seconds } from "./element.js";
import { openDocument } from "./reader.js";
import { withoutMarkdown } from "./words.js";

export class Turn {
  constructor(corpus, question, modes) {
    this.corpus = corpus;
    this.question = question;
    this.answers = modes.map((mode) => new Answer(mode));
    this.card = find("turn").content.firstElementChild.cloneNode(true);
    this.card.querySelector("h2").textContent = question;
    if (modes.length > 1) this.#layTable();
    else this.card.querySelector(".answers").append(this.answers[0].text, this.answers[0].copy);
  }

  // Asks one answer after the other, so that the times compare.
  async ask(messages, signal, isLoading) {
    for (const answer of this.answers) {
      const isFirst = answer === this.answers[0];
      this.say(isLoading && isFirst ? "Loading the model (once) …" : `Reading ${NAMES[answer.mode]} …`);
      try {
        await answer.ask(this.corpus, messages, signal, isLoading && isFirst);
      } catch (error) {
        this.#showSources();
        if (signal.aborted) this.say("Stopped.");
        else this.#fail(error.message);
        throw error;
      }
    }
    this.#showSources();
    this.say([...new Set(this.answers.flatMap(notes))].join(" "));
    this.#showVerdict();
    if (this.answers.length > 1) this.#fillTable();
    this.card.scrollIntoView({ block: "nearest" });
  }

  say(text) {
    const note = this.card.querySelector(".note");
    note.textContent = text;
    note.hidden = !text;
  }

  // Where it can be built on: the question and its answer as messages.
  get messages() {
    const said = this.answers[0].said;
    if (!said || this.answers[0].reason === null) return [];
    return [{ role: "user", content: this.question }, { role: "assistant", content: said }];
  }

  #fail(message) {
    this.card.classList.add("failed");
    this.say(message);
  }

  #layTable() {
    const table = find("comparison").content.firstElementChild.cloneNode(true);
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) row.append(make("td"), make("td"), make("td"));
    this.answers.forEach((answer, index) => rows[0].cells[index + 1].append(answer.text, answer.copy));
    this.card.querySelector(".answers").append(table);
  }

  #fillTable() {
    const rows = [...this.card.querySelector("tbody").rows].slice(1);
    const values = [numRead, (answer) => answer.first, (answer) => answer.total];
    rows.forEach((row, number) => {
      const found = this.answers.map(values[number]);
      const isRead = number === 0;
      row.cells[1].textContent = isRead ? count(found[0], "vector") : seconds(found[0]);
      row.cells[2].textContent = isRead ? count(found[1], "token") : seconds(found[1]);
      row.cells[3].textContent = found[0] ? `${(found[1] / found[0]).toFixed(1)}x` : "";
    });
  }

  #showVerdict() {
    const [answer, other] = this.answers;
    const { virtual_tokens: vectors, context_tokens: context, document_tokens: tokens } = answer.usage;
    const read = [vectors && count(vectors, "vector"), context && count(context, "token")].filter(Boolean).join(" and ");
    const whole = other === undefined ? tokens : numRead(other);
    const isLess = numRead(answer) < whole;
    const parts = [isLess ? `Read ${read} instead of ${count(whole, "token")}` : `Read ${read || "nothing"}`];
    if (isLess) parts.push(`${(whole / numRead(answer)).toFixed(1)}x less`);
    if (other === undefined) parts.push(`first words ${seconds(answer.first)}`, `total ${seconds(answer.total)}`);
    const verdict = this.card.querySelector(".verdict");
    verdict.textContent = parts.join(" · ");
    verdict.hidden = false;
  }

  #showSources() {
    const list = this.card.querySelector("ol");
    const seen = new Set();
    for (const { citations, readBy } of this.answers) {
      for (const cited of citations) {
        if (seen.has(cited.document_id)) continue;
        seen.add(cited.document_id);
        const item = make("li");
        item.append(this.#sourceButton(readBy.corpus, cited));
        list.append(item);
      }
    }
    this.card.querySelector(".sources").hidden = seen.size === 0;
  }

  #sourceButton(corpus, cited) {
    const page = cited.page ? `, page ${number(cited.page)}` : "";
    const title = `${withoutMarkdown(cited.title) || cited.document_id}${page}`;
    const text = withoutMarkdown(cited.text) || "the whole document";
    return makeTitledButton(title, text, () => openDocument(corpus, cited.document_id, { ...cited, question: this.question }));
  }
}
