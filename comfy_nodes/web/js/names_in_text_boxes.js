// A text box of several lines shows its setting's name while it is empty: here in the page's language, as other widgets do.
import { app } from "../../../scripts/app.js";

app.registerExtension({
  name: "lorapipe.names_in_text_boxes",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("Lorapipe")) return;
    for (const widget of node.widgets ?? []) {
      const box = widget.element;
      if (widget.label && box?.placeholder === widget.name) box.placeholder = widget.label;
    }
  },
});
