// The tag editor: a folder's captions, filtered, edited, undone, and saved when the user says so.

import { Batch } from "./batch.js";
import { CaptionPanel } from "./caption.js";
import { choose } from "./dialog.js";
import { h } from "./elements.js";
import { Filter } from "./filter.js";
import { Gallery } from "./gallery.js";
import { Hints } from "./hints.js";
import { save } from "./save.js";
import { ask } from "./server.js";
import { Store } from "./store.js";
import { TagList } from "./taglist.js";
import { chooseLanguage, LANGUAGES, language, remember, t } from "./translate.js";

const $ = (selector) => document.querySelector(selector);
const LOOK_EVERY = 1500; // ms between questions for sizes and copies
const LOOK_AFTER = 400; // ms: the pictures in view come first
const MOST_KNOWN = 500; // tags that fields suggest

await chooseLanguage();
let store;
try {
  store = new Store(await ask("dataset"));
} catch (error) {
  problem(error.message);
  throw error;
}
const filter = new Filter();
const tagList = new TagList($("#tags"), { filter, onChange: refilter });
const caption = new CaptionPanel($("#caption"), store, { guarded, filterTag, similar });
const gallery = new Gallery($("#gallery"), store, { onCurrent: showCaption, onSelection: () => (showCaption(), batch.update(), summarise()) });
const batch = new Batch($("#batch"), store, { scopes, guarded });
const hints = new Hints($("#hints"), store, { guarded, showOnly, filterTag });

// ------------------------------------------------------------------------------------------------------- filtering

function refilter() {
  let shown;
  try {
    shown = filter.pictures(store);
    $("#search").setCustomValidity("");
  } catch (error) {
    $("#search").setCustomValidity(error.message); // no regular expression yet
    $("#search").reportValidity();
    return;
  }
  gallery.show(shown);
  showTags();
  batch.update();
  summarise();
}

function showTags() {
  // where any of several tags is wanted, the others must be there to choose
  tagList.show(store.counts(filter.anyIncluded ? store.pictures : gallery.shown), $("#order").value, $("#tagsearch").value);
}

function filterTag(key) {
  filter.turn(key);
  refilter();
}

/** Show some pictures alone, in their order. */
function showOnly(pictures, name) {
  filter.only = pictures;
  filter.onlyName = name;
  gallery.scrollTo(0);
  refilter();
  gallery.go(0);
}

async function similar(picture) {
  const indices = await ask(`similar/${picture.index}`);
  if (!indices.length) return problem(t("The pictures are still being looked at; try again in a moment."));
  showOnly([picture, ...indices.map((index) => store.pictures[index])], t("similar to {name}", { name: picture.name }));
}

function scopes() {
  const selected = store.pictures.filter((picture) => gallery.selected.has(picture.index));
  return { selected, shown: gallery.shown, all: store.pictures };
}

// --------------------------------------------------------------------------------------------------------- showing

function showCaption() {
  caption.show(gallery.current, scopes().selected);
}

function summarise() {
  const changed = store.changed.length;
  const parts = [
    gallery.shown.length === store.pictures.length ? t("{n} pictures", { n: store.pictures.length }) : t("{n} of {all} pictures", { n: gallery.shown.length, all: store.pictures.length }),
    gallery.selected.size > 0 && t("{n} selected", { n: gallery.selected.size }),
    changed > 0 && t("{n} changed", { n: changed }),
  ];
  $("#summary").textContent = parts.filter(Boolean).join(" · ");
  $("#save").disabled = !changed;
  $("#undo").disabled = !store.done.length;
  $("#redo").disabled = !store.undone.length;
  const [last, next] = [store.done.at(-1), store.undone.at(-1)];
  $("#undo").title = $("#undo").ariaLabel = last ? t("Undo: {label}", { label: last.label }) : t("Undo");
  $("#redo").title = $("#redo").ariaLabel = next ? t("Redo: {label}", { label: next.label }) : t("Redo");
  $("#only").hidden = filter.only === null;
  $("#only span").textContent = filter.onlyName;
  $("#clear").hidden = filter.isEmpty;
  document.title = `${changed ? "• " : ""}${store.name.split(/[\\/]/).pop()} · lorapipe tags`;
}

