// The table of files: filter, order, pages, fetching from a choice of sources, and adding.

import { bytes, by, call, icon, keyed, make, plural, say } from "./dom.js";
import { shortNames } from "./names.js";
import { isComing } from "./transfers.js";

/** The number of rows on one page. */
const PAGE = 50;

/** The maximum number of concurrent uploads; others wait. */
const AT_ONCE = 2;

/** The maximum length of an upload, which the program also enforces. */
const MAX_UPLOAD = 4 * 2 ** 30;

const CROSS = "M6 6l12 12M18 6L6 18";

let files = [];
/** The number of files of others for each name. */
let named = new Map();
let own = "";
let page = 0;
let order = { by: "name", down: false };
/** The messages by name of file; they outlive the elements of the rows. */
const messages = new Map();
const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

const ORDERS = {
  name: (a, b) => collator.compare(a.name, b.name),
  size: (a, b) => (a.size ?? -1) - (b.size ?? -1),
  owner: (a, b) => Number(b.local) - Number(a.local) || collator.compare(a.owners[0] ?? "", b.owners[0] ?? ""),
};

export function setUp() {
  by("filter").addEventListener("input", fromTheFirst);
  for (const radio of document.querySelectorAll("input[name=whose]")) radio.addEventListener("change", fromTheFirst);
  for (const button of document.querySelectorAll("[data-sort]")) {
    button.addEventListener("click", () => {
      const same = order.by === button.dataset.sort;
      order = { by: button.dataset.sort, down: same ? !order.down : false };
      fromTheFirst();
    });
  }
  by("page-back").addEventListener("click", () => turn(-1));
  by("page-on").addEventListener("click", () => turn(1));
  document.addEventListener("coming", draw);
}

/** Shows only the files with this text in their names, of all owners. An empty text shows all. */
export function filterBy(text) {
  by("filter").value = text;
  document.querySelector("input[name=whose][value=all]").checked = true;
  fromTheFirst();
}

function fromTheFirst() {
  page = 0;
  draw();
}

function turn(by_) {
  page += by_;
  draw();
  by("table").scrollIntoView({ block: "nearest" });
}

/** Sets a new list. Several lists within one frame are drawn once. */
export function showFiles(news, id) {
  files = news;
  named = new Map();
  for (const { name, local } of news) if (!local) named.set(name, (named.get(name) ?? 0) + 1);
  own = id ?? own;
  if (!scheduled) scheduled = requestAnimationFrame(draw);
}

let scheduled = 0;

function chosen() {
  const text = by("filter").value.trim().toLowerCase();
  const whose = document.querySelector("input[name=whose]:checked").value;
  const wanted = files.filter((file) =>
    (whose === "all" || file.local === (whose === "local")) && (!text || file.name.toLowerCase().includes(text)));
  const sign = order.down ? -1 : 1;
  // The list is already sorted by name, and the sort is stable.
  return wanted.sort((a, b) => sign * ORDERS[order.by](a, b));
}

function draw() {
  scheduled = 0;
  const rows = chosen();
  const last = Math.max(0, Math.ceil(rows.length / PAGE) - 1);
  page = Math.min(Math.max(page, 0), last);
  const shown = rows.slice(page * PAGE, (page + 1) * PAGE);
  keyed(by("files"), shown, (file) => file.name, create, update);
  say(by("files-count"), rows.length === files.length ? plural(files.length, "file") : `${rows.length.toLocaleString("en")} of ${plural(files.length, "file")}`);
  by("table").hidden = rows.length === 0;
  by("pager").hidden = last === 0;
  const first = page * PAGE;
  say(by("page-range"), `${(first + 1).toLocaleString("en")}–${(first + shown.length).toLocaleString("en")} of ${rows.length.toLocaleString("en")}`);
  by("page-back").disabled = page === 0;
  by("page-on").disabled = page === last;
  for (const button of document.querySelectorAll("[data-sort]")) {
    const active = button.dataset.sort === order.by;
    button.closest("th").setAttribute("aria-sort", active ? (order.down ? "descending" : "ascending") : "none");
  }
  drawEmpty(rows.length);
  // An explanation is shown only if its word is on the page.
  by("files-help").hidden = rows.length === 0;
  by("files-help-unknown").hidden = !shown.some(({ size, local }) => size === null && !local);
}

function drawEmpty(count) {
  const empty = by("files-empty");
  empty.hidden = count > 0;
  if (count) return;
  const filter = by("filter").value.trim();
  const state = `${files.length > 0}\0${filter}`;
  if (empty.dataset.state === state) return;
  empty.dataset.state = state;
  const text = files.length
    ? [filter ? `No file here has “${filter}” in its name.` : "No such files here.", "Peers may have other files: search the network for a part of the name."]
    : ["Nothing is shared yet.", "Drop a file anywhere on this page, or search for files of others."];
  empty.replaceChildren(make("p", {}, make("b", {}, text[0])), make("p", {}, text[1]));
  if (files.length) empty.append(make("button", { class: "small", onclick: () => filterBy("") }, "Show all files"));
}

// ---- one row ----

function create() {
  return make("tr", {},
    make("th", { scope: "row", class: "name" }, make("span", { class: "text" }), make("div", { class: "asked" })),
    make("td", { class: "size number" }),
    make("td", { class: "owner" }),
    make("td", { class: "digest" }, make("code")),
    make("td", { class: "get" }));
}

