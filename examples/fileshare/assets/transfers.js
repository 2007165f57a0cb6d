// The transfers: a bar for each, with speed and time left.

import { bytes, by, call, duration, icon, keyed, make, plural, say, sentence } from "./dom.js";

/** The maximum number of transfers on the page, as many as the program remembers. */
const MAX_TRANSFERS = 200;

const CROSS = "M6 6l12 12M18 6L6 18";

const transfers = new Map();
let scheduled = 0;
/** The names of the files that are being fetched. */
const coming = new Set();

export const isComing = (name) => coming.has(name);

export function clearTransfers() {
  keepTransfers([]);
}

/** Removes all transfers but these. */
export function keepTransfers(numbers) {
  const left = new Set(numbers);
  for (const number of transfers.keys()) if (!left.has(number)) transfers.delete(number);
  schedule();
}

export function setUp() {
  by("transfers-clear").addEventListener("click", () => clear("transfers", by("transfers-said"), by("transfers-clear")));
}

async function clear(path, said, button) {
  button.disabled = true;
  say(said, "");
  try {
    await call("DELETE", path);
    // The next event removes the button, so the focus moves.
    if (document.activeElement === document.body || document.activeElement === button) by("transfers-title").focus();
  } catch (refused) {
    say(said, refused.message, "bad");
  }
  button.disabled = false;
}

export function showTransfer(transfer) {
  transfers.set(transfer.number, transfer);
  for (const oldest of [...transfers.keys()].sort((a, b) => a - b).slice(0, -MAX_TRANSFERS)) transfers.delete(oldest);
  schedule();
}

/** All events of one frame are drawn once. */
function schedule() {
  if (!scheduled) scheduled = requestAnimationFrame(draw);
}

function draw() {
  scheduled = 0;
  const rows = [...transfers.values()].sort((a, b) => b.number - a.number);
  const names = rows.filter((row) => row.state === "running").map((row) => row.name);
  const running = names.length;
  if (names.some((name) => !coming.has(name)) || new Set(names).size !== coming.size) {
    coming.clear();
    for (const name of names) coming.add(name);
    document.dispatchEvent(new Event("coming"));
  }
  by("transfers-card").hidden = rows.length === 0;
  const ended = rows.length - running;
  say(by("transfers-count"), running ? `${running} running` : ended ? `${ended} ended` : "");
  by("transfers-clear").hidden = ended === 0;
  keyed(by("transfers"), rows, (row) => String(row.number), create, update);
}

function create(transfer) {
  const row = make("li", { class: "transfer" },
    make("div", { class: "first" },
      make("b", { class: "text", title: transfer.name }, transfer.name),
      make("span", { class: "figures number" }),
      make("button", { class: "plain clear", "aria-label": `Clear ${transfer.name}`, title: "Remove it from the list", hidden: true }, icon(CROSS))),
    make("progress", { max: 1, "aria-label": `Progress of ${transfer.name}` }),
    make("p", { class: "second", "aria-live": "off" }),
    make("p", { class: "said", role: "alert" }));
  const button = row.querySelector(".clear");
  button.addEventListener("click", () => clear(`transfers/${transfer.number}`, row.querySelector(".said"), button));
  return row;
}

function update(row, transfer) {
  row.className = `transfer ${transfer.state}`;
  const bar = row.querySelector("progress");
  const part = transfer.size ? transfer.done / transfer.size : transfer.state === "done" ? 1 : null;
  if (part === null) bar.removeAttribute("value");
  else bar.value = transfer.state === "done" ? 1 : Math.min(part, 1);
  bar.hidden = transfer.state !== "running";
  row.querySelector(".clear").hidden = transfer.state === "running";
  say(row.querySelector(".figures"), figures(transfer, part));
  say(row.querySelector(".second"), details(transfer));
  const said = row.querySelector(".said");
  const failed = transfer.state === "failed";
  say(said, failed ? sentence(transfer.error ?? "The reason is unknown") : "", failed ? "bad" : "");
  offerAgain(row, transfer, failed);
  offerCancel(row, transfer);
}

function figures(transfer, part) {
  switch (transfer.state) {
    case "running": return part === null ? bytes(transfer.done) : `${Math.floor(Math.min(part, 1) * 100)} %`;
    case "done": return "done";
    case "cancelled": return "cancelled";
    default: return "failed";
  }
}

function details(transfer) {
  const from = transfer.sources.length ? `from ${transfer.sources.join(", ")}` : "";
  const size = transfer.size === null ? "" : bytes(transfer.size);
  if (transfer.state === "done") return [bytes(transfer.done), from, transfer.path ?? ""].filter(Boolean).join(" · ");
  if (transfer.state === "failed" || transfer.state === "cancelled") return [size, from].filter(Boolean).join(" · ");
  if (transfer.waits) return [size && `${bytes(transfer.done)} of ${size}`, `waiting: ${transfer.waits}`].filter(Boolean).join(" · ");
  const left = transfer.seconds_left === null ? "" : `${duration(transfer.seconds_left)} left`;
  const done = size ? `${bytes(transfer.done)} of ${size}` : bytes(transfer.done);
  return [done, `${bytes(transfer.bytes_per_second)}/s`, left, from].filter(Boolean).join(" · ");
}

function offerCancel(row, transfer) {
  const old = row.querySelector(".cancel");
  if (transfer.state !== "running") {
    if (old && old === document.activeElement) by("transfers-title").focus();
    return old?.remove();
  }
  if (old) return;
  const cancel = make("button", { class: "small quiet cancel", "aria-label": `Cancel ${transfer.name}` }, "Cancel");
  cancel.addEventListener("click", async () => {
    cancel.disabled = true;
    try {
      await call("POST", `transfers/${transfer.number}/cancel`);
    } catch (refused) {
      say(row.querySelector(".said"), refused.message, "bad");
      cancel.disabled = false;
    }
  });
  row.querySelector(".first").append(cancel);
}

function offerAgain(row, transfer, failed) {
  const old = row.querySelector(".again");
  if (!failed) return old?.remove();
  if (old) return;
  const again = make("button", { class: "small again", "aria-label": `Try ${transfer.name} again` }, "Try again");
  again.addEventListener("click", async () => {
    again.disabled = true;
    try {
      await call("POST", "fetch", { name: transfer.name, from: null, replace: false });
      again.remove();
    } catch (refused) {
      say(row.querySelector(".said"), refused.message, "bad");
      again.disabled = false;
    }
  });
  row.append(again);
}
