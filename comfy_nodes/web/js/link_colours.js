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

app.registerExtension({
  name: "lorapipe.link_colours",
  setup() {
    const types = Object.values(globalThis.LiteGraph?.registered_node_types ?? {})
      .filter((type) => type.comfyClass?.startsWith("Lorapipe"))
      .flatMap((type) => {
        const data = type.nodeData ?? {};
        const inputs = Object.values({ ...data.input?.required, ...data.input?.optional }).map((each) => each[0]);
        return [...inputs, ...(data.output ?? [])];
      })
      .filter((type) => typeof type === "string" && type.startsWith("LORAPIPE_") && !type.includes(","));
    const colours = Object.fromEntries(types.map((type) => [type, COLOURS[type] ?? SETTINGS]));
    Object.assign(globalThis.LGraphCanvas?.link_type_colors ?? {}, colours);
    Object.assign(app.canvas?.default_connection_color_byType ?? {}, colours);
    app.canvas?.setDirty?.(true, true);
  },
});
