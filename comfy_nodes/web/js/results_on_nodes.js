// What a node says and how its loss fell stay on the node after the prompt. The page clears texts of progress when a prompt
// ends; this widget is filled from the node's output, and from events while it runs. Neither is part of the saved graph.
import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

const TEXT = "lorapipe_text";
const CURVE = "lorapipe_curve";
const LOSS = "#4da3ff";

function own(node, name, element, height) {
  let widget = node.widgets?.find((each) => each.name === name);
  if (!widget) {
    widget = node.addDOMWidget(name, name, element, { serialize: false, hideOnZoom: false, getMinHeight: () => height });
    widget.serialize = false;
    node.setSize([node.size[0], Math.max(node.size[1], node.computeSize()[1])]);
  }
  return widget;
}

function showText(node, lines) {
  const area = document.createElement("textarea");
  area.readOnly = true;
  area.className = "comfy-multiline-input";
  area.style.resize = "none";
  const widget = own(node, TEXT, area, 90);
  widget.element.value = lines.join("\n");
  node.setDirtyCanvas?.(true, true);
}

function showCurve(node, points, caption) {
  const canvas = document.createElement("canvas");
  canvas.width = 560;
  canvas.height = 200;
  canvas.style.objectFit = "contain";
  const { element } = own(node, CURVE, canvas, 110);
  const draw = element.getContext("2d");
  draw.clearRect(0, 0, element.width, element.height);
  draw.font = "20px sans-serif";
  draw.fillStyle = "#aaa";
  draw.fillText(caption, 8, 22);
  const values = points.map((each) => each[1]);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const [first, last] = [points[0][0], points.at(-1)[0]];
  const x = (step) => 8 + (544 * (step - first)) / Math.max(last - first, 1);
  const y = (loss) => 190 - (150 * (loss - low)) / (high - low || 1);
  draw.strokeStyle = LOSS;
  draw.lineWidth = 3;
  draw.beginPath();
  points.forEach(([step, loss], place) => (place ? draw.lineTo(x(step), y(loss)) : draw.moveTo(x(step), y(loss))));
  draw.stroke();
}

function nodeOf(id) {
  return app.graph.getNodeById?.(id) ?? app.graph.getNodeById?.(Number(id));
}

app.registerExtension({
  name: "lorapipe.results_on_nodes",
  setup() {
    api.addEventListener("lorapipe.curve", ({ detail }) => {
      const node = nodeOf(detail.node);
      if (node?.type?.startsWith("Lorapipe") && detail.points.length) showCurve(node, detail.points, detail.caption);
    });
  },
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("Lorapipe")) return;
    const onExecuted = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      if (output?.text?.length) showText(this, output.text);
      const [curve] = output?.lorapipe_curve ?? [];
      if (curve?.points.length) showCurve(this, curve.points, curve.caption);
    };
  },
});
