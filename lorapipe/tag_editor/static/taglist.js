// The list of tags with their numbers; of thousands only those in view are elements.

import { h } from "./elements.js";

const ROW = 28;

export class TagList {
  constructor(element, { filter, onChange }) {
    this.element = element;
    this.filter = filter;
    this.onChange = onChange;
    this.rows = [];
    this.at = 0;
    this.floor = h("div", { class: "floor" });
    element.append(this.floor);
    this.top = 0;
    this.height = element.clientHeight;
    element.addEventListener("scroll", () => ((this.top = element.scrollTop), this.draw()));
    element.addEventListener("keydown", (event) => this.#key(event));
    element.addEventListener("click", (event) => this.#click(event));
    new ResizeObserver(() => ((this.height = element.clientHeight), this.draw())).observe(element);
  }

  /** Show tags: counts of the pictures shown, in an order, with a text in them; chosen tags come first. */
  show(counts, order, text) {
    const wanted = text.trim().toLowerCase();
    const chosen = [...this.filter.include, ...this.filter.exclude];
    const found = [...counts].filter(([tag]) => tag.includes(wanted) && !chosen.includes(tag));
    const byName = ([a], [b]) => (a < b ? -1 : 1);
    found.sort(order === "name" ? byName : (a, b) => b[1] - a[1] || byName(a, b));
    this.rows = [...chosen.map((tag) => [tag, counts.get(tag) ?? 0]), ...found];
    this.at = Math.min(this.at, Math.max(0, this.rows.length - 1));
    const all = this.rows.length * ROW;
    this.floor.style.height = `${all}px`;
    this.top = Math.max(0, Math.min(this.top, all - this.height));
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.top / ROW) - 4);
    const last = Math.ceil((this.top + this.height) / ROW) + 4;
    this.floor.replaceChildren(...this.rows.slice(first, last).map((row, place) => this.#row(row, first + place)));
    this.element.setAttribute("aria-activedescendant", `tag-${this.at}`);
  }

  #row([tag, count], place) {
    const state = this.filter.include.has(tag) ? "wanted" : this.filter.exclude.has(tag) ? "unwanted" : "";
    const mark = { wanted: "+", unwanted: "−" }[state] ?? "";
    const row = h("div", { class: `row ${state} ${place === this.at ? "current" : ""}`, role: "option", id: `tag-${place}`, "aria-selected": String(state === "wanted") },
      h("span", { class: "mark" }, mark), h("span", { class: "tag" }, tag), h("span", { class: "soft" }, String(count)));
    row.style.transform = `translateY(${place * ROW}px)`;
    row.place = place;
    return row;
  }

  #click(event) {
    const row = event.target.closest(".row");
    if (!row) return;
    this.at = row.place;
    this.#turn(event.altKey || event.shiftKey);
  }

  #turn(toExclude) {
    const tag = this.rows[this.at]?.[0];
    if (tag === undefined) return;
    this.filter.turn(tag, toExclude);
    this.onChange();
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -1e9, End: 1e9 }[event.key];
    if (step) {
      this.at = Math.max(0, Math.min(this.rows.length - 1, this.at + step));
      const top = this.at * ROW;
      if (top < this.top || top + ROW > this.top + this.height) {
        this.top = Math.max(0, top - (step > 0 ? this.height - ROW : 0));
        this.element.scrollTop = this.top;
      }
      this.draw();
    } else if (event.key === "Enter" || event.key === " ") this.#turn(event.shiftKey);
    else if (event.key === "-") this.#turn(true);
    else return;
    event.preventDefault();
  }
}
