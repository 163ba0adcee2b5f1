// Asks the server each second, shows what has changed, and passes on what the user wants.

import { h, show } from "./elements.js";
import { redraw, showJob } from "./job.js";
import { linkOf, showList } from "./list.js";
import { nameOf, stateOf } from "./words.js";

const EVERY = 1000;
const ANSWERS_WITHIN = 10000;
const $ = (selector) => document.querySelector(selector);
const NOTHING = { jobs: [], arriving: {}, counts: { running: 0, waiting: 0, ended: 0 } };
const isNarrow = matchMedia("(max-width: 52rem)");

let board = null;
let most = 100; // waiting jobs, and ended ones, that are asked for
let job = null;
const tags = new Map();
let wake = () => {};

// ------------------------------------------------------------------------------------------------------- asking

/** What a path answers; undefined where that has not changed. */
async function ask(path) {
  const answer = await fetch(path, { cache: "no-cache", signal: AbortSignal.timeout(ANSWERS_WITHIN) });
  const said = await read(answer);
  if (tags.get(path) === answer.headers.get("etag")) return undefined;
  tags.set(path, answer.headers.get("etag"));
  return said;
}

async function read(answer) {
  const isData = answer.headers.get("content-type") === "application/json";
  const said = isData ? await answer.json() : { error: await answer.text() };
  if (!answer.ok) throw Object.assign(new Error(said.error), { status: answer.status });
  return said;
}

async function look() {
  const seen = await ask(`board/${most}`);
  if (seen !== undefined) {
    if (board !== null && board.program !== seen.program) location.reload();
    tell(board, seen);
    board = seen;
  }
  const number = chosen();
  if (job !== null && job.number !== number) {
    tags.delete(`jobs/${job.number}`);
    job = null;
  }
  if (number !== null) {
    const found = await ask(`jobs/${number}`).catch((error) => {
      if (error.status !== 404) throw error;
      if (number === wanted()) location.hash = "";
      return null;
    });
    if (number !== chosen()) tags.delete(`jobs/${number}`); // another was chosen meanwhile
    else if (found !== undefined) job = found;
  }
  draw();
}

async function forever() {
  for (;;) {
    try {
      await look();
      away("");
    } catch (error) {
      away(reason(error));
    }
    await new Promise((done) => {
      wake = done;
      setTimeout(() => document.hidden || done(), EVERY);
    });
  }
}

function reason(error) {
  if (error.status === 503) return `lorapipe cannot read its queue: ${error.message}`;
  if (error.status) return "This address is no longer valid. Open the address that lorapipe printed.";
  if (error instanceof TypeError || error.name === "TimeoutError") {
    return "Not connected: lorapipe is not running. This page shows the last known state, and reconnects by itself.";
  }
  console.error(error);
  return `This page has an error: ${error.message}`;
}

// ------------------------------------------------------------------------------------------------------ choosing

/** The job that the address names. */
function wanted() {
  const number = Number(location.hash.slice(1));
  return Number.isInteger(number) && number > 0 ? number : null;
}

/** The job to show: on a wide screen there is always one. */
function chosen() {
  if (wanted() !== null || isNarrow.matches || !board?.jobs.length) return wanted();
  return board.jobs[0].number;
}

/** Ask for more of the list. */
function more() {
  tags.delete(`board/${most}`);
  most += 300;
  wake();
}

function choose() {
  showList(board ?? NOTHING, chosen(), more);
  wake();
}

/** The address has changed. On a narrow screen the list and a job take turns, and the keyboard goes along. */
function turn() {
  choose();
  if (!isNarrow.matches) return;
  document.body.classList.toggle("one", wanted() !== null);
  if (wanted() === null) linkOf(job?.number)?.focus();
  else {
    scrollTo(0, 0);
    $("#job").focus();
  }
}

function step(by) {
  const numbers = (board?.jobs ?? []).map((card) => card.number);
  const at = numbers.indexOf(Number(document.activeElement?.hash?.slice(1) || chosen()));
  const number = numbers[Math.max(0, Math.min(numbers.length - 1, at < 0 ? 0 : at + by))];
  if (number === undefined) return;
  if (!isNarrow.matches) {
    history.replaceState(null, "", `#${number}`);
    choose();
  }
  linkOf(number)?.focus();
}

// -------------------------------------------------------------------------------------------------------- showing

