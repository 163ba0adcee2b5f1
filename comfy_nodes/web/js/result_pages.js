// A button on a node whose result has a page: the report, the dataset, the rounds of a tuning.
import { app } from "../../../scripts/app.js";

const NAME = "lorapipe_page";

app.registerExtension({
  name: "lorapipe.result_pages",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("Lorapipe")) return;
    const onExecuted = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      const page = output?.lorapipe_pages?.[0];
      if (!page) return;
      let button = this.widgets?.find((widget) => widget.name === NAME);
      if (!button) {
        button = this.addWidget("button", NAME, null, () => window.open(button.page, "_blank", "noopener"));
        const korean = app.extensionManager?.setting?.get?.("Comfy.Locale") === "ko";
        button.label = korean ? "페이지 열기" : "open the page";
        button.serialize = false;
        button.options = { ...button.options, serialize: false };
      }
      button.page = new URL(`.${page}`, window.location.href).href;
    };
  },
});
