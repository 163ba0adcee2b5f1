// Requests to the server that served this page.

const LONGEST = 120000;

/** What a path answers. Errors have the server's message, and `data` where it sent some. */
export async function ask(path) {
  return read(await fetch(path, { cache: "no-cache", signal: AbortSignal.timeout(LONGEST) }));
}

export async function send(path, data) {
  const body = JSON.stringify(data);
  return read(await fetch(path, { method: "POST", body, headers: { "Content-Type": "application/json" }, signal: AbortSignal.timeout(LONGEST) }));
}

async function read(answer) {
  const isData = answer.headers.get("content-type") === "application/json";
  const said = isData ? await answer.json() : { error: await answer.text() };
  if (!answer.ok) throw new Error(said.error);
  return said;
}
