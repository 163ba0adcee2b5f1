// The caption of the current picture, or what is common to the selected ones: as tags, and as text.

import { apply } from "./edits.js";
import { h } from "./elements.js";
import { commonTags, keyOf, leastTokens, moved, tagsOf, withTagAt } from "./tags.js";
import { t } from "./translate.js";

const LARGE_AFTER = 250; // ms

export class CaptionPanel {
  constructor(element, store, { guarded, filterTag, similar }) {
    this.element = element;
    this.store = store;
    this.guarded = guarded;
    this.filterTag = filterTag;
    this.similar = similar;
    this.picture = null;
    this.several = [];
  }

  /** Show a picture's caption; with several pictures, the tags that all of them have. */
  show(picture, several) {
    this.commit();
    this.picture = picture;
    this.several = several.length > 1 ? several : [];
    this.draw();
  }

  /** Take over what was typed. */
  commit() {
    const text = this.area?.value;
    if (text === undefined || !this.areaFile || text === this.areaText) return;
    const file = this.areaFile;
    this.areaText = text;
    this.store.change(t("text"), new Map([[file, text]]));
  }

  /** Whether a field of the panel has what is not taken over yet; to draw the panel would lose it. */
  get isTyping() {
    const field = document.activeElement;
    return field === this.renamed || (field === this.area && this.area.value !== this.areaText) || (field === this.added && this.added.value !== "");
  }

  draw() {
    this.area = undefined;
    this.areaFile = "";
    if (!this.picture) {
      this.element.replaceChildren(h("p", { class: "soft" }, t("No picture passes the filters.")));
      return;
    }
    const focused = this.element.contains(document.activeElement) ? document.activeElement : null;
    const kept = focused && { place: focused.dataset.place, id: focused.id };
    this.element.replaceChildren(...(this.several.length ? this.#common() : this.#single()));
    if (kept) (kept.place !== undefined ? this.#chip(kept.place) : document.getElementById(kept.id || "add"))?.focus({ preventScroll: true });
  }

  #chip(place) {
    const chips = [...this.element.querySelectorAll("[data-place]")];
    return chips[Math.min(Number(place), chips.length - 1)] ?? document.getElementById("add");
  }

  #common() {
    const tags = commonTags(this.several.map((picture) => this.store.text(picture.file)));
    return [
      h("h2", {}, t("{n} selected", { n: this.several.length })),
      h("p", { class: "soft" }, t("Tags that all of them have; changes are for all of them.")),
      this.#tags(tags, this.several),
      this.#adding(this.several),
    ];
  }

  #single() {
    const { picture, store } = this;
    const text = store.text(picture.file);
    this.areaFile = picture.file;
    this.areaText = text;
    this.area = h("textarea", { id: "text", rows: "5", spellcheck: "false", "aria-label": t("Caption"), onchange: () => this.commit() });
    this.area.value = text;
    this.area.addEventListener("input", () => this.#count());
    this.area.addEventListener("keydown", (event) => {
      if (event.key === "Escape" || (event.key === "Enter" && (event.ctrlKey || event.metaKey))) {
        event.preventDefault();
        if (event.key === "Escape") this.area.value = this.areaText;
        this.commit();
        document.querySelector("#gallery").focus();
      }
    });
    this.counter = h("span", { class: "count" });
    const view = this.#view(picture);
    const parts = [
      view,
      h("h2", {}, picture.name),
      h("p", { class: "soft facts" }, this.#facts().flatMap((part, at) => (at ? [" · ", part] : [part]))),
      ...this.#notes(),
      this.#tags(tagsOf(text), [picture]),
      this.#adding([picture]),
      h("label", {}, h("span", {}, t("Text"), " ", this.counter), this.area),
    ];
    this.#count();
    return parts;
  }

  /** The thumbnail at once, which the gallery has loaded; the large picture where the user stays at it. */
  #view(picture) {
    const large = `views/${picture.index}`;
    const view = h("img", { src: this.viewed === large ? large : `thumbs/${picture.index}/${picture.time}`, alt: picture.name, decoding: "async", class: "view" });
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => {
      this.viewed = large;
      view.src = large;
    }, LARGE_AFTER);
    return view;
  }

