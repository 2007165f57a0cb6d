// Helper functions of the page. Text from the network only becomes a text node or an attribute.

/** Creates an element with properties and children (elements or text). */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

export const by = (id) => document.getElementById(id);

/** Sets the text only if it differs, so that a live region is read once. */
export function say(element, text, kind = "") {
  if (element.textContent !== text) element.textContent = text;
  element.classList.toggle("bad", kind === "bad");
  element.classList.toggle("good", kind === "good");
}

/**
 * Updates the children of `parent` to those of `items`. Keeps the elements of items that stay, so
 * that they keep the focus.
 */
export function keyed(parent, items, key, create, update) {
  const old = new Map();
  for (const child of parent.children) old.set(child.dataset.key, child);
  const seen = new Set();
  let at = parent.firstElementChild;
  for (const item of items) {
    let name = key(item);
    while (seen.has(name)) name += "+";
    seen.add(name);
    let element = old.get(name);
    if (!element) {
      element = create(item);
      element.dataset.key = name;
    }
    update(element, item);
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
  for (const [name, element] of old) if (!seen.has(name)) element.remove();
}

/** An error of the API, or no answer. */
export class Refused extends Error {
  constructor(kind, text) {
    super(text);
    this.kind = kind;
  }
}

/** Calls the API. */
export async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(`api/${path}`, options);
  } catch {
    throw new Refused("unreachable", "The program does not answer.");
  }
  const answer = await response.json().catch(() => null);
  if (!response.ok) {
    throw new Refused(answer?.kind ?? "internal", sentence(answer?.error ?? `Status ${response.status}`));
  }
  return answer;
}

/** Words that get a capital letter at the beginning of a sentence; any other word may be a name. */
const OPENERS = /^(?:a|an|the|no|nothing|this|there|it|its|only|several|calls|cannot|others|not)\s/;

/** Turns the text of an error into a sentence, with a capital letter and a full stop. */
export function sentence(text) {
  const trimmed = text.trim();
  const first = trimmed.slice(0, 1);
  return (OPENERS.test(trimmed) ? first.toUpperCase() : first) + trimmed.slice(1) + (/[.!?…]$/.test(trimmed) ? "" : ".");
}

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** A number of bytes with three significant digits. */
export function bytes(count) {
  let value = count;
  let unit = 0;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits)} ${UNITS[unit]}`;
}

/** A time in its two largest units. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [days, hours, minutes] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes) return `${minutes} min ${whole % 60} s`;
  return `${whole} s`;
}

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** An icon from one path, drawn in the colour of the text. */
export function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.add("icon");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  return svg;
}
