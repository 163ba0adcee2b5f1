// The session: pictures, caption files, what was changed, and how to undo it. Nothing here is written before it is saved.

import { keyOf, tagsOf } from "./tags.js";
import { t } from "./translate.js";

const LONGEST_HISTORY = 1000;

export class Store extends EventTarget {
  constructor(dataset) {
    super();
    this.folder = dataset.folder;
    this.name = dataset.name;
    this.isWritable = dataset.writable;
    this.trigger = dataset.trigger;
    this.maxTokens = dataset.max_tokens;
    this.pictures = dataset.pictures.map(([name, file, time], index) => ({ index, name, file, time, size: null, bucket: "", copyOf: null, copies: [] }));
    this.files = new Map(Object.entries(dataset.captions).map(([file, each]) => [file, { ...each, saved: each.text }]));
    this.picturesOf = new Map();
    for (const picture of this.pictures) {
      const those = this.picturesOf.get(picture.file) ?? [];
      this.picturesOf.set(picture.file, [...those, picture.index]);
    }
    this.done = [];
    this.undone = [];
    this.revision = 0;
  }

  text(file) {
    return this.files.get(file).text;
  }

  /** The tags of a picture as they are compared. */
  keys(picture) {
    const file = this.files.get(picture.file);
    if (file.keysOf !== file.text) {
      file.keysOf = file.text;
      file.keys = new Set(tagsOf(file.text).map(keyOf));
    }
    return file.keys;
  }

  isChanged(file) {
    const { text, saved } = this.files.get(file);
    return text !== saved;
  }

  get changed() {
    return [...this.files.keys()].filter((file) => this.isChanged(file));
  }

  /** Change captions: a map from files to texts. One step of the history. */
  change(label, texts) {
    const steps = [...texts].map(([file, after]) => ({ file, before: this.text(file), after })).filter((step) => step.before !== step.after);
    if (!steps.length) return 0;
    this.done.push({ label, steps });
    if (this.done.length > LONGEST_HISTORY) this.done.shift();
    this.undone = [];
    this.#write(steps.map((step) => [step.file, step.after]));
    return steps.length;
  }

  undo() {
    const last = this.done.pop();
    if (!last) return null;
    this.undone.push(last);
    this.#write(last.steps.map((step) => [step.file, step.before]));
    return last;
  }

  redo() {
    const next = this.undone.pop();
    if (!next) return null;
    this.done.push(next);
    this.#write(next.steps.map((step) => [step.file, step.after]));
    return next;
  }

  #write(texts) {
    for (const [file, text] of texts) this.files.get(file).text = text;
    this.#tell(texts.map(([file]) => file));
  }

  /** What the server has written: these texts are what is in the files. */
  wrote(versions, texts) {
    for (const [file, version] of Object.entries(versions)) Object.assign(this.files.get(file), { version, saved: texts[file], complaint: "" });
    this.#tell(Object.keys(versions));
  }

  /** Take the files as they are now on the disk. That can be undone, too. */
  took(captions) {
    for (const [file, now] of Object.entries(captions)) {
      const { text } = this.files.get(file);
      Object.assign(this.files.get(file), { ...now, text, saved: now.text });
    }
    this.change(t("read anew"), new Map(Object.entries(captions).map(([file, now]) => [file, now.text])));
    this.#tell(Object.keys(captions));
  }

  /** Sizes, buckets and copies, as far as they are known. */
  looked(found) {
    for (const picture of this.pictures) {
      picture.size = found.sizes[picture.index];
      picture.bucket = found.buckets[picture.index];
      picture.copyOf = null;
      picture.copies = [];
    }
    for (const [copy, other] of Object.entries(found.copies)) {
      this.pictures[copy].copyOf = other;
      this.pictures[other].copies.push(Number(copy));
    }
    this.#tell([]);
  }

  #tell(files) {
    this.revision += 1;
    this.dispatchEvent(new CustomEvent("change", { detail: files }));
  }

  /** Tag → the number of pictures that have it, of some pictures. */
  counts(pictures) {
    const found = new Map();
    for (const picture of pictures) for (const key of this.keys(picture)) found.set(key, (found.get(key) ?? 0) + 1);
    return found;
  }
}
