// Questions, and previews of changes: each caption before and after.

import { h } from "./elements.js";
import { difference } from "./tags.js";
import { t } from "./translate.js";

const MOST = 200; // changes that a preview shows

const dialog = document.querySelector("#dialog");

/** Ask in a dialog; the answer is the chosen button's value, or null. */
export function choose(title, content, buttons) {
  const actions = buttons.map(({ value, label, kind }) => h("button", { type: "submit", value, class: kind }, label));
  const form = h("form", { method: "dialog" }, h("h2", { id: "dialog-title" }, title), h("div", { class: "content" }, content), h("div", { class: "actions" }, actions));
  const { id } = document.activeElement ?? {};
  // what had the keyboard may have been drawn anew meanwhile
  dialog.onclose = () => document.activeElement === document.body && (document.getElementById(id) ?? document.querySelector("#gallery")).focus({ preventScroll: true });
  dialog.replaceChildren(form);
  dialog.showModal();
  actions.at(-1)?.focus();
  return new Promise((done) => {
    form.onsubmit = (event) => done(event.submitter?.value ?? null);
    dialog.oncancel = () => done(null);
  });
}

/** The changes of captions as a list: [[name, before, after], …]. */
export function changesOf(changes) {
  const rows = changes.slice(0, MOST).map(([name, before, after]) => h("li", {}, h("code", {}, name), h("p", {}, differenceOf(before, after))));
  const more = changes.length - MOST;
  return [h("ol", { class: "changes", tabindex: "0" }, rows), more > 0 && h("p", { class: "soft" }, t("and {n} more", { n: more }))];
}

function differenceOf(before, after) {
  const parts = difference(before, after);
  if (parts.every((part) => part.kind === "same")) return h("span", {}, before === after ? before : t("spaces or lines"));
  return parts.map((part) => h(part.kind === "same" ? "span" : part.kind === "old" ? "del" : "ins", {}, part.text)).flatMap((part, at) => (at ? [", ", part] : [part]));
}

/** Show what would change; true where it shall. */
export async function confirmed(title, changes, note = "") {
  if (!changes.length) {
    await choose(title, h("p", {}, t("Nothing would change.")), [{ value: "no", label: t("Close") }]);
    return false;
  }
  const count = h("p", {}, t("{n} captions change.", { n: changes.length }), note && ` ${note}`);
  const answer = await choose(title, [count, changesOf(changes)], [{ value: "no", label: t("Cancel") }, { value: "yes", label: t("Apply"), kind: "first" }]);
  return answer === "yes";
}
