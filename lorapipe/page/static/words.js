// Numbers and states as the terminal writes them.

export const ENDED = ["done", "failed", "cancelled", "aside"];

/** What state a job is in, in words. */
export function stateOf(card) {
  if (card.state === "aside") return "set aside";
  return card.state === "running" && card.asked ? "stopping" : card.state;
}

/** penny v2 */
export function nameOf(card) {
  return card.version > 1 ? `${card.title} v${card.version}` : card.title;
}

/** 0.0812, 1.00e-4, 400; a dash for what is no number. */
export function figure(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
}

/** 0:58, 1:02:03 */
export function clock(seconds) {
  const all = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(all / 3600), Math.floor(all / 60) % 60, all % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** 4 s, 2 min 13 s, 1 h 2 min */
export function duration(seconds) {
  const all = Math.max(0, Math.round(seconds));
  if (all < 60) return `${all} s`;
  const [hours, minutes] = [Math.floor(all / 3600), Math.floor(all / 60) % 60];
  return hours ? `${hours} h ${minutes} min` : `${minutes} min ${all % 60} s`;
}

/** 10:43, or with the day where that is not today. */
export function moment(seconds) {
  const date = new Date(seconds * 1000);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const isToday = date.toDateString() === new Date().toDateString();
  return isToday ? time : `${date.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

/** 1 job, 2 jobs */
export function count(number, one) {
  return `${number} ${one}${number === 1 ? "" : "s"}`;
}
