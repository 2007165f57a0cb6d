// Small tools of the page. Text from the network only ever becomes a text node or an attribute.

/** An element: properties, then children (elements or text). */
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

/** Sets text only where it differs, so that a live region speaks once. */
export function say(element, text, kind = "") {
  if (element.textContent !== text) element.textContent = text;
  element.classList.toggle("bad", kind === "bad");
  element.classList.toggle("good", kind === "good");
}

/**
 * Makes the children of `parent` those of `items`, and keeps the element of each item that stays:
 * what has the focus keeps it, and what is being read is not torn away.
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

/** A refusal of the API, or no answer at all. */
export class Refused extends Error {
  constructor(kind, text) {
    super(text);
    this.kind = kind;
  }
}

/** One call of the API. */
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

/** Words that may begin a sentence with a capital letter; any other may be a name, which stays as it is. */
const OPENERS = /^(?:a|an|the|no|nothing|nobody|this|there|it|only|several|calls)\s/;

/** Errors are written for programs' logs; people get a capital letter and a full stop. */
export function sentence(text) {
  const trimmed = text.trim();
  const first = trimmed.slice(0, 1);
  return (OPENERS.test(trimmed) ? first.toUpperCase() : first) + trimmed.slice(1) + (/[.!?…]$/.test(trimmed) ? "" : ".");
}

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

/** A number of bytes with three digits that matter. */
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