function update(row, file) {
  row.file = file;
  const name = row.querySelector(".name .text");
  if (name.textContent !== file.name) name.textContent = name.title = file.name;
  const size = row.querySelector(".size");
  say(size, file.size === null ? "–" : bytes(file.size));
  size.title = file.size === null ? "Known after it is fetched" : `${file.size.toLocaleString("en")} bytes`;
  updateOwner(row.querySelector(".owner"), file);
  const digest = row.querySelector("code");
  say(digest, file.digest ? file.digest.slice(0, 8) : "–");
  digest.title = file.digest ? `BLAKE3 ${file.digest}` : file.local ? "Being computed" : "Unknown";
  updateGet(row, row.querySelector(".get"), file);
  updateAsked(row.querySelector(".asked"), file);
}

function updateOwner(cell, file) {
  const others = file.owners.filter((owner) => !(file.local && owner === own));
  const text = file.local ? (others.length ? `here, ${others.join(", ")}` : "here") : others.join(", ");
  if (cell.dataset.text === text) return;
  cell.dataset.text = text;
  cell.title = text;
  cell.replaceChildren();
  if (file.local) cell.append(make("span", { class: "here" }, "here"));
  if (others.length) cell.append(make("span", { class: "others" }, others.length > 2 ? `${others[0]} and ${others.length - 1} more` : others.join(", ")));
}

function updateGet(row, cell, file) {
  const state = file.local ? "" : [isComing(file.name), differs(file), ...file.owners].join("\0");
  if (cell.dataset.state === state) return;
  const focused = cell.contains(document.activeElement);
  const picked = cell.querySelector("select")?.value;
  cell.dataset.state = state;
  cell.replaceChildren();
  if (file.local) return;
  if (file.why_not) return cell.append(make("span", { class: "coming", title: file.why_not }, "cannot be fetched"));
  if (isComing(file.name)) return cell.append(make("span", { class: "coming" }, "fetching"));
  const button = make("button", { class: "fetch", "aria-label": `Fetch ${file.name}` }, "Fetch");
  button.addEventListener("click", () => fetchFile(row.file, cell.querySelector("select")?.value));
  if (file.owners.length > 1) {
    const pick = make("select", { "aria-label": `Source of ${file.name}` });
    if (!differs(file)) pick.append(make("option", { value: "" }, `all ${file.owners.length}`));
    const { names } = shortNames(file.owners);
    pick.append(...file.owners.map((owner) => make("option", { value: owner, title: owner }, names.get(owner))));
    if (file.owners.includes(picked)) pick.value = picked;
    cell.append(make("span", { class: "from" }, pick, button));
  } else {
    cell.append(button);
  }
  if (focused) button.focus();
}

/** Whether several different files of others have this name. */
const differs = (file) => named.get(file.name) > 1;

async function fetchFile(file, from, replace = false) {
  const source = from || (differs(file) ? file.owners[0] : null);
  messages.delete(file.name);
  draw();
  try {
    await call("POST", "fetch", { name: file.name, from: source, replace });
  } catch (refused) {
    messages.set(file.name, { text: refused.message, again: refused.kind === "exists" ? () => fetchFile(file, source, true) : null });
    draw();
  }
}

function updateAsked(box, file) {
  const news = file.local ? undefined : messages.get(file.name);
  if (box.news === news) return;
  box.news = news;
  box.replaceChildren();
  if (!news) return;
  const close = () => {
    messages.delete(file.name);
    draw();
    box.closest("tr").querySelector(".fetch")?.focus();
  };
  box.append(make("span", { class: "said bad", role: "alert" }, news.text));
  if (news.again) box.append(make("button", { class: "small", onclick: news.again }, "Replace it"));
  box.append(make("button", { class: "small quiet", onclick: close }, news.again ? "Keep it" : "Close"));
}

// ---- adding ----

const queue = [];
let running = 0;

export function addFiles(chosen) {
  for (const file of chosen) {
    const bar = make("progress", { max: 1, value: 0, "aria-label": `Adding ${file.name}` });
    const close = make("button", { class: "plain", "aria-label": `Close the message about ${file.name}`, hidden: true }, icon(CROSS));
    const text = make("p", { class: "said", role: "alert" });
    const row = make("li", {}, make("div", { class: "upload" }, make("span", { class: "text" }, file.name), bar, close), text);
    close.addEventListener("click", () => row.remove());
    by("uploads").append(row);
    queue.push({ file, row, bar, close, text });
  }
  next();
}

function next() {
  while (running < AT_ONCE && queue.length) {
    running += 1;
    upload(queue.shift()).finally(() => {
      running -= 1;
      next();
    });
  }
}

function upload({ file, row, bar, close, text }) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("POST", `api/files?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => {
      if (event.lengthComputable && event.total) bar.value = event.loaded / event.total;
    };
    const failed = (why) => {
      say(text, `Not added: ${why}.`, "bad");
      bar.remove();
      close.hidden = false;
    };
    if (file.size > MAX_UPLOAD) {
      failed("it is larger than 4 GiB; put it into the shared folder and press Refresh");
      return resolve();
    }
    request.onload = () => {
      if (request.status < 300) {
        row.remove();
        say(by("files-said"), `${file.name} is shared now.`, "good");
      } else {
        failed(request.response?.error ?? `status ${request.status}`);
      }
    };
    request.onerror = () => failed("the connection was lost; folders cannot be added");
    request.onloadend = resolve;
    request.send(file);
  });
}

/** Files may be dropped anywhere. The cover is visible only while files are held over the page. */
export function offerUploads(cover) {
  let depth = 0;
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  const show = (shown) => {
    if (!shown) depth = 0;
    cover.hidden = !shown;
  };
  addEventListener("dragenter", (event) => {
    if (!holdsFiles(event)) return;
    depth += 1;
    show(true);
  });
  addEventListener("dragleave", () => {
    depth -= 1;
    if (depth <= 0) show(false);
  });
  addEventListener("dragover", (event) => {
    if (holdsFiles(event)) event.preventDefault();
  });
  addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    show(false);
    addFiles([...event.dataTransfer.files]);
  });
}
