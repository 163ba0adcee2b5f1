// What a node says, its pictures and how its loss fell: shown while it runs and afterwards, also on a page that is reloaded
// and on other pages with the same graph. The server keeps it (node_outputs.py); none of it is part of the saved graph.
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

function show(node, output) {
  if (output?.text?.length) showText(node, output.text);
  const [curve] = output?.[CURVE] ?? [];
  if (curve?.points.length) showCurve(node, curve.points, curve.caption);
}

const wholeGraph = () => app.rootGraph ?? app.graph;

// A node by its id in the prompt: `12`, or `7:12` for a node in the subgraph of node 7.
function nodeOf(id) {
  let [graph, node] = [wholeGraph(), null];
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById?.(part) ?? graph?.getNodeById?.(Number(part));
    graph = node?.subgraph;
  }
  return node;
}

// The page shows an output as it would if its own prompt had made it: pictures, and onExecuted of the node.
function showAsExecuted(id, output) {
  api.dispatchEvent(new CustomEvent("executed", { detail: { node: id, display_node: id, output, prompt_id: "" } }));
}

async function showKept() {
  const graph = wholeGraph()?.id;
  if (!graph) return;
  const answer = await api.fetchApi(`/lorapipe/shown/${encodeURIComponent(graph)}`);
  if (!answer.ok) return;
  const kept = await answer.json();
  if (wholeGraph()?.id !== graph) return; // another graph was opened meanwhile
  for (const [id, { type, output }] of Object.entries(kept)) if (nodeOf(id)?.type === type) showAsExecuted(id, output);
}

function showLive({ detail }) {
  const node = nodeOf(detail.node);
  if (node?.type !== detail.type || (detail.graph && detail.graph !== wholeGraph()?.id)) return;
  node.lorapipeShown = { ...node.lorapipeShown, ...detail.output };
  if (detail.client !== api.clientId && detail.output.images) showAsExecuted(detail.node, node.lorapipeShown);
  else show(node, detail.output);
}

// A mistake in one branch of a graph only marks its node, and the message is shown if no branch could run: show it here too.
function showMistakes(mistakes) {
  for (const [id, { errors }] of Object.entries(mistakes ?? {})) {
    const node = nodeOf(id);
    if (node?.type?.startsWith("Lorapipe")) showText(node, errors.map((each) => each.details || each.message));
  }
}

api.addEventListener("lorapipe.shown", showLive); // at once: a reloaded page may get one before `setup`

app.registerExtension({
  name: "lorapipe.results_on_nodes",
  setup() {
    const queuePrompt = api.queuePrompt;
    api.queuePrompt = async function () {
      try {
        const answer = await queuePrompt.apply(this, arguments);
        showMistakes(answer?.node_errors);
        return answer;
      } catch (error) {
        showMistakes(error.response?.node_errors);
        throw error;
      }
    };
  },
  afterConfigureGraph: showKept,
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("Lorapipe")) return;
    const onExecuted = nodeType.prototype.onExecuted;
    nodeType.prototype.onExecuted = function (output) {
      onExecuted?.apply(this, arguments);
      show(this, output);
    };
  },
});
