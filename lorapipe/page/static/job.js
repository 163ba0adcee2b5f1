// The right side: one job, with what it has told and what can be done with it.

import { chart, diverged } from "./chart.js";
import { copyButton, h, show } from "./elements.js";
import { ENDED, clock, duration, figure, moment, nameOf, stateOf } from "./words.js";

const MARKS = { finished: "✓", reused: "✓", running: "▸", failed: "✕", cancelled: "✕", waiting: "·" };
const WHAT_TO_DO = {
  failed: "Correct this, then try again. Finished stages are not run again.",
  aside:
    "It was set aside so that the other jobs could go on. Most often memory ran out. " +
    "If you try again, it continues from its last checkpoint.",
  cancelled: "If you try again, it continues from its last checkpoint.",
};
const DIVERGED = "the training has diverged. A lower learning rate usually helps.";
const TINY = 160; // smaller pictures are shown pixel by pixel

let shown = null; // the parts of the job that is shown, by name

/** A link that opens a file beside the page. */
const link = (file, properties, ...children) => h("a", { href: file.address, target: "_blank", rel: "noopener", ...properties }, ...children);

/** Show a job, or `null`: none. `isNext`: it is the first that waits. `act` is called with what to do. */
export function showJob(job, isNext, act) {
  const main = document.querySelector("#job");
  if (job === null) {
    shown = null;
    main.replaceChildren();
    return;
  }
  if (shown?.number !== job.number) {
    shown = { number: job.number, job };
    const parts = ["head", "notice", "result", "now", "chart", "previews", "pictures", "stages", "files", "versions", "log"];
    main.replaceChildren(...parts.map((name) => (shown[name] = h(name === "head" ? "div" : "section", { class: name }))));
    main.scrollTop = 0;
  }
  shown.job = job;
  for (const [name, [data, draw]] of Object.entries(drawings(job, isNext, act))) {
    show(shown[name], data, draw);
    shown[name].hidden = !shown[name].firstChild;
  }
  redraw();
}

function drawings(job, isNext, act) {
  const { state, reason, progress, stages, previews, files, versions, log } = job;
  const about = [job.number, nameOf(job), stateOf(job), job.asked, job.started, job.finished, job.attempts, isNext];
  const training = Object.entries(job.curves).filter(([, metrics]) => metrics.loss?.length);
  const now = state === "running" ? [progress, stages.filter((each) => each.state === "running").map((each) => each.name)] : null;
  return {
    head: [about, () => head(job, isNext, act)],
    notice: [[state, reason], () => notice(job)],
    result: [[state, files, log], () => state === "done" && result(job)],
    now: [now, () => now && running(...now)],
    chart: [training, () => training.map(([stage, metrics]) => curve(stage, metrics.loss, training.length > 1))],
    previews: [previews, () => previews.length > 0 && [h("h3", {}, "Newest previews"), h("ul", { class: "pictures" }, previews.map(preview))]],
    pictures: [files, () => pictures(files)],
    stages: [[stages, reason], () => stages.length > 0 && [h("h3", {}, "Stages"), h("ol", { class: "stages" }, stages.map((each) => stage(each, reason)))]],
    files: [[files, job.folder], () => folder(job)],
    versions: [versions.map((each) => [each.number, each.version, each.state]), () => versions.length > 1 && others(job)],
    log: [log, () => log.length > 0 && logged(log)],
  };
}

function head(job, isNext, act) {
  const facts = [`job ${job.number}`];
  facts.push(job.started ? `started ${moment(job.started)}` : `added ${moment(job.added)}`);
  if (ENDED.includes(job.state) && job.started) facts.push(`took ${duration(job.finished - job.started)}`);
  if (job.attempts > 1) facts.push(`attempt ${job.attempts}`);
  const button = (what, words, kind) => h("button", { type: "button", class: kind, onclick: () => act(what, job) }, words);
  const actions = {
    running: () => [button("cancel", job.asked ? "Stop at once" : "Cancel")],
    waiting: () => [!isNext && button("first", "Move to the front"), button("cancel", "Cancel")],
    done: () => [button("retry", "Run again")],
  };
  return [
    h("a", { class: "back", href: "#" }, "← All jobs"),
    h("div", { class: "title" }, h("h2", {}, job.title, job.version > 1 && h("span", { class: "soft" }, ` v${job.version}`)),
      h("span", { class: `state ${job.state}` }, stateOf(job))),
    h("p", { class: "soft small" }, facts.join(" · ")),
    h("div", { class: "actions" }, (actions[job.state] ?? (() => [button("retry", "Try again", "first")]))()),
  ];
}

function notice(job) {
  if (job.state === "done" || job.state === "running" || !(job.reason || WHAT_TO_DO[job.state])) return null;
  const lines = job.reason.split("\n").filter(Boolean);
  return h("div", { class: `why ${job.state}` }, lines.map((line) => h("p", { class: "reason" }, line)),
    WHAT_TO_DO[job.state] && h("p", { class: "soft" }, WHAT_TO_DO[job.state]));
}

