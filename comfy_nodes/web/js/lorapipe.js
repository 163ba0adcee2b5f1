// ComfyUI saves a node's settings by position, so a release that adds or moves a setting would mix up older graphs.
// Ours are saved by name as well, and read by name, or by the name that a setting had in an earlier release.
import { app } from "../../../scripts/app.js";

// A switch of an earlier release may be a choice now, whose values are texts.
function asOf(widget, value) {
  return widget.type === "combo" && typeof value === "boolean" ? String(value) : value;
}

app.registerExtension({
  name: "lorapipe.settings_by_name",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("Lorapipe")) return;
    const settings = { ...nodeData.input?.required, ...nodeData.input?.optional };

    const onSerialize = nodeType.prototype.onSerialize;
    nodeType.prototype.onSerialize = function (saved) {
      onSerialize?.apply(this, arguments);
      const own = (this.widgets ?? []).filter((widget) => widget.name in settings);
      saved.properties = { ...saved.properties, lorapipe: Object.fromEntries(own.map((each) => [each.name, each.value])) };
    };

    const onConfigure = nodeType.prototype.onConfigure;
    nodeType.prototype.onConfigure = function (saved) {
      onConfigure?.apply(this, arguments);
      const kept = saved.properties?.lorapipe;
      if (!kept) return;
      for (const widget of this.widgets ?? []) {
        const options = settings[widget.name]?.[1];
        if (!options) continue;
        const name = [widget.name, ...(options.lorapipe_aliases ?? [])].find((each) => each in kept);
        if (name !== undefined) widget.value = asOf(widget, kept[name]);
        else if (options.default !== undefined) widget.value = options.default;
      }
    };
  },
});