function changed() {
  gallery.draw();
  if (!caption.isTyping) caption.draw();
  showTags();
  suggest();
  summarise();
  guarded(() => hints.update());
}

function suggest() {
  const known = [...store.counts(store.pictures)].sort((a, b) => b[1] - a[1]).slice(0, MOST_KNOWN);
  $("#known").replaceChildren(...known.map(([tag]) => h("option", { value: tag })));
}

function fillChoices() {
  const options = (values, texts = values) => [h("option", { value: "" }, t("all")), ...values.map((value, at) => h("option", { value }, texts[at]))];
  const buckets = new Map();
  for (const { bucket } of store.pictures) if (bucket) buckets.set(bucket, (buckets.get(bucket) ?? 0) + 1);
  const names = [...buckets.keys()].sort();
  const folders = [...new Set(store.pictures.map(({ name }) => name.slice(0, Math.max(0, name.lastIndexOf("/")))).filter(Boolean))].sort();
  for (const [id, values, texts] of [["bucket", names, names.map((name) => `${name} (${buckets.get(name)})`)], ["subfolder", folders, folders]]) {
    const { value } = $(`#${id}`);
    $(`#${id}`).replaceChildren(...options(values, texts));
    $(`#${id}`).value = value;
    $(`#${id}`).disabled = !values.length;
  }
}

/** Do something, and tell of what goes wrong. */
async function guarded(act) {
  $("#problem").hidden = true;
  try {
    return await act();
  } catch (error) {
    problem(error instanceof TypeError && /fetch/i.test(error.message) ? t("Not connected: lorapipe tags is not running. Your changes are still on this page; start it again with the same folder.") : error.message);
    if (!(error instanceof TypeError) || !/fetch/i.test(error.message)) console.warn(error);
  }
  return undefined;
}

function problem(text) {
  $("#problem p").textContent = text;
  $("#problem").hidden = false;
}

function say(text) {
  $("#said").textContent = text;
}

// ----------------------------------------------------------------------------------------------------------- doing

function undo() {
  caption.commit();
  const step = store.undo();
  if (step) say(t("Undone: {label}", { label: step.label }));
}

function redo() {
  const step = store.redo();
  if (step) say(t("Redone: {label}", { label: step.label }));
}

async function saveAll() {
  caption.commit();
  const count = await save(store);
  if (count) say(t("{n} caption files are saved.", { n: count }));
  summarise();
}

function openTab(name) {
  for (const each of ["caption", "batch", "hints"]) {
    $(`#${each}`).hidden = each !== name;
    $(`#tab-${each}`).setAttribute("aria-selected", String(each === name));
    $(`#tab-${each}`).tabIndex = each === name ? 0 : -1;
  }
  if (name === "hints") guarded(() => hints.update());
}

const KEYS = [
  ["← → ↑ ↓", "the next picture"], ["Shift + ←…", "select a range"], ["Space", "select a picture"], ["Ctrl + A", "select all shown"], ["Esc", "select nothing; leave a field"],
  ["Enter", "edit the caption; Ctrl + Enter ends"], ["a", "add a tag"], ["g", "go to the tags of the picture"], ["/", "search captions"], ["t", "find a tag; Enter wants it, − does not"],
  ["b", "batch edits"], ["h", "hints"], ["s", "similar pictures"], ["Ctrl + Z", "undo"], ["Ctrl + Shift + Z", "redo"], ["Ctrl + S", "save"], ["?", "these keys"],
];

function showKeys() {
  const rows = KEYS.map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, t(what))]);
  return choose(t("Keys"), h("dl", { class: "keys" }, rows), [{ value: "no", label: t("Close") }]);
}

const COMMANDS = {
  a: () => (openTab("caption"), document.querySelector("#add")?.focus()),
  g: () => (openTab("caption"), document.querySelector("[data-place]")?.focus()),
  "/": () => $("#search").focus(),
  t: () => $("#tagsearch").focus(),
  b: () => (openTab("batch"), $("#batch-kind").focus()),
  h: () => (openTab("hints"), $("#tab-hints").focus()),
  s: () => gallery.current && guarded(() => similar(gallery.current)),
  "?": () => showKeys(),
};

