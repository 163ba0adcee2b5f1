// The tags of a caption: what is between its commas. A caption may have several lines, each a caption of its own.

/** The tags of each line. */
export function linesOf(text) {
  return text.split("\n").map((line) => line.split(",").map(spaced).filter(Boolean));
}

export function tagsOf(text) {
  return text.split(/[,\n]/).map(spaced).filter(Boolean);
}

export function joined(lines) {
  return lines.map((tags) => tags.join(", ")).filter((line, place) => line || place === 0).join("\n");
}

/** A tag as it is compared. */
export const keyOf = (tag) => tag.toLowerCase();

const spaced = (part) => part.trim().replace(/\s+/g, " ");

/** The least number of CLIP's tokens: every word, digit and run of marks is one at least. */
export function leastTokens(text) {
  return (text.match(/[\p{L}\p{M}]+|\p{N}|[^\s\p{L}\p{M}\p{N}]+/gu) ?? []).length;
}

/** A caption with one tag moved within all its tags, by places counted over all lines. */
export function moved(text, from, to) {
  const lines = linesOf(text);
  const flat = lines.flatMap((tags, line) => tags.map((tag) => ({ tag, line })));
  if (to < 0 || to >= flat.length) return text;
  const [taken] = flat.splice(from, 1);
  flat.splice(to, 0, { tag: taken.tag, line: flat[Math.min(to, flat.length - 1)]?.line ?? taken.line });
  return joined(lines.map((_, line) => flat.filter((each) => each.line === line).map((each) => each.tag)));
}

/** A caption with the tag at a place replaced by others, or removed. */
export function withTagAt(text, place, ...tags) {
  let at = -1;
  return joined(linesOf(text).map((line) => line.flatMap((tag) => ((at += 1) === place ? tags : [tag]))));
}

/** What is common to all of several captions, in the order of the first. */
export function commonTags(texts) {
  const [first, ...others] = texts.map(tagsOf);
  const sets = others.map((tags) => new Set(tags.map(keyOf)));
  return (first ?? []).filter((tag, place, all) => all.indexOf(tag) === place && sets.every((set) => set.has(keyOf(tag))));
}

/** The parts of two captions that differ: [{text, kind: "same" | "old" | "new"}]. */
export function difference(before, after) {
  const [a, b] = [tagsOf(before), tagsOf(after)];
  const rows = a.length + 1;
  const longest = Array.from({ length: rows }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i][j] = a[i] === b[j] ? longest[i + 1][j + 1] + 1 : Math.max(longest[i + 1][j], longest[i][j + 1]);
    }
  }
  const parts = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) parts.push({ text: a[i++], kind: "same" }), j++;
    else if (i < a.length && (j >= b.length || longest[i + 1][j] >= longest[i][j + 1])) parts.push({ text: a[i++], kind: "old" });
    else parts.push({ text: b[j++], kind: "new" });
  }
  return parts;
}
