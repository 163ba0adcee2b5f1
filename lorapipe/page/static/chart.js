// The loss over the steps: each step's pale, their moving average strong. Drawn as SVG for the width that there is.

import { figure } from "./words.js";

const [LEFT, RIGHT, TOP, BOTTOM, HEIGHT] = [46, 58, 12, 26, 220];
const HIGHEST = 0.98; // of the values lie below the top: one spike must not flatten the rest

function svg(name, properties, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(properties)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The moving average over a twentieth of the points, without start-up bias; what is no number is passed over. */
export function smooth(points) {
  const keep = 1 - 1 / Math.max(1, points.length / 20);
  let [average, weight] = [0, 0];
  return points.map(([step, value]) => {
    average = keep * average + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    return [step, average / weight];
  });
}

/** Round numbers within a range. */
export function ticks(low, high, most = 7) {
  const rough = (high - low || Math.abs(high) || 1) / most;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * size).find((each) => each >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-6);
  const count = Math.floor(high / step + 1e-6) - first + 1;
  return Array.from({ length: Math.max(0, count) }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

/** Since which step the values are no numbers; null where the last is one. */
export function diverged(points) {
  let last = points.length;
  while (last > 0 && !isNumber(points[last - 1])) last -= 1;
  return last < points.length ? points[last][0] : null;
}

const isNumber = ([, value]) => value !== null && Number.isFinite(value);

/** The chart of [[step, loss or null] …], of which at least one is a number. `total` is where the training will end. */
export function chart(points, width, total) {
  const numbers = points.filter(isNumber);
  const line = smooth(numbers);
  const values = numbers.map(([, value]) => value).sort((a, b) => a - b);
  const top = Math.max(values[Math.ceil((values.length - 1) * HIGHEST)], ...line.map(([, value]) => value));
  const span = top - values[0] || Math.abs(top) || 1;
  const [low, high] = [values[0] - span * 0.04, top + span * 0.06];
  const [from, to] = [Math.min(numbers[0][0], 1), Math.max(points.at(-1)[0], total ?? 0, 2)];
  const x = (step) => LEFT + ((step - from) / (to - from)) * (width - LEFT - RIGHT);
  const y = (value) => TOP + ((high - Math.min(value, high)) / (high - low)) * (HEIGHT - TOP - BOTTOM);

  const [first, last] = [line[0], line.at(-1)];
  const label = `Loss from ${figure(first[1])} at step ${first[0]} to ${figure(last[1])} at step ${last[0]}`;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": label });
  for (const tick of ticks(low, high)) {
    drawing.append(
      svg("line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }),
      svg("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, figure(tick)),
    );
  }
  for (const tick of ticks(from, to, Math.max(2, Math.round(width / 110))).filter(Number.isInteger)) {
    drawing.append(svg("text", { x: x(tick), y: HEIGHT - 6, "text-anchor": "middle" }, String(tick)));
  }
  const path = (each) => each.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  drawing.append(
    svg("polyline", { class: "raw", points: path(numbers) }),
    svg("polyline", { class: "smooth", points: path(line) }),
    svg("circle", { cx: x(last[0]), cy: y(last[1]), r: 3.5 }),
    svg("text", { class: "now", x: x(last[0]) + 8, y: y(last[1]) + 4 }, figure(Number(last[1].toPrecision(3)))),
  );
  return follow(drawing, line, width, x, y);
}

/** Let the pointer read the curve. */
function follow(drawing, line, width, x, y) {
  const dot = svg("circle", { r: 3.5, visibility: "hidden" });
  const rule = svg("line", { class: "rule", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const text = svg("text", { class: "now", y: TOP + 2, "text-anchor": "middle", visibility: "hidden" });
  const all = [rule, dot, text];
  drawing.append(...all);
  drawing.addEventListener("pointermove", (event) => {
    const at = ((event.clientX - drawing.getBoundingClientRect().left) / drawing.clientWidth) * width;
    const [step, value] = line.reduce((best, each) => (Math.abs(x(each[0]) - at) < Math.abs(x(best[0]) - at) ? each : best));
    for (const [key, number] of [["cx", x(step)], ["cy", y(value)]]) dot.setAttribute(key, number);
    for (const key of ["x1", "x2"]) rule.setAttribute(key, x(step));
    text.setAttribute("x", Math.min(Math.max(x(step), LEFT + 60), width - RIGHT - 40));
    text.textContent = `step ${step}: ${figure(Number(value.toPrecision(3)))}`;
    for (const each of all) each.setAttribute("visibility", "visible");
  });
  drawing.addEventListener("pointerleave", () => all.forEach((each) => each.setAttribute("visibility", "hidden")));
  return drawing;
}