function pressed(event) {
  if ($("#dialog").open) return;
  const key = event.key.toLowerCase();
  const isField = event.target.matches("input, textarea, select");
  if (event.ctrlKey || event.metaKey) {
    if (key === "s") saveKey(event);
    else if ((key === "z" || key === "y") && !(isField && event.target.value !== (event.target === caption.area ? caption.areaText : ""))) {
      event.preventDefault();
      if (key === "y" || event.shiftKey) redo();
      else undo();
    }
  } else if (isField) {
    if (event.key === "Escape") $("#gallery").focus();
    else if (event.key === "ArrowDown" && event.target.id === "tagsearch") $("#tags").focus();
  } else if (event.key === "Escape" && event.target !== $("#gallery")) {
    $("#gallery").focus();
  } else if (event.key === "Enter" && event.target === $("#gallery")) {
    event.preventDefault();
    openTab("caption");
    caption.area?.focus();
  } else if (COMMANDS[event.key] && !event.altKey) {
    event.preventDefault();
    COMMANDS[event.key]();
  }
}

function saveKey(event) {
  event.preventDefault();
  guarded(saveAll);
}

// -------------------------------------------------------------------------------------------------------- beginning

/** Ask for sizes, buckets and copies until all pictures were looked at. */
async function lookOn() {
  for (;;) {
    const found = await ask("pictures").catch(() => null);
    if (found && (found.ready || found.looked !== lookOn.looked)) {
      lookOn.looked = found.looked;
      store.looked(found);
      fillChoices();
    }
    if (found?.ready) return;
    await new Promise((done) => setTimeout(done, LOOK_EVERY));
  }
}

const filtersBy = {
  "#search": ["input", (field) => (filter.text = field.value)],
  "#pattern": ["change", (field) => (filter.isPattern = field.checked)],
  "#kind": ["change", (field) => (filter.kind = field.value)],
  "#bucket": ["change", (field) => (filter.bucket = field.value)],
  "#subfolder": ["change", (field) => (filter.subfolder = field.value)],
  "#side": ["input", (field) => (filter.leastSide = Number(field.value))],
  "#any": ["change", (field) => (filter.anyIncluded = field.value === "any")],
  "#all": ["change", (field) => (filter.allExcluded = field.value === "all")],
};
for (const [selector, [event, take]] of Object.entries(filtersBy)) {
  $(selector).addEventListener(event, () => (take($(selector)), refilter()));
}
$("#filters").addEventListener("submit", (event) => event.preventDefault());
$("#tagsearch").addEventListener("input", showTags);
$("#order").addEventListener("change", showTags);
$("#clear").addEventListener("click", () => (filter.clear(), $("#filters").reset(), ($("#any").value = $("#all").value = ""), refilter()));
$("#only button").addEventListener("click", () => ((filter.only = null), refilter()));
$("#undo").addEventListener("click", undo);
$("#redo").addEventListener("click", redo);
$("#save").addEventListener("click", () => guarded(saveAll));
$("#keys").addEventListener("click", showKeys);
$("#problem button").addEventListener("click", () => ($("#problem").hidden = true));
for (const name of ["caption", "batch", "hints"]) $(`#tab-${name}`).addEventListener("click", () => openTab(name));
$(".tabs").addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const tabs = [...document.querySelectorAll(".tabs button")];
  if (step) tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length]?.focus();
});
$("#language").replaceChildren(...Object.entries(LANGUAGES).map(([code, name]) => h("option", { value: code, lang: code }, name)));
$("#language").value = language;
$("#language").addEventListener("change", async () => {
  remember($("#language").value);
  await chooseLanguage($("#language").value);
  redrawAll();
});
document.addEventListener("keydown", pressed);
addEventListener("beforeunload", (event) => (store.changed.length || caption.isTyping) && event.preventDefault());
store.addEventListener("change", changed);

function redrawAll() {
  fillChoices();
  batch.draw();
  caption.draw();
  hints.revision = -1;
  guarded(() => hints.update());
  refilter();
}

$("#name").textContent = store.name.split(/[\\/]/).pop();
$("#name").title = store.name;
$("#readonly").hidden = store.isWritable;
fillChoices();
suggest();
refilter();
openTab("caption");
$("#gallery").focus();
setTimeout(lookOn, LOOK_AFTER);
