// The form for edits of many captions: those selected, those shown, or all.

import { apply, BATCH } from "./edits.js";
import { h } from "./elements.js";
import { t } from "./translate.js";

export class Batch {
  constructor(element, store, { scopes, guarded }) {
    this.element = element;
    this.store = store;
    this.scopes = scopes;
    this.guarded = guarded;
    this.draw();
  }

  draw(chosen = "replace_text") {
    const names = Object.entries(BATCH).map(([name, { label }]) => h("option", { value: name, selected: name === chosen }, t(label)));
    const kind = h("select", { id: "batch-kind", onchange: () => this.draw(kind.value) }, names);
    const fields = BATCH[chosen].fields.map((field) => this.#field(field));
    this.scope = h("select", { id: "batch-scope" });
    const button = h("button", { type: "submit", class: "first" }, t("Preview"));
    const form = h("form", { onsubmit: (event) => (event.preventDefault(), this.guarded(() => this.#apply(chosen, form))) },
      label(t("Edit"), kind), fields, label(t("Of"), this.scope), button);
    this.element.replaceChildren(form);
    this.update();
  }

  /** The numbers of pictures in the scopes have changed. */
  update() {
    const { selected, shown, all } = this.scopes();
    const choice = this.scope.value;
    const option = (value, text) => h("option", { value }, text);
    this.scope.replaceChildren(
      ...[selected.length && option("selected", t("{n} selected", { n: selected.length })), option("shown", t("{n} shown", { n: shown.length })), option("all", t("all {n}", { n: all.length }))].filter(Boolean),
    );
    if ([...this.scope.options].some((each) => each.value === choice)) this.scope.value = choice;
  }

  #field({ name, label: text, kind, options, suggests, value }) {
    if (kind === "check") return h("label", { class: "check" }, h("input", { type: "checkbox", name }), " ", t(text));
    if (options) return label(t(text), h("select", { name }, Object.entries(options).map(([each, shown]) => h("option", { value: each }, t(shown)))));
    if (kind === "lines") return label(t(text), h("textarea", { name, rows: "4", spellcheck: "false" }));
    const trigger = name === "trigger" ? this.store.trigger : "";
    return label(t(text), h("input", { name, type: kind === "number" ? "number" : "text", value: value ?? trigger, list: suggests && "known", autocomplete: "off", spellcheck: "false" }));
  }

  async #apply(name, form) {
    const values = Object.fromEntries([...form.querySelectorAll("[name]")].map((each) => [each.name, each.type === "checkbox" ? each.checked : each.value]));
    const { edits, isReady, label: text } = BATCH[name];
    if (isReady && !isReady(values)) {
      form.querySelector("[name]").focus();
      return;
    }
    await apply(this.store, t(text), edits(values), this.scopes()[this.scope.value]);
  }
}

function label(text, field) {
  return h("label", {}, h("span", {}, text), field);
}
