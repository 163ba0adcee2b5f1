// Elements from data. Texts come from folders and files, so they are only ever set as text.

/** An element: h("a", {class: "card", href: "#2", onclick: open}, "penny", …). Absent properties and children are left out. */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value);
  }
  element.append(...kept(children));
  return element;
}

const kept = (children) => children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

const drawn = new WeakMap();

/** Fill a container anew, where what it shows has changed; whoever was in there with the keyboard stays in there. */
export function show(container, data, draw) {
  const text = JSON.stringify(data) ?? "";
  if (drawn.get(container) === text) return;
  drawn.set(container, text);
  const focused = document.activeElement;
  const inside = focused !== container && container.contains(focused) && focused;
  const place = inside ? [...container.querySelectorAll("a, button")].indexOf(inside) : -1;
  container.replaceChildren(...kept([draw(data)]));
  if (inside) {
    const now = [...container.querySelectorAll("a, button")];
    (now[Math.min(place, now.length - 1)] ?? document.querySelector("main")).focus({ preventScroll: true });
  }
}

/** A button that copies a text, and says so. */
export function copyButton(text, what) {
  const button = h("button", { type: "button", class: "small", "aria-label": `Copy ${what}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select it and copy";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return button;
}
