// One answer as it streams: its text, what was read for it, how long that took.

import { streamAnswer } from "./api.js";
import { find, make, makeButton, number } from "./element.js";

export const NAMES = {
  compressed: "vectors",
  hybrid: "vectors and passages",
  full: "the full text",
  retrieval: "the best passages",
};

export class Answer {
  constructor(mode) {
    this.mode = mode;
    this.text = make("p", "", "text");
    this.said = "";
    this.usage = null;
    this.readBy = null;
    this.citations = [];
    this.reason = null;
    this.first = null;
    this.total = null;
    this.loading = null;
    this.copy = makeButton("Copy", () => this.#copy(), "copy");
    this.copy.hidden = true;
    this.copy.setAttribute("aria-label", `Copy the answer from ${NAMES[mode]}`);
  }

  // `isLoading`: the model is loaded by this question, so the times begin when it answers.
  async ask(corpus, messages, signal, isLoading) {
    let started = performance.now();
    this.text.setAttribute("aria-busy", "true");
    try {
      for await (const chunk of streamAnswer(corpus, messages, this.mode, signal)) {
        if (isLoading && this.readBy === null) {
          this.loading = performance.now() - started;
          started = performance.now();
        }
        this.#take(chunk, performance.now() - started);
      }
      if (!this.said) this.text.append(make("em", "(an empty answer)"));
    } finally {
      this.text.setAttribute("aria-busy", "false");
      this.copy.hidden = !this.said;
    }
  }

  #take(chunk, time) {
    const [choice] = chunk.choices;
    this.readBy ??= chunk.lloco;
    if (choice?.delta.citations) this.citations = choice.delta.citations;
    if (choice?.delta.content) {
      this.first ??= time;
      this.said += choice.delta.content;
      this.text.append(choice.delta.content);
    }
    if (choice?.finish_reason) {
      this.reason = choice.finish_reason;
      this.total = time;
      this.first ??= time;
    }
    this.usage ??= chunk.usage;
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.said);
      this.copy.textContent = "Copied";
    } catch {
      this.copy.textContent = "Cannot copy here"; // Browsers copy on https and on this machine only.
    }
    find("status").textContent = this.copy.textContent;
    setTimeout(() => {
      this.copy.textContent = "Copy";
    }, 2000);
  }
}

// What was read, as a number of vectors, of tokens of text, or of both.
export function numRead(answer) {
  return answer.usage.virtual_tokens + answer.usage.context_tokens;
}

export function notes({ usage, readBy, reason, loading }) {
  const said = [];
  if (readBy.votes) said.push(`From the corpus ${readBy.corpus}, ${Math.round(100 * readBy.votes[readBy.corpus])} % of the votes.`);
  if (!readBy.is_whole && readBy.mode === "full") {
    said.push(`The text has ${number(usage.document_tokens)} tokens, more than fit: its best passages were read.`);
  } else if (!readBy.is_whole && readBy.mode === "compressed") {
    said.push("Not all vectors fit: those of the passages that were found were read.");
  }
  if (reason === "length") said.push(`Cut after ${number(usage.completion_tokens)} tokens.`);
  if (loading !== null) said.push(`Loading the model took ${(loading / 1000).toFixed(1)} s, once; the times leave it out.`);
  return said;
}
