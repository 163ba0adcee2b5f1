// Edits of many captions. The server makes them, with the same edits that pipelines have; the page shows and keeps them.

import { confirmed } from "./dialog.js";
import { send } from "./server.js";
import { t } from "./translate.js";

/** What edits make of the captions of some pictures: a map from changed files to texts. */
export async function edited(store, edits, pictures) {
  const files = [...new Set(pictures.map((picture) => picture.file))];
  const captions = Object.fromEntries(files.map((file) => [file, store.text(file)]));
  const found = await send("edits", { folder: store.folder, edits, captions });
  return new Map(Object.entries(found.captions));
}

/** Make edits, after a preview where they are for several pictures; the number of changed captions. */
export async function apply(store, label, edits, pictures) {
  const texts = await edited(store, edits, pictures);
  if (pictures.length > 1) {
    const changes = [...texts].map(([file, after]) => [file, store.text(file), after]);
    if (!(await confirmed(label, changes))) return 0;
  }
  return store.change(label, texts);
}

const list = (text) => text.split(/[,\n]/).map((part) => part.trim()).filter(Boolean);

/** Pairs of a text, one a line: old = new. */
function pairs(text) {
  const rows = text.split("\n").filter((row) => row.trim());
  return Object.fromEntries(rows.map((row) => row.split(/=(.*)/s).slice(0, 2).map((part) => (part ?? "").trim())).map(([old, now]) => [old, now ?? ""]));
}

/** The batch edits: fields for people, and the edits for the server. */
export const BATCH = {
  replace_text: {
    label: "Search and replace",
    fields: [
      { name: "pattern", label: "Search" },
      { name: "replacement", label: "Replace by" },
      { name: "isPattern", label: "regular expression", kind: "check" },
      { name: "ignoresCase", label: "ignore case", kind: "check" },
      { name: "on", label: "In", options: { tags: "each tag alone", caption: "the whole caption" } },
    ],
    edits: ({ pattern, replacement, isPattern, ignoresCase, on }) => [
      { type: "regex", pattern: (ignoresCase ? "(?i)" : "") + (isPattern ? pattern : pattern.replace(/[\\^$.*+?()[\]{}|#&~-]/g, "\\$&")), replacement: isPattern ? replacement : replacement.replaceAll("\\", "\\\\"), on },
    ],
    isReady: ({ pattern }) => pattern,
  },
  add: {
    label: "Add tags",
    fields: [
      { name: "tags", label: "Tags", suggests: true },
      { name: "at", label: "At", options: { start: "the beginning", end: "the end" } },
      { name: "where", label: "Only where all of these are", suggests: true },
      { name: "unless", label: "Only where none of these is", suggests: true },
    ],
    edits: ({ tags, at, where, unless }) => [{ type: "add", tags: list(tags), at, where: list(where), unless: list(unless) }],
    isReady: ({ tags }) => list(tags).length,
  },
  remove: {
    label: "Remove tags",
    fields: [{ name: "tags", label: "Tags; * stands for anything", suggests: true }],
    edits: ({ tags }) => [{ type: "blacklist", tags: list(tags) }],
    isReady: ({ tags }) => list(tags).length,
  },
  replace: {
    label: "Replace tags",
    fields: [{ name: "tags", label: "old = new, one a line", kind: "lines" }],
    edits: ({ tags }) => [{ type: "replace", tags: pairs(tags) }],
    isReady: ({ tags }) => Object.keys(pairs(tags)).length,
  },
  trigger: {
    label: "Trigger word first",
    fields: [{ name: "trigger", label: "Trigger word" }],
    edits: ({ trigger }) => [{ type: "add_trigger", trigger: trigger.trim() }],
    isReady: ({ trigger }) => trigger.trim(),
  },
  sort: {
    label: "Reorder tags",
    fields: [
      { name: "by", label: "By", options: { frequency: "how frequent they are", name: "name" } },
      { name: "keep", label: "Keep the first", kind: "number", value: "1" },
    ],
    edits: ({ by, keep }) => [{ type: "sort", by, keep: Number(keep) || 0 }],
  },
  dedupe: { label: "Remove repeated tags", fields: [], edits: () => [{ type: "dedupe" }] },
  keep_only: {
    label: "Keep only some tags",
    fields: [{ name: "tags", label: "Tags; * stands for anything", suggests: true }],
    edits: ({ tags }) => [{ type: "keep_only", tags: list(tags) }],
    isReady: ({ tags }) => list(tags).length,
  },
  limit: {
    label: "Limit the number of tags",
    fields: [{ name: "tags", label: "Tags at most", kind: "number", value: "25" }],
    edits: ({ tags }) => [{ type: "limit", tags: Number(tags) }],
    isReady: ({ tags }) => Number(tags) > 0,
  },
  underscores: {
    label: "Underscores",
    fields: [{ name: "to", label: "To", options: { spaces: "spaces", underscores: "underscores" } }],
    edits: ({ to }) => [{ type: "underscores", to }],
  },
  escape: {
    label: "Parentheses",
    fields: [{ name: "back", label: "Write", options: { "": "\\( and \\)", back: "( and )" } }],
    edits: ({ back }) => [{ type: "escape_parentheses", back: back !== "" }],
  },
};

/** The form of batch edits. */
export function batchLabel(name) {
  return t(BATCH[name].label);
}
