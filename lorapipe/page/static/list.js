// The left side: who runs, who waits, who has ended. Each job keeps its element, so that the keyboard stays where it is.

import { h, show } from "./elements.js";
import { ENDED, clock, count, duration, moment, nameOf, stateOf } from "./words.js";

const GROUPS = [
  ["Running", (card) => card.state === "running"],
  ["Waiting", (card) => card.state === "waiting"],
  ["Ended", (card) => ENDED.includes(card.state)],
];
const links = new Map();
const sections = new Map();

/** Show the board; `chosen` is the number of the job on the right. `more` is called to have more of it. */
export function showList(board, chosen, more) {
  const queue = document.querySelector("#queue");
  const focused = document.activeElement;
  for (const [title, belongs] of GROUPS) {
    if (!sections.has(title)) {
      const list = h("ol", {});
      sections.set(title, [h("section", {}, h("h2", {}, title), list), list]);
      queue.append(sections.get(title)[0]);
    }
    const [section, list] = sections.get(title);
    const cards = board.jobs.filter(belongs);
    section.hidden = !cards.length;
    cards.forEach((card, index) => {
      const item = itemOf(card, board, index);
      if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
    });
  }
  const there = new Set(board.jobs.map((card) => card.number));
  for (const [number, link] of links) {
    if (!there.has(number)) {
      link.parentElement.remove();
      links.delete(number);
    } else if (number === chosen) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  if (focused?.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  showAround(board, more);
}

/** The link of a job. */
export const linkOf = (number) => links.get(number);

function itemOf(card, board, index) {
  if (!links.has(card.number)) {
    const link = h("a", { class: "card", href: `#${card.number}` });
    h("li", {}, link);
    links.set(card.number, link);
  }
  const link = links.get(card.number);
  show(link, [card.title, card.version, stateOf(card), line(card, board, index), bar(card)], () => [
    h("span", { class: "name" }, card.title, card.version > 1 && h("span", { class: "soft" }, ` v${card.version}`)),
    h("span", { class: `state ${card.state}` }, stateOf(card)),
    bar(card) !== null && h("progress", { max: 1, value: bar(card), "aria-label": `Progress of ${nameOf(card)}` }),
    h("span", { class: "line" }, line(card, board, index)),
  ]);
  return link.parentElement;
}

/** How far the stage is that runs, from 0 to 1; null where nothing is known. */
export function bar(card) {
  const told = card.progress;
  return card.state === "running" && told?.total ? Math.min(1, told.step / told.total) : null;
}

function line(card, board, index) {
  const told = card.progress;
  if (card.state === "running" && told?.answer) return `${told.stage} waits for your answer`;
  if (card.state === "running" && told) {
    const left = told.seconds_left === null ? "" : ` · ${clock(told.seconds_left)} left`;
    return `${told.stage} · ${told.step} of ${told.total} ${told.unit}${left}`;
  }
  if (card.state === "running") return "starting";
  if (card.state === "waiting" && card.reason) return card.reason;
  if (card.state === "waiting") return index ? `${index + 1} in line` : board.paused ? "next, when the queue is resumed" : "next";
  const took = card.started && card.state === "done" ? ` · took ${duration(card.finished - card.started)}` : "";
  const why = card.state === "done" ? "" : ` · ${brief(card)}`;
  return `${moment(card.finished)}${took}${why === " · " ? "" : why}`;
}

/** The first line of why, without the folder that it is about: that stands in the title. */
function brief(card) {
  const first = card.reason.split("\n")[0];
  return card.source && first.startsWith(`${card.source}: `) ? first.slice(card.source.length + 2) : first;
}

function showAround(board, more) {
  const { running, waiting, ended } = board.counts;
  const counts = [running && `${running} running`, waiting && `${waiting} waiting`, board.paused && "paused"];
  const summary = counts.filter(Boolean).join(", ") || (board.jobs.length ? "nothing to do" : "");
  show(document.querySelector("#summary"), summary, () => summary);
  const arriving = Object.entries(board.arriving);
  const card = ([name, words]) => h("li", { class: "card" }, h("span", { class: "name" }, name), h("span", { class: "line" }, words));
  const section = () => h("section", {}, h("h2", {}, "In the inbox"), h("ul", {}, arriving.map(card)));
  show(document.querySelector("#arriving"), arriving, () => arriving.length > 0 && section());
  const hidden = running + waiting + ended - board.jobs.length;
  const withButton = () => [`and ${count(hidden, "more job")} `, h("button", { type: "button", class: "small", onclick: more }, "Show more")];
  show(document.querySelector("#older"), hidden > 0 && hidden, () => hidden > 0 && h("span", {}, withButton()));
}
