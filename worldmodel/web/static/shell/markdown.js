// Markdown of cards as elements.
// Owns: headings, paragraphs, lists, tables, quotes, code, bold, links within the page's own rules.
// Must not: make markup out of text (nothing goes through innerHTML), fetch a picture or follow a link of its own.

import { h } from "./dom.js";

/** {front: text of the YAML front matter or "", body: elements}. */
export function markdown(text) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  let front = "";
  if (lines[0] === "---") {
    const end = lines.indexOf("---", 1);
    if (end > 0) front = lines.splice(0, end + 1).slice(1, -1).join("\n");
  }
  return { front, body: blocks(lines) };
}

const FENCE = /^\s{0,3}(```+|~~~+)/;
const HEADING = /^(#{1,6})\s+(.*?)\s*#*$/;
const ITEM = /^(\s*)([-*+]|\d+[.)])\s+(.*)$/;

function blocks(lines) {
  const out = [];
  let k = 0;
  while (k < lines.length) {
    const line = lines[k];
    const fence = FENCE.exec(line);
    const heading = HEADING.exec(line);
    if (!line.trim() || /^\s*<!--.*-->\s*$/.test(line)) k++;
    else if (fence) {
      const code = [];
      for (k++; k < lines.length && !lines[k].trim().startsWith(fence[1]); k++) code.push(lines[k]);
      k++;
      out.push(h("pre", { class: "code", tabindex: 0 }, h("code", {}, code.join("\n"))));
    } else if (heading) {
      out.push(h(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2])));
      k++;
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      out.push(h("hr", {}));
      k++;
    } else if (line.includes("|") && /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(lines[k + 1] ?? "")) {
      const rows = [cells(line)];
      for (k += 2; k < lines.length && lines[k].includes("|") && lines[k].trim(); k++) rows.push(cells(lines[k]));
      out.push(table(rows));
    } else if (ITEM.test(line)) {
      const items = [];
      const isOrdered = /\d/.test(ITEM.exec(line)[2]);
      for (; k < lines.length && (ITEM.test(lines[k]) || /^\s{2,}\S/.test(lines[k])); k++) {
        const item = ITEM.exec(lines[k]);
        if (item) items.push(item[3]);
        else items[items.length - 1] += ` ${lines[k].trim()}`;
      }
      out.push(h(isOrdered ? "ol" : "ul", {}, items.map((item) => h("li", {}, inline(item)))));
    } else if (/^\s*>/.test(line)) {
      const quoted = [];
      for (; k < lines.length && /^\s*>/.test(lines[k]); k++) quoted.push(lines[k].replace(/^\s*>\s?/, ""));
      out.push(h("blockquote", {}, blocks(quoted)));
    } else {
      const words = [];
      for (; k < lines.length && lines[k].trim() && !HEADING.test(lines[k]) && !FENCE.test(lines[k]) && !ITEM.test(lines[k]); k++) words.push(lines[k].trim());
      out.push(h("p", {}, inline(words.join(" "))));
    }
  }
  return out;
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replace(/\\\|/g, "|"));
}

function table([head, ...rows]) {
  const hasHead = head.some((cell) => cell);
  return h("div", { class: "scroll" }, h("table", {},
    hasHead && h("thead", {}, h("tr", {}, head.map((cell) => h("th", { scope: "col" }, inline(cell))))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell, k) => (k ? h("td", {}, inline(cell)) : h("th", { scope: "row" }, inline(cell)))))))));
}

const MARKS = /(`[^`]+`|\*\*[^*]+\*\*|__[^_]+__|\[[^\]]*\]\([^)\s]+\)|(?<![\w*])\*[^*\s][^*]*\*(?!\w))/;

function inline(text) {
  return text.split(MARKS).filter(Boolean).map((part) => {
    if (/^`.+`$/.test(part)) return h("code", {}, part.slice(1, -1));
    if (/^(\*\*|__).+\1$/.test(part)) return h("strong", {}, inline(part.slice(2, -2)));
    const link = /^\[([^\]]*)\]\(([^)\s]+)\)$/.exec(part);
    if (link) return /^https?:\/\//.test(link[2]) ? h("a", { href: link[2], rel: "noreferrer noopener", target: "_blank" }, link[1]) : h("span", { title: link[2] }, link[1]);
    if (/^\*.+\*$/.test(part)) return h("em", {}, part.slice(1, -1));
    return part;
  });
}
