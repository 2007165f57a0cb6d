// The text about the newest search: the matches, their owners, and whether more may arrive.

import { by, plural, say } from "./dom.js";
import { filterBy } from "./files.js";

/** The number of owners that are named; more are counted. */
const MAX_NAMED = 3;

let newest = null;

export function setUp() {
  by("search-only").addEventListener("click", () => filterBy(newest.key));
}

/** Forgets the searches of an earlier run of the program, which counts from one again. */
export function clearSearch() {
  newest = null;
  by("search-only").hidden = true;
  say(by("search-said"), "");
}

/** Shows a search that was started here. Its first event may have arrived before the answer of the call. */
export function beginSearch(search) {
  if (!newest || search.number > newest.number) showSearch(search);
}

/** Shows a search, unless there is a newer one. */
export function showSearch(search) {
  if (newest && search.number < newest.number) return;
  newest = search;
  say(by("search-said"), summary(search), search.files ? "good" : "");
  by("search-said").classList.toggle("waiting", !search.over);
  by("search-only").hidden = !search.files;
}

function summary({ key, asked, unreached, files, from, over }) {
  const what = `“${key}”`;
  if (!asked) return `There is no peer to ask for ${what}: join a network first.`;
  if (unreached >= asked && !files) return `The search for ${what} failed: none of ${plural(asked, "peer")} could be asked.`;
  const missed = unreached ? ` ${plural(unreached, "peer")} could not be asked.` : "";
  if (files) {
    const found = `${plural(files, "file")} of others with ${what}, from ${owners(from)}`;
    return over ? `Found ${found}. The search is over.${missed}` : `${found} so far. More may arrive.${missed}`;
  }
  const reached = plural(asked - unreached, "peer");
  return over
    ? `Nothing found with ${what}. ${reached} and the peers behind ${asked - unreached === 1 ? "it" : "them"} were asked; the search is over.${missed}`
    : `Asking ${reached} for ${what}. Nothing yet; answers may still arrive.${missed}`;
}

function owners(from) {
  const named = from.length > MAX_NAMED + 1 ? from.slice(0, MAX_NAMED) : from;
  const more = from.length - named.length;
  const all = more ? [...named, `${more} more`] : named;
  return all.length > 1 ? `${all.slice(0, -1).join(", ")} and ${all.at(-1)}` : all.join("");
}
