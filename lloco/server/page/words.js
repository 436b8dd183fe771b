// Text as people read it: without Markdown's signs, and the sentences that a question is about.

const STOP_WORDS = new Set(
  ("a an and are as at be been by can did do does for from had has have he her his how i if in into is it its me my of on " +
    "or our she so that the their them then there these they this to was we were what when where which who whom whose " +
    "why will with would you your").split(" "),
);

export function withoutMarkdown(text) {
  return text
    .replace(/^\s{0,3}(#{1,6}|>|[-*+])\s+/gm, "")
    .replace(/^[\s|:-]*\|[\s|:-]*$/gm, "")
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/(\*\*|__|`+)(.+?)\1/g, "$2")
    .replace(/\s*\|\s*/g, " ")
    .replace(/#{1,6}\s+\*\*|\*\*/g, "")
    .replace(/\s+/g, " ")
    .trim();
}

function wordsOf(text) {
  const found = text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  return new Set(found.filter((word) => !STOP_WORDS.has(word) && word !== "s"));
}

// Returns [text, whether it matches] for each sentence; where none has a word of the question, all of it matches.
export function matchingSentences(passage, question) {
  const asked = wordsOf(question);
  const sentences = passage.match(/[\s\S]+?(?:[.!?]["')\]]*(?=\s)\s*|\n+|$)/g) ?? [passage];
  const overlaps = sentences.map((sentence) => [...wordsOf(sentence)].filter((word) => asked.has(word)).length);
  const most = Math.max(...overlaps);
  return sentences.map((sentence, index) => [sentence, overlaps[index] === most && sentence.trim() !== ""]);
}