function result(job) {
  const made = job.files.filter((file) => file.path.endsWith(".safetensors"));
  const judge = job.stages.find((each) => each.files.includes(job.report?.path));
  const verdict = judge && job.log.findLast((line) => line.startsWith(`${judge.name}: `))?.slice(judge.name.length + 2);
  return [
    verdict && h("p", { class: "verdict" }, verdict[0].toUpperCase() + verdict.slice(1)),
    job.report && h("p", { class: "actions" }, link(job.report, { class: "button first" }, "Open the report")),
    made.length > 0 && [h("h3", {}, "The LoRA"), made.map((file) => path(file.path, `the path of ${file.name}`))],
  ];
}

function running(told, stages) {
  if (told?.answer) return [h("h3", {}, told.stage), h("p", { class: "reason" }, told.text), h("p", {}, "It waits for your answer in"), path(told.answer, "the path of the answer")];
  if (!told || !stages.includes(told.stage)) return h("p", { class: "soft" }, stages.length ? `Starting ${stages[0]}.` : "Starting.");
  const { step, total, unit, seconds_left: left, values } = told;
  const measured = Object.entries(values).filter(([name]) => !name.startsWith("lr"));
  const facts = [
    [unit === "steps" ? "step" : unit, `${step} / ${total}`],
    ...measured.map(([name, value]) => [name, figure(value)]),
    ["left", left === null ? "–" : clock(left)],
  ];
  return [
    h("h3", {}, told.stage),
    h("progress", { max: 1, value: Math.min(1, step / Math.max(1, total)), "aria-label": `Progress of ${told.stage}` }),
    h("dl", { class: "figures" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
  ];
}

function curve(stage, points, named) {
  const legend = h("span", { class: "legend" }, h("i", { class: "raw" }), "raw", h("i", { class: "smooth" }), "average");
  const since = diverged(points);
  return [
    h("h3", {}, named ? `Loss of ${stage}` : "Loss", legend),
    since !== null && h("p", { class: "why failed" }, `Since step ${since} the loss is not a number: ${DIVERGED}`),
    h("div", { class: "drawing", "data-stage": stage }),
  ];
}

/** Draw the curves for the width that there is. */
export function redraw() {
  for (const place of document.querySelectorAll(".drawing")) {
    const points = shown.job.curves[place.dataset.stage]?.loss ?? [];
    const told = shown.job.progress;
    const total = told?.stage === place.dataset.stage ? told.total : null;
    const width = Math.floor(place.clientWidth);
    const isDrawn = points.some(([, value]) => value !== null) && width > 0;
    show(place, [points, total, width], () => isDrawn && chart(points, width, total));
  }
}

function preview(each) {
  return h("li", {}, picture(each.file, each.caption));
}

function picture(file, caption) {
  const image = h("img", { src: file.address, alt: caption, loading: "lazy" });
  image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth < TINY));
  return link(file, {}, image, h("span", {}, caption));
}

function pictures(files) {
  const grid = files.find((file) => file.kind === "picture" && file.name.startsWith("grid"));
  const sheet = files.find((file) => file.kind === "picture" && file.name.startsWith("contact_sheet"));
  return [
    grid && [h("h3", {}, "The grid"), picture(grid, "Every prompt, snapshot and strength")],
    sheet && [h("h3", {}, "What the trainer saw"), picture(sheet, "The pictures as they were prepared")],
  ];
}

function stage(each, reason) {
  const took = each.seconds === null ? "" : duration(each.seconds);
  const words = { finished: took, waiting: "", running: "runs" }[each.state] ?? each.state;
  return h("li", { class: each.state },
    h("span", { class: "mark", "aria-hidden": "true" }, MARKS[each.state]),
    h("span", { class: "name" }, each.name),
    h("span", { class: "unseen" }, each.state),
    h("span", { class: "soft" }, words || each.reason),
    each.message && !reason.includes(each.message) && h("p", { class: "reason" }, each.message));
}

function path(text, what) {
  return h("p", { class: "path" }, h("code", {}, text), copyButton(text, what));
}

function folder(job) {
  const open = job.files.filter((file) => file.address && file.kind !== "picture" && file.address !== job.report?.address);
  return [h("h3", {}, "The folder"), path(job.folder, "the path of the folder"),
    open.length > 0 && h("p", { class: "small" }, open.map((file) => [link(file, {}, file.name), " "]))];
}

function others(job) {
  const version = (each) =>
    h("li", {},
      h("a", { href: `#${each.number}`, "aria-current": each.number === job.number && "true" }, `version ${each.version}`),
      h("span", { class: "soft" }, ` ${stateOf(each)}`));
  return [h("h3", {}, "Versions"), h("ul", { class: "versions" }, job.versions.map(version))];
}

function logged(lines) {
  const isOpen = shown.log.querySelector("details")?.open;
  return h("details", { open: isOpen }, h("summary", {}, "Log"), h("pre", { tabindex: 0 }, lines.join("\n")));
}
