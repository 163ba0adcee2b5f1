// Rarely changed settings are hidden until the user asks for them. Nodes 2.0 do so themselves. Classic nodes have "Show
// Advanced" in their menu too, but only for widgets that say `advanced`, which the page does not set, and keep the rows of
// hidden widgets free. In both, a setting that differs from its default, or has a link, stays shown: nothing that acts is hidden.
import { app } from "../../../scripts/app.js";

const NO_ROW = () => [0, -4]; // classic nodes add 4 between rows

function setHidden(widget, isHidden) {
  widget.advanced = isHidden; // for classic nodes
  if (widget.options) widget.options.advanced = isHidden; // for Nodes 2.0
}

function giveUpRow(node, widget) {
  let shown = widget.computeSize;
  Object.defineProperty(widget, "computeSize", {
    configurable: true,
    get: () => (widget.advanced && !node.showAdvanced ? NO_ROW : shown),
    set: (value) => (shown = value),
  });
}

app.registerExtension({
  name: "lorapipe.advanced_settings",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("Lorapipe")) return;
    const settings = { ...nodeData.input?.required, ...nodeData.input?.optional };
    const isRare = ({ name }) => !!settings[name]?.[1]?.advanced;
    const acts = (node, { name, value }) =>
      value !== settings[name][1].default || node.inputs?.some((each) => each.widget?.name === name && each.link != null);

    function update(node, mayHide) {
      for (const widget of node.widgets?.filter(isRare) ?? []) {
        const isShown = acts(node, widget);
        if (isShown || mayHide) setHidden(widget, !isShown);
      }
      node.setDirtyCanvas?.(true, true);
    }

    const onNodeCreated = nodeType.prototype.onNodeCreated;
    nodeType.prototype.onNodeCreated = function () {
      onNodeCreated?.apply(this, arguments);
      for (const widget of this.widgets?.filter(isRare) ?? []) {
        giveUpRow(this, widget);
        const callback = widget.callback;
        widget.callback = (...given) => {
          const answer = callback?.apply(widget, given);
          update(this, false); // what is edited does not vanish when it is at its default again
          return answer;
        };
      }
      update(this, true);
      if (this.widgets?.some(isRare)) this.setSize([this.size[0], this.computeSize()[1]]); // the page has counted all
    };

    const onConfigure = nodeType.prototype.onConfigure;
    nodeType.prototype.onConfigure = function () {
      onConfigure?.apply(this, arguments);
      queueMicrotask(() => update(this, true)); // when settings have been read by name too
    };

    const onConnectionsChange = nodeType.prototype.onConnectionsChange;
    nodeType.prototype.onConnectionsChange = function () {
      onConnectionsChange?.apply(this, arguments);
      update(this, false);
    };
  },
});