function draw() {
  if (board === null) return;
  showList(board, chosen(), more);
  const next = board.jobs.find((card) => card.state === "waiting");
  showJob(chosen() === null ? null : job, job?.number === next?.number, act);
  document.body.classList.toggle("one", wanted() !== null);
  document.body.classList.toggle("none", !board.jobs.length);
  show($("#empty"), [board.jobs.length === 0, board.inbox], ([isEmpty, inbox]) => isEmpty && empty(inbox));
  const pause = $("#pause");
  pause.hidden = !board.jobs.length && !board.paused;
  pause.textContent = board.paused ? "Resume" : "Pause";
  pause.classList.toggle("first", board.paused);
  pause.title = board.paused ? "Start jobs again" : "Start no further job; running jobs go on";
  const running = board.jobs.find((card) => card.state === "running" && card.progress?.total);
  const part = running ? `${Math.floor((100 * running.progress.step) / running.progress.total)} % ${running.title} · ` : "";
  if (document.title !== `${part}lorapipe`) document.title = `${part}lorapipe`;
}

function empty(inbox) {
  const start = "Ten to twenty-five pictures of one character make a good start. The folder's name becomes the trigger word.";
  const code = (text) => h("p", { class: "path" }, h("code", {}, text));
  const where = inbox
    ? [h("p", {}, "Drop a folder of pictures, or a zip of one, into"), code(inbox), h("p", { class: "soft" }, start)]
    : [h("p", {}, "Add a pipeline to the queue:"), code("lorapipe queue add pipeline.yaml")];
  return h("div", { class: "invitation" }, h("h2", {}, "Nothing to do yet"), where);
}

function away(words) {
  document.body.classList.toggle("away", words !== "");
  $("#away").hidden = words === "";
  if ($("#away").textContent !== words) {
    $("#away").textContent = words;
    say(words || "Connected again.");
  }
}

/** Say aloud, to those who listen, what has become of jobs. */
function tell(before, now) {
  if (before === null) return;
  const known = new Map(before.jobs.map((card) => [card.number, stateOf(card)]));
  const total = ({ counts }) => counts.running + counts.waiting + counts.ended;
  const hasNew = total(now) > total(before); // else what was not shown has but come into the part that is
  const news = now.jobs.filter((card) => (known.has(card.number) ? known.get(card.number) !== stateOf(card) : hasNew));
  if (news.length) say(news.slice(0, 3).map((card) => `${nameOf(card)}: ${stateOf(card)}`).join(". "));
  else if (before.paused !== now.paused) say(now.paused ? "The queue is paused." : "The queue is resumed.");
}

function say(words) {
  $("#said").textContent = words;
}

// ----------------------------------------------------------------------------------------------------------- doing

async function act(what, about) {
  if (what === "cancel" && about.state === "running") {
    const isSure = about.asked
      ? await sure(`Stop ${nameOf(about)} at once?`, "The progress since its last save is lost.", "Stop it")
      : await sure(`Cancel ${nameOf(about)}?`, "It saves, then stops. If you try again, it continues from there.", "Cancel it");
    if (!isSure) return;
  }
  await send(`jobs/${about.number}/${what}`);
}

async function send(path) {
  $("#problem").hidden = true;
  try {
    await read(await fetch(path, { method: "POST", signal: AbortSignal.timeout(ANSWERS_WITHIN) }));
  } catch (error) {
    $("#problem p").textContent = error instanceof TypeError ? "Not connected: nothing was changed." : error.message;
    $("#problem").hidden = false;
  }
  wake();
}

/** Ask first. */
function sure(what, more, yes) {
  const dialog = $("#sure");
  $("#sure-what").textContent = what;
  $("#sure-more").textContent = more;
  dialog.querySelector("[value=no]").textContent = "Keep running";
  dialog.querySelector("[value=yes]").textContent = yes;
  dialog.showModal();
  return new Promise((done) => {
    // not "close": that comes with the next frame, when the same may have been asked again
    dialog.onsubmit = (event) => done(event.submitter?.value === "yes");
    dialog.oncancel = () => done(false);
  });
}

// -------------------------------------------------------------------------------------------------------- beginning

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("#sure").open) return;
  const inList = $("nav").contains(document.activeElement);
  const by = { j: 1, k: -1, ...(inList && { ArrowDown: 1, ArrowUp: -1 }) }[event.key];
  if (by) {
    event.preventDefault();
    step(by);
  } else if (event.key === "Escape" && wanted() !== null) {
    location.hash = "";
  }
});
addEventListener("hashchange", turn);
isNarrow.addEventListener("change", choose);
document.addEventListener("visibilitychange", () => document.hidden || wake());
new ResizeObserver(redraw).observe($("#job"));
$("#skip").addEventListener("click", () => $("#job").focus());
$("#pause").addEventListener("click", () => send(board?.paused ? "resume" : "pause"));
$("#problem button").addEventListener("click", () => ($("#problem").hidden = true));
forever();
