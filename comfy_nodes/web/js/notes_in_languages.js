// The notes of the example graphs in the page's language. A note that somebody has edited stays as it is.
import { app } from "../../../scripts/app.js";

// A text begins with a heading, which is the note's title.
function parts(text) {
  const [heading, ...rest] = text.split("\n\n");
  return { title: heading.replace(/^#+ /, ""), body: rest.join("\n\n") };
}

app.registerExtension({
  name: "lorapipe.notes_in_languages",
  loadedGraphNode(node) {
    const texts = node.properties?.lorapipe_texts;
    const widget = node.widgets?.[0];
    if (!texts || !Object.values(texts).some((text) => parts(text).body === widget?.value)) return;
    const { title, body } = parts(texts[app.extensionManager?.setting?.get?.("Comfy.Locale")] ?? texts.en);
    node.title = title;
    widget.value = body;
  },
});
