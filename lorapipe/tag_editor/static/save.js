// Saving: what will be written is shown first, and what another program has changed is asked for.

import { changesOf, choose } from "./dialog.js";
import { h } from "./elements.js";
import { send } from "./server.js";
import { t } from "./translate.js";

/** Save all changes, after a preview. The number of written files; null where the user has cancelled. */
export async function save(store) {
  const files = store.changed;
  if (!files.length) return 0;
  const foreign = files.filter((file) => store.files.get(file).encoding !== "utf-8");
  const keep = h("input", { type: "checkbox", id: "keep-encoding" });
  const changes = files.map((file) => [file, store.files.get(file).saved, store.text(file)]);
  const content = [
    h("p", {}, t("{n} caption files are written. What they were stays once beside them, as {bak}.", { n: files.length, bak: "NAME.txt.bak" })),
    foreign.length > 0 && h("p", {}, t("{n} of them are in other encodings ({names}) and become UTF-8.", { n: foreign.length, names: [...new Set(foreign.map((file) => store.files.get(file).encoding))].join(", ") })),
    foreign.length > 0 && h("label", { class: "check" }, keep, " ", t("keep their encodings")),
    changesOf(changes),
  ];
  const answer = await choose(t("Save?"), content, [{ value: "no", label: t("Cancel") }, { value: "yes", label: t("Save"), kind: "first" }]);
  return answer === "yes" ? write(store, files, keep.checked, false) : null;
}

async function write(store, files, keepsEncoding, overwrites) {
  const captions = Object.fromEntries(files.map((file) => [file, store.text(file)]));
  const versions = Object.fromEntries(files.map((file) => [file, store.files.get(file).version]));
  const found = await send("save", { folder: store.folder, captions, versions, keep_encoding: keepsEncoding, overwrite: overwrites });
  if (Object.keys(found.conflicts).length) return settle(store, files, keepsEncoding, found.conflicts);
  store.wrote(found.saved, captions);
  if (!keepsEncoding) for (const file of Object.keys(found.saved)) store.files.get(file).encoding = "utf-8";
  const failed = Object.entries(found.failed);
  if (failed.length) {
    const list = h("ul", {}, failed.slice(0, 20).map(([file, why]) => h("li", {}, h("code", {}, file), `: ${why}`)));
    await choose(t("{n} files were not written", { n: failed.length }), [list, h("p", {}, t("Your changes of them are still here."))], [{ value: "no", label: t("Close") }]);
  }
  return Object.keys(found.saved).length;
}

/** Another program has changed files: nothing was written; ask what shall be. */
async function settle(store, files, keepsEncoding, conflicts) {
  const changes = Object.entries(conflicts).map(([file, now]) => [file, now.text, store.text(file)]);
  const content = [
    h("p", {}, t("{n} caption files were changed by another program since this page read them. Nothing was written.", { n: changes.length })),
    h("p", { class: "soft" }, t("Below: what is in the files now, and what you would write.")),
    changesOf(changes),
  ];
  const answer = await choose(t("Changed by another program"), content, [
    { value: "no", label: t("Cancel") },
    { value: "theirs", label: t("Take theirs") },
    { value: "mine", label: t("Write mine"), kind: "danger" },
  ]);
  if (answer === "mine") return write(store, files, keepsEncoding, true);
  if (answer !== "theirs") return null;
  store.took(conflicts);
  const rest = files.filter((file) => !(file in conflicts));
  return rest.length ? write(store, rest, keepsEncoding, false) : 0;
}
