// A person chooses pictures; the numbers go back in the address, since the server takes no bodies.
"use strict";

const TEXTS = {
  en: {
    title: "Choose the pictures to train on",
    how: "The best come first; those that lorapipe would take are chosen already. Look for the right subject, whole and without faults, in pictures that differ.",
    send: "Train with these",
    chosen: "{0} chosen, about {1} wanted",
    sent: "Sent: the run goes on. You may close this page.",
    nothing: "Nothing is asked at the moment.",
    failed: "It could not be sent: {0}",
  },
  ko: {
    title: "학습할 그림을 고르세요",
    how: "좋은 그림이 먼저 나옵니다. lorapipe가 고를 그림은 이미 선택되어 있습니다. 대상이 온전하고 결함이 없으며 서로 다른 그림을 고르세요.",
    send: "이 그림들로 학습",
    chosen: "{0}장 선택함, 약 {1}장 필요",
    sent: "보냈습니다. 실행이 계속됩니다. 이 페이지를 닫아도 됩니다.",
    nothing: "지금은 묻는 것이 없습니다.",
    failed: "보내지 못했습니다: {0}",
  },
};
const language = navigator.language.startsWith("ko") ? "ko" : "en";
const say = (name, ...values) => TEXTS[language][name].replace(/\{(\d)\}/g, (_, place) => values[place]);
const find = (id) => document.getElementById(id);
const LOOK = 3000; // milliseconds between looks for the next question
let wanted = 0;
let open = false;

function chosen() {
  return [...document.querySelectorAll("input:checked")].map((box) => box.value);
}

function count() {
  find("count").textContent = say("chosen", chosen().length, wanted);
  find("send").disabled = !chosen().length;
}

function tile(picture, proposed) {
  const label = document.createElement("label");
  const box = Object.assign(document.createElement("input"), { type: "checkbox", value: picture.number });
  box.checked = proposed.includes(picture.number);
  box.addEventListener("change", count);
  const image = Object.assign(document.createElement("img"), { src: `pictures/${picture.number}`, alt: picture.prompt });
  image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth < 128));
  const note = document.createElement("span");
  note.textContent = `${picture.number} · ${Math.round(100 * picture.merit)} % · ${picture.prompt}`;
  label.append(box, image, note);
  return label;
}

async function show() {
  const asked = await (await fetch("question")).json();
  if (!asked.open) {
    find("send").disabled = true;
    if (!find("count").textContent) find("count").textContent = say("nothing");
    return;
  }
  open = true;
  find("pictures").replaceChildren();
  wanted = asked.count;
  find("mistake").hidden = !asked.mistake;
  find("mistake").textContent = asked.mistake || "";
  find("pictures").append(...asked.pictures.map((each) => tile(each, asked.proposed)));
  count();
}

async function send() {
  find("send").disabled = true;
  const response = await fetch(`choose/${chosen().join("-")}`, { method: "POST" });
  const told = await response.json();
  find("count").textContent = response.ok ? say("sent") : say("failed", told.error);
  find("send").disabled = response.ok;
  open = !response.ok;
  if (response.ok) find("pictures").replaceChildren();
}

document.documentElement.lang = language;
document.querySelectorAll("[data-text]").forEach((each) => { each.textContent = say(each.dataset.text); });
find("send").addEventListener("click", send);
show();
setInterval(() => open || show().catch(() => {}), LOOK); // the run may have ended
