// A browser for tests: each line on standard input is the body of a function of `page`; its result comes back as a line.
//
//     node browser.mjs CHROMIUM FOLDER_OF_PLAYWRIGHT_CORE

import { createRequire } from "module";
import { createInterface } from "readline";

const [chromium, playwright] = process.argv.slice(2);
const { chromium: browsers } = createRequire(import.meta.url)(playwright);
const flags = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const browser = await browsers.launch({ executablePath: chromium, args: flags });
const page = await browser.newPage();
page.setDefaultTimeout(60000); // a machine may be busy with other things
const complaints = [];
const requests = new Set();
page.on("pageerror", (error) => complaints.push(error.message));
page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
page.on("request", (request) => requests.add(new URL(request.url()).origin));
const Body = Object.getPrototypeOf(async () => {}).constructor;

for await (const line of createInterface({ input: process.stdin })) {
  try {
    const result = await new Body("page", "complaints", "requests", JSON.parse(line))(page, complaints, requests);
    console.log(JSON.stringify({ result: result ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
await browser.close();
