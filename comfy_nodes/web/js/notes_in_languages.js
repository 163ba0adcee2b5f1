// The notes of the example graphs in the page's language. A note that somebody has edited stays as it is.
import { app } from "../../../scripts/app.js";

app.registerExtension({
  name: "lorapipe.notes_in_languages",
  loadedGraphNode(node) {
    const texts = node.properties?.lorapipe_texts;
    const widget = node.widgets?.[0];
    if (!texts || !Object.values(texts).includes(widget?.value)) return;
    const language = app.extensionManager?.setting?.get?.("Comfy.Locale");
    widget.value = texts[language] ?? texts.en;
  },
});
