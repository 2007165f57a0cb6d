// Renders the pictures: node diagrams/render.mjs (needs a Chromium; arguments go on to mermaid-cli, `-p puppeteer.json` for instance).
// Each gets a white ground with round corners, so that it can be read on any page, and carries its source.
import { execFileSync } from "node:child_process";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

const dir = import.meta.dirname, pad = 14;
const [mmdc, ...first] = (process.env.MMDC ?? "npx -y @mermaid-js/mermaid-cli@11.17").split(" ");
const escape = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

for (const name of readdirSync(dir).filter((name) => name.endsWith(".mmd"))) {
  const [source, target] = [`${dir}/${name}`, `${dir}/${name.replace(".mmd", ".svg")}`];
  const id = name.replace(".mmd", "");
  execFileSync(mmdc, [...first, "-q", "-c", `${dir}/.mermaid.json`, "-b", "transparent", "-I", id, "-i", source, "-o", target, ...process.argv.slice(2)]);
  const svg = readFileSync(target, "utf8").replaceAll(/ data-points="[^"]*"/g, "");
  const [all, x, y, w, h] = svg.match(/viewBox="(\S+) (\S+) (\S+) (\S+)"/);
  const box = [x - pad, y - pad, +w + 2 * pad, +h + 2 * pad].map((n) => Math.round(n * 100) / 100);
  const ground = `<rect x="${box[0]}" y="${box[1]}" width="${box[2]}" height="${box[3]}" rx="12" style="fill:#fff;stroke:none"/>`;
  writeFileSync(target, svg
    .replace(all, `viewBox="${box.join(" ")}"`)
    .replace(/ width="[^"]*"/, ` width="${box[2]}"`).replace(/ height="[^"]*"/, ` height="${box[3]}"`)
    .replace(/(<svg[^>]*>)/, `$1\n<metadata>${escape(readFileSync(source, "utf8"))}</metadata>\n${ground}`) + "\n");
}