  #count() {
    const count = leastTokens(this.area.value);
    this.counter.textContent = t("{n} of {most} tokens at least", { n: count, most: this.store.maxTokens });
    this.counter.classList.toggle("bad", count > this.store.maxTokens);
  }

  #facts() {
    const { size, bucket, file } = this.picture;
    const look = h("button", { type: "button", class: "link", onclick: () => this.guarded(() => this.similar(this.picture)) }, t("similar pictures"));
    return [size && `${size[0]} × ${size[1]}`, bucket && t("bucket {bucket}", { bucket }), file.slice(file.lastIndexOf("/") + 1), look].filter(Boolean);
  }

  #notes() {
    const { picture, store } = this;
    const { complaint, encoding, version } = store.files.get(picture.file);
    const others = store.picturesOf.get(picture.file).filter((index) => index !== picture.index);
    const names = (indices) => indices.map((index) => store.pictures[index].name).join(", ");
    return [
      others.length > 0 && t("This caption file is also that of {names}.", { names: names(others) }),
      picture.copyOf !== null && t("A copy of {names}.", { names: names([picture.copyOf]) }),
      picture.copies.length > 0 && t("Copies: {names}.", { names: names(picture.copies) }),
      complaint && `${picture.file} ${complaint}.`,
      encoding !== "utf-8" && t("Encoding: {encoding}.", { encoding }),
      version === "" && t("There is no caption file yet."),
    ].filter(Boolean).map((text) => h("p", { class: "note" }, text));
  }

  #tags(tags, pictures) {
    const chips = tags.map((tag, place) => this.#tag(tag, place, pictures));
    return h("ul", { class: "chips", "aria-label": t("Tags") }, chips);
  }

  #tag(tag, place, pictures) {
    const isOne = pictures.length === 1;
    const remove = () => this.guarded(() => (isOne ? this.#set(t("remove {tag}", { tag }), withTagAt(this.#text, place)) : apply(this.store, t("remove {tag}", { tag }), [{ type: "remove", tags: [tag] }], pictures)));
    const rename = () => this.#rename(item, tag, place, pictures);
    const chip = h("button", { type: "button", "data-place": place, draggable: isOne && "true", title: t("Enter renames, Delete removes, Alt with arrows moves"), ondblclick: rename, onclick: () => chip.focus() }, tag);
    chip.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step && event.altKey && isOne) this.#move(place, place + step);
      else if (step) this.#chip(Math.max(0, place + step))?.focus();
      else if (event.key === "Delete" || event.key === "Backspace") remove();
      else if (event.key === "Enter" || event.key === "F2") rename();
      else if (event.key === "f") this.filterTag(keyOf(tag));
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    chip.addEventListener("dragstart", (event) => event.dataTransfer.setData("text/plain", String(place)));
    const item = h("li", { ondragover: (event) => event.preventDefault() }, chip, h("button", { type: "button", class: "cross", tabindex: "-1", "aria-label": t("remove {tag}", { tag }), onclick: remove }, "×"));
    item.addEventListener("drop", (event) => {
      event.preventDefault();
      const from = Number(event.dataTransfer.getData("text/plain"));
      if (isOne && Number.isInteger(from)) this.#move(from, place);
    });
    return item;
  }

  get #text() {
    return this.store.text(this.picture.file);
  }

  #set(label, text) {
    return this.store.change(label, new Map([[this.picture.file, text]]));
  }

  #move(from, to) {
    const count = tagsOf(this.#text).length;
    if (to < 0 || to >= count) return;
    this.#set(t("reorder"), moved(this.#text, from, to));
    this.#chip(to)?.focus();
  }

  #rename(item, tag, place, pictures) {
    const input = h("input", { value: tag, list: "known", "aria-label": t("Rename {tag}", { tag }), spellcheck: "false" });
    let isOver = false;
    const end = (takes) => {
      if (isOver) return;
      isOver = true;
      this.renamed = undefined;
      const now = input.value.trim();
      const label = t("rename {tag}", { tag });
      if (!takes || now === tag) this.draw();
      else if (pictures.length === 1) this.#set(label, withTagAt(this.#text, place, ...tagsOf(now)));
      else this.guarded(async () => (await apply(this.store, label, [{ type: "replace", tags: { [tag]: now } }], pictures)) || this.draw());
      this.#chip(place)?.focus();
    };
    input.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Enter") end(true);
      else if (event.key === "Escape") end(false);
    });
    input.addEventListener("blur", () => end(true));
    item.replaceChildren(input);
    this.renamed = input;
    input.select();
  }

  #adding(pictures) {
    const input = h("input", { id: "add", list: "known", placeholder: t("Add a tag"), "aria-label": t("Add a tag"), autocomplete: "off", spellcheck: "false" });
    const at = h("select", { "aria-label": t("At") }, h("option", { value: "end" }, t("the end")), h("option", { value: "start" }, t("the beginning")));
    this.added = input;
    at.value = this.at ?? "end";
    at.addEventListener("change", () => (this.at = at.value));
    const add = () => this.guarded(async () => {
      const tags = tagsOf(input.value);
      if (!tags.length) return;
      input.value = "";
      await apply(this.store, t("add {tag}", { tag: tags.join(", ") }), [{ type: "add", tags, at: at.value }], pictures);
    });
    return h("form", { class: "pair tight", onsubmit: (event) => (event.preventDefault(), add()) }, input, at);
  }
}
