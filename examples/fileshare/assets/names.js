// Short names of nodes for the graph: of addresses only the part that differs.

/** The maximum length of a name; longer ones are shortened in the middle. */
const MAX_NAME = 18;

const ADDRESS = /^(\[[^\]]*\]|[^\s:]+):(\d{1,5})$/;
const IPV4 = /^\d{1,3}(?:\.\d{1,3}){3}$/;

/** The short name of each id, and an example of what was left out, or an empty string. */
export function shortNames(ids) {
  const parts = new Map();
  for (const id of ids) {
    const [, host, port] = ADDRESS.exec(id) ?? [];
    if (host) parts.set(id, { host, port });
  }
  const hosts = count([...parts.values()].map(({ host }) => host));
  const [common, times] = [...hosts].sort((a, b) => b[1] - a[1])[0] ?? ["", 0];
  const usual = times > 1 && times * 2 >= parts.size ? common : null;
  const network = sharedOctets([...hosts.keys()]);
  let example = "";
  const names = new Map(ids.map((id) => {
    const part = parts.get(id);
    let name = id;
    if (part?.host === usual) name = `:${part.port}`;
    else if (part && network && IPV4.test(part.host)) name = id.slice(network.length);
    if (name !== id && !example) example = `${name} is ${id}`;
    return [id, shorten(name)];
  }));
  const uses = count([...names.values()]);
  for (const [id, name] of names) if (uses.get(name) > 1) names.set(id, id);
  return { names, example };
}

function count(texts) {
  const counts = new Map();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return counts;
}

/** The common prefix of all IPv4 hosts in whole octets, without the last dot: `192.168.1`. */
function sharedOctets(hosts) {
  const octets = hosts.filter((host) => IPV4.test(host)).map((host) => host.split("."));
  if (octets.length < 2) return "";
  let shared = 0;
  while (shared < 3 && octets.every((host) => host[shared] === octets[0][shared])) shared += 1;
  return octets[0].slice(0, shared).join(".");
}

/** Keeps the beginning and the end of a name, where numbered names differ. */
export function shorten(name, max = MAX_NAME) {
  const characters = [...name];
  if (characters.length <= max) return name;
  const end = Math.floor((max - 1) / 2);
  return `${characters.slice(0, max - 1 - end).join("")}…${characters.slice(-end).join("")}`;
}
