// Links and sockets of lorapipe's types in a colour for each type, in both kinds of nodes of the page.
import { app } from "../../../scripts/app.js";

const COLOURS = {
  LORAPIPE_FAMILY: "#b39ddb",
  LORAPIPE_PICTURES: "#64b5f6",
  LORAPIPE_CAPTIONS: "#4dd0e1",
  LORAPIPE_DATASET: "#4db6ac",
  LORAPIPE_DATASET_LIST: "#4db6ac",
  LORAPIPE_WEIGHTS: "#ffb74d",
  LORAPIPE_REPORT: "#f06292",
  LORAPIPE_REPORT_LIST: "#f06292",
  LORAPIPE_COMPARISON: "#f06292",
  LORAPIPE_FILE: "#aed581",
  LORAPIPE_BASE: "#9575cd",
};
const SETTINGS = "#b0bec5"; // adapters, optimizers, groups of settings
const types = new Set();

function colour() {
  const colours = Object.fromEntries([...types].map((type) => [type, COLOURS[type] ?? SETTINGS]));
  const canvas = app.canvas?.constructor ?? globalThis.LGraphCanvas;
  for (const table of [canvas?.link_type_colors, app.canvas?.default_connection_color_byType]) {
    if (table) Object.assign(table, colours);
  }
  for (const [type, value] of Object.entries(colours)) {
    document.documentElement.style.setProperty(`--color-datatype-${type}`, value); // for Nodes 2.0
  }
  app.canvas?.setDirty?.(true, true);
}

app.registerExtension({
  name: "lorapipe.link_colours",
  beforeRegisterNodeDef(nodeType, nodeData) {
    if (!nodeData.name.startsWith("Lorapipe")) return;
    const inputs = Object.values({ ...nodeData.input?.required, ...nodeData.input?.optional }).map((each) => each[0]);
    for (const type of [...inputs, ...(nodeData.output ?? [])]) {
      if (typeof type === "string" && type.startsWith("LORAPIPE_") && !type.includes(",")) types.add(type);
    }
  },
  setup() {
    colour();
    setTimeout(colour, 1000); // the page sets the colours of its palette after this
  },
  afterConfigureGraph: colour, // and when another palette was chosen
});
