// Which pictures are shown: by tags (and, or, not), by text, and by what is known of the pictures.

import { leastTokens } from "./tags.js";

export class Filter {
  constructor() {
    this.clear();
  }

  clear() {
    Object.assign(this, { include: new Set(), anyIncluded: false, exclude: new Set(), allExcluded: false, text: "", isPattern: false });
    Object.assign(this, { kind: "", bucket: "", subfolder: "", leastSide: 0, only: null, onlyName: "" });
  }

  get isEmpty() {
    return !(this.include.size || this.exclude.size || this.text || this.kind || this.bucket || this.subfolder || this.leastSide || this.only);
  }

  /** A tag takes turns: not chosen, wanted, not wanted. */
  turn(key, toExclude = false) {
    if (this.include.delete(key)) {
      if (!toExclude) this.exclude.add(key);
    } else if (!this.exclude.delete(key)) (toExclude ? this.exclude : this.include).add(key);
  }

  /** The pictures that pass, in their order; `only` gives an order of its own. */
  pictures(store) {
    const pattern = this.#pattern();
    const passes = (picture) => this.#passesTags(store.keys(picture)) && this.#passesPicture(picture, store) && (!pattern || pattern.test(store.text(picture.file)));
    return (this.only ?? store.pictures).filter(passes);
  }

  /** The text to search for as a pattern. Throws a SyntaxError where it is none. */
  #pattern() {
    if (!this.text) return null;
    return new RegExp(this.isPattern ? this.text : this.text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "iu");
  }

  #passesTags(keys) {
    const has = (key) => keys.has(key);
    const [include, exclude] = [[...this.include], [...this.exclude]];
    if (include.length && !(this.anyIncluded ? include.some(has) : include.every(has))) return false;
    return !exclude.length || !(this.allExcluded ? exclude.every(has) : exclude.some(has));
  }

  #passesPicture(picture, store) {
    if (this.bucket && picture.bucket !== this.bucket) return false;
    if (this.subfolder && !picture.name.startsWith(`${this.subfolder}/`)) return false;
    if (this.leastSide && !(picture.size && Math.min(...picture.size) < this.leastSide)) return false;
    switch (this.kind) {
      case "changed":
        return store.isChanged(picture.file);
      case "empty":
        return store.text(picture.file).trim() === "";
      case "copies":
        return picture.copyOf !== null || picture.copies.length > 0;
      case "shared":
        return store.picturesOf.get(picture.file).length > 1;
      case "long":
        return leastTokens(store.text(picture.file)) > store.maxTokens;
      case "complaint":
        return store.files.get(picture.file).complaint !== "";
    }
    return true;
  }
}
