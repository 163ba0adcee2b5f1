// What `lorapipe tags` says of the captions as they are now, each with what can be done about it.

import { apply } from "./edits.js";
import { h } from "./elements.js";
import { send } from "./server.js";
import { t } from "./translate.js";

const FEW = 12;

export class Hints {
  constructor(element, store, { guarded, showOnly, filterTag }) {
    this.element = element;
    this.store = store;
    this.guarded = guarded;
    this.showOnly = showOnly;
    this.filterTag = filterTag;
    this.revision = -1;
  }

  /** Ask anew, where captions have changed. */
  async update() {
    if (this.revision === this.store.revision || this.element.hidden) return;
    this.revision = this.store.revision;
    const captions = Object.fromEntries([...this.store.files].map(([file, each]) => [file, each.text]));
    const found = await send("analysis", { folder: this.store.folder, captions, trigger: this.store.trigger });
    this.places = new Map(this.store.pictures.map((picture) => [picture.name, picture]));
    this.element.replaceChildren(this.#trigger(), ...this.#sections(found));
  }

  #trigger() {
    const input = h("input", { value: this.store.trigger, spellcheck: "false", placeholder: t("the tag that nearly all have") });
    input.addEventListener("change", () => {
      this.store.trigger = input.value.trim();
      this.revision = -1;
      this.guarded(() => this.update());
    });
    return h("label", {}, h("span", {}, t("Trigger word")), input);
  }

  #sections(found) {
    const pictures = (names) => names.map((name) => this.places.get(name)).filter(Boolean);
    const lacking = pictures(found.lacking);
    const tag = (name, count) => h("li", {}, this.#button(count === undefined ? name : `${name} (${count})`, () => this.filterTag(name)));
    const odd = (each) => h("li", {}, this.#button(each.picture, () => this.showOnly(pictures([each.picture, ...each.neighbours]), t("beside what looks like it"))));
    const addTrigger = () => apply(this.store, t("Trigger word first"), [{ type: "add_trigger", trigger: found.trigger }], lacking);
    return [
      this.#section(t("Without the trigger word {word}", { word: found.trigger }), "", lacking.slice(0, FEW).map((picture) => h("li", {}, picture.name)), lacking.length, [
        this.#button(t("Show"), () => this.showOnly(lacking, t("without the trigger word"))), this.#button(t("Add it"), addTrigger)]),
      this.#section(t("In the pictures, not in the captions"), t("What captions do not say is learnt with what they say."), this.#differences(found.not_captioned, t("Add"), (tag) => ({ type: "add", tags: [tag] })), found.not_captioned?.length),
      this.#section(t("In the captions, not seen by the tagger"), "", this.#differences(found.not_seen, t("Remove"), (tag) => ({ type: "remove", tags: [tag] })), found.not_seen?.length),
      this.#section(t("Probably one tag"), "", found.spellings.slice(0, FEW).map((pair) => this.#pair(pair)), found.spellings.length),
      this.#section(t("In nearly all captions"), t("They melt into the trigger word."), found.always.filter((each) => each.tag !== found.trigger.toLowerCase()).map((each) => this.#always(each))),
      this.#section(t("Never varied"), t("No other value of these occurs."), found.never_varied.slice(0, FEW).map((each) => tag(each.tag, each.count))),
      this.#section(t("Always together"), t("They are learnt as one."), found.together.slice(0, FEW).map((tags) => h("li", {}, tags.join(" + ")))),
      this.#section(t("Too long"), t("What is beyond {n} tokens is cut off.", { n: found.max_tokens }), found.too_long.slice(0, FEW).map((each) => h("li", {}, `${each.picture}: ${each.tokens}`)), found.too_long.length, [
        this.#button(t("Show"), () => this.showOnly(pictures(found.too_long.map((each) => each.picture)), t("too long a caption")))]),
      this.#section(t("Unlike the other captions"), "", found.unusual.slice(0, FEW).map((each) => odd(each)), found.unusual.length),
      this.#section(t("Unlike pictures that look alike"), "", (found.unlike_neighbours ?? []).slice(0, FEW).map((each) => odd(each)), found.unlike_neighbours?.length),
      this.#section(t("In one caption only"), t("Too little to learn; it does no harm."), found.once.slice(0, FEW).map((name) => tag(name)), found.once.length),
    ].filter(Boolean);
  }

  #section(title, why, items, count = items.length, buttons = []) {
    if (!items.length) return null;
    const more = count > items.length ? [h("li", { class: "soft" }, t("and {n} more", { n: count - items.length }))] : [];
    return h("section", {}, h("h3", {}, title), why && h("p", { class: "soft" }, why), h("ul", {}, items, more), buttons.length > 0 && h("div", { class: "actions" }, buttons));
  }

  /** What the tagger and the captions say differently: look at it, or mend it. */
  #differences(found, does, edit) {
    return (found ?? []).slice(0, FEW).map(({ tag, pictures }) => {
      const those = pictures.map((name) => this.places.get(name)).filter(Boolean);
      const show = this.#button(`${tag} (${those.length})`, () => this.showOnly(those, tag));
      return h("li", {}, show, " ", this.#button(does, () => apply(this.store, `${does}: ${tag}`, [edit(tag)], those)));
    });
  }

  #pair(pair) {
    const edits = [{ type: "replace", tags: { [pair.tag]: pair.better } }, { type: "dedupe" }];
    const label = `${pair.tag} → ${pair.better}`;
    const having = () => this.store.pictures.filter((picture) => this.store.keys(picture).has(pair.tag));
    return h("li", {}, `${pair.tag} (${pair.count}) → ${pair.better} (${pair.better_count}) `, this.#button(t("Replace"), () => apply(this.store, label, edits, having())));
  }

  #always({ tag, count }) {
    const remove = () => apply(this.store, t("remove {tag}", { tag }), [{ type: "remove", tags: [tag] }], this.store.pictures);
    return h("li", {}, `${tag} (${count}) `, this.#button(t("Remove"), remove));
  }

  #button(text, act) {
    return h("button", { type: "button", class: "small", onclick: () => this.guarded(act) }, text);
  }
}
