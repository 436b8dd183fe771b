// One answer: its text as it streams, what it was read from, what that cost.

import { streamAnswer } from "./api.js";
import { count, find, make, number } from "./element.js";
import { openDocument } from "./reader.js";

const TITLES = { compressed: "Read from vectors", full: "Read from the full text" };

export class Answer {
  constructor(mode) {
    this.mode = mode;
    this.card = find("answer").content.firstElementChild.cloneNode(true);
    this.text = this.card.querySelector(".text");
    this.card.dataset.mode = mode;
    this.card.querySelector("h3").textContent = TITLES[mode];
    this.say("Waiting …");
  }

  say(text) {
    const note = this.card.querySelector(".note");
    note.textContent = text;
    note.hidden = !text;
  }

  async ask(corpus, question) {
    const started = performance.now();
    this.say("Reading …");
    this.text.setAttribute("aria-busy", "true");
    try {
      await this.#stream(corpus, question, started);
    } catch (error) {
      this.card.classList.add("failed");
      this.say(error.message);
      throw error;
    } finally {
      this.text.setAttribute("aria-busy", "false");
    }
  }

  async #stream(corpus, question, started) {
    let first = null;
    let ended = null;
    let usage = null;
    let readBy = null;
    let reason = null;
    for await (const chunk of streamAnswer(corpus, question, this.mode)) {
      const [choice] = chunk.choices;
      readBy ??= chunk.lloco;
      if (choice?.delta.citations) this.#showSources(readBy.corpus, choice.delta.citations);
      if (choice?.delta.content) {
        first ??= performance.now() - started;
        this.text.append(choice.delta.content);
      }
      if (choice?.finish_reason) {
        reason = choice.finish_reason;
        ended = performance.now() - started;
      }
      usage ??= chunk.usage;
    }
    if (!this.text.textContent) this.text.append(make("em", "(an empty answer)"));
    this.#showFigures(usage, first ?? ended, ended);
    this.say(notes(usage, readBy, reason).join(" "));
  }

  #showSources(corpus, citations) {
    const list = this.card.querySelector("ol");
    for (const cited of citations) {
      const button = make("button", "", "source");
      button.type = "button";
      button.append(make("strong", cited.title || cited.document_id), make("span", cited.text || "the whole document"));
      button.addEventListener("click", () => openDocument(corpus, cited.document_id, cited.start, cited.end));
      const item = make("li");
      item.append(button);
      list.append(item);
    }
    this.card.querySelector(".sources").hidden = citations.length === 0;
  }

  #showFigures(usage, first, ended) {
    const list = this.card.querySelector("dl");
    const add = (name, value) => {
      const pair = make("div");
      pair.append(make("dt", name), make("dd", value));
      list.append(pair);
    };
    if (this.mode === "compressed") {
      add("read", count(usage.virtual_tokens, "vector"));
      add("instead of", count(usage.document_tokens, "token"));
      add("tokens saved", `${number(usage.document_tokens - usage.virtual_tokens)} (${ratio(usage)}×)`);
    } else {
      add("read", count(usage.context_tokens, "token"));
    }
    add("first words", seconds(first));
    add("whole answer", seconds(ended));
  }
}

function ratio(usage) {
  return (usage.document_tokens / usage.virtual_tokens).toFixed(1);
}

function percent(share) {
  return `${Math.round(100 * share)} %`;
}

function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(2)} s`;
}

function notes(usage, readBy, reason) {
  const said = [];
  if (readBy.votes) said.push(`From the corpus ${readBy.corpus}: ${percent(readBy.votes[readBy.corpus])} of the votes.`);
  if (!readBy.is_whole && readBy.mode === "full") {
    said.push(`The text has ${count(usage.document_tokens, "token")}, more than fit: its best passages were read.`);
  } else if (!readBy.is_whole) {
    said.push("Not all vectors fit: those of the passages that were found were read.");
  }
  if (reason === "length") said.push(`Cut after ${number(usage.completion_tokens)} tokens.`);
  return said;
}
