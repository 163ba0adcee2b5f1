// The page's texts: English in the code, other languages in LANGUAGE.json, from English to that language.

export const LANGUAGES = { en: "English", ko: "한국어" };

let table = {};
export let language = "en";

/** Choose a language: the reader's last choice, else the browser's. */
export async function chooseLanguage(code = wanted()) {
  table = code === "en" ? {} : await (await fetch(`${code}.json`)).json();
  language = code;
  document.documentElement.lang = code;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const name of ["placeholder", "aria-label", "title"]) {
    for (const element of document.querySelectorAll(`[data-t-${name}]`)) {
      const english = `data-t-${name}`;
      if (!element.getAttribute(english)) element.setAttribute(english, element.getAttribute(name));
      element.setAttribute(name, t(element.getAttribute(english)));
    }
  }
}

export function remember(code) {
  try {
    localStorage.setItem("language", code);
  } catch {
    // private windows may forbid it
  }
}

function wanted() {
  let kept = null;
  try {
    kept = localStorage.getItem("language");
  } catch {
    // as above
  }
  return [kept, ...navigator.languages.map((each) => each.slice(0, 2))].find((each) => each in LANGUAGES) ?? "en";
}

/** A text in the reader's language; {name} is filled in. */
export function t(text, values = {}) {
  return (table[text] ?? text).replace(/\{(\w+)\}/g, (place, name) => values[name] ?? place);
}
