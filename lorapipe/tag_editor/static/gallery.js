// The gallery: of thousands of pictures, only the rows in view are elements.

import { h } from "./elements.js";
import { t } from "./translate.js";

const AROUND = 2; // rows above and below those in view
const CAPTION = 52; // pixels of a caption below its picture
const GAP = 8;

/** Do something once the frame that is being prepared is on the screen. */
const afterFrame = (act) => requestAnimationFrame(() => setTimeout(act));

export class Gallery {
  constructor(element, store, { onCurrent, onSelection }) {
    this.element = element;
    this.store = store;
    this.onCurrent = onCurrent;
    this.onSelection = onSelection;
    this.shown = [];
    this.current = null;
    this.selected = new Set();
    this.anchor = 0;
    this.cells = new Map();
    this.least = 160;
    this.top = 0;
    this.floor = h("div", { class: "floor" });
    element.append(this.floor);
    element.addEventListener("scroll", () => this.#soon());
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("click", (event) => this.#click(event));
    // sizes are kept: to ask for them after a change would make the browser lay out the page at once
    new ResizeObserver(() => (this.#measure(), this.layout())).observe(element);
    this.#measure();
  }

  #measure() {
    this.width = this.element.clientWidth;
    this.height = this.element.clientHeight;
  }

  /** Show these pictures; the current one stays if it is among them. */
  show(pictures) {
    this.shown = pictures;
    const isGone = !pictures.includes(this.current);
    if (isGone) this.current = pictures[0] ?? null;
    this.layout();
    if (isGone) this.onCurrent(this.current);
  }

  layout() {
    const width = this.width - GAP;
    this.columns = Math.max(1, Math.floor(width / (this.least + GAP)));
    this.side = Math.floor(width / this.columns) - GAP;
    this.row = this.side + CAPTION + GAP;
    const all = Math.ceil(this.shown.length / this.columns) * this.row + GAP;
    this.floor.style.height = `${all}px`;
    this.top = Math.max(0, Math.min(this.top, all - this.height));
    this.draw();
  }

  #soon() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.top = this.element.scrollTop;
      this.draw();
    });
  }

  /** Draw the rows in view; cells that stay are kept. */
  draw() {
    const first = Math.max(0, Math.floor(this.top / this.row) - AROUND);
    const last = Math.ceil((this.top + this.height) / this.row) + AROUND;
    const wanted = new Map(this.shown.slice(first * this.columns, last * this.columns).map((picture, at) => [picture.index, [picture, first * this.columns + at]]));
    for (const [index, cell] of this.cells) {
      if (!wanted.has(index)) {
        cell.remove();
        this.cells.delete(index);
      }
    }
    for (const [index, [picture, place]] of wanted) {
      const cell = this.cells.get(index) ?? this.#cell(picture);
      cell.style.transform = `translate(${GAP + (place % this.columns) * (this.side + GAP)}px, ${GAP + Math.floor(place / this.columns) * this.row}px)`;
      cell.style.width = `${this.side}px`;
      cell.firstChild.style.height = `${this.side}px`;
      this.#fill(cell, picture, place);
    }
    this.element.setAttribute("aria-activedescendant", this.current && this.cells.has(this.current.index) ? `cell-${this.current.index}` : "");
  }

  #cell(picture) {
    const image = h("img", { alt: "", decoding: "async", draggable: "false" });
    afterFrame(() => (image.src = `thumbs/${picture.index}/${picture.time}`)); // captions and places first
    const broken = h("span", { class: "broken", hidden: true }, picture.name);
    image.addEventListener("error", () => ((image.hidden = true), (broken.hidden = false)));
    const cell = h("div", { class: "cell", role: "option", id: `cell-${picture.index}` }, h("div", { class: "mat" }, image, broken), h("p", {}));
    cell.picture = picture;
    this.cells.set(picture.index, cell);
    this.floor.append(cell);
    return cell;
  }

  #fill(cell, picture, place) {
    const text = this.store.text(picture.file);
    cell.lastChild.textContent = text || t("no caption");
    cell.setAttribute("aria-label", `${picture.name}: ${text || t("no caption")}`);
    cell.setAttribute("aria-posinset", place + 1);
    cell.setAttribute("aria-setsize", this.shown.length);
    cell.setAttribute("aria-selected", this.selected.has(picture.index));
    cell.classList.toggle("current", picture === this.current);
    cell.classList.toggle("empty", !text);
    cell.classList.toggle("changed", this.store.isChanged(picture.file));
    cell.classList.toggle("copy", picture.copyOf !== null);
  }

  /** Make the picture at a place of those shown the current one. */
  go(place, scrolls = true) {
    const at = Math.max(0, Math.min(this.shown.length - 1, place));
    this.current = this.shown[at] ?? null;
    if (this.current && scrolls) {
      const top = Math.floor(at / this.columns) * this.row;
      const bottom = top + this.row + GAP - this.height;
      if (top < this.top || bottom > this.top) this.scrollTo(top < this.top ? top : bottom);
    }
    this.draw();
    this.onCurrent(this.current);
    return at;
  }

  scrollTo(top) {
    this.top = top;
    this.element.scrollTop = top;
  }

  get place() {
    return this.shown.indexOf(this.current);
  }

  select(indices) {
    this.selected = new Set(indices);
    this.draw();
    this.onSelection();
  }

  #selectTo(place) {
    const [from, to] = [Math.min(this.anchor, place), Math.max(this.anchor, place)];
    this.select(this.shown.slice(from, to + 1).map((picture) => picture.index));
  }

  #toggle(picture) {
    const selected = new Set(this.selected);
    if (!selected.delete(picture.index)) selected.add(picture.index);
    this.select(selected);
  }

  #click(event) {
    const cell = event.target.closest(".cell");
    if (!cell) return;
    const place = this.shown.indexOf(cell.picture);
    if (event.shiftKey) this.#selectTo(place);
    else {
      this.anchor = place;
      if (event.ctrlKey || event.metaKey) this.#toggle(cell.picture);
    }
    this.go(place, false);
    this.element.focus({ preventScroll: true });
  }

  #key(event) {
    const page = Math.max(1, Math.floor(this.height / this.row)) * this.columns;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.columns, ArrowUp: -this.columns, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    if (step !== undefined && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      const from = Math.max(0, this.place);
      const far = Math.max(0, Math.min(this.shown.length - 1, from + step));
      const at = this.go(Math.abs(step) === this.columns && Math.abs(far - from) < this.columns ? from : far);
      if (event.shiftKey) this.#selectTo(at);
      else this.anchor = at;
    } else if (event.key === " " && this.current) {
      event.preventDefault();
      this.anchor = this.place;
      this.#toggle(this.current);
    } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "a") {
      event.preventDefault();
      this.select(this.shown.map((picture) => picture.index));
    } else if (event.key === "Escape" && this.selected.size) this.select([]);
  }
}
