// Making elements. Text goes in as text alone, so nothing that a document or a title holds is ever markup.

export function find(id) {
  return document.getElementById(id);
}

export function make(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

export function makeButton(text, onClick, className = "") {
  const made = make("button", text, className);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

let numLabels = 0;

// A button that is named by its title and described by the text beside it.
export function makeTitledButton(title, text, onClick) {
  const made = makeButton("", onClick, "source");
  numLabels += 1;
  const described = make("span", text);
  described.id = `described-${numLabels}`;
  made.setAttribute("aria-label", title);
  made.setAttribute("aria-describedby", described.id);
  made.append(make("strong", title), described);
  return made;
}

// Of answers to several requests only that to the latest is shown: `begin()` returns whether its request still is.
export function latestOnly() {
  let latest = 0;
  return function begin() {
    latest += 1;
    const mine = latest;
    return () => mine === latest;
  };
}

export function number(value) {
  return value.toLocaleString("en");
}

export function count(value, noun) {
  return `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
}

export function seconds(milliseconds) {
  return `${(milliseconds / 1000).toFixed(2)} s`;
}
