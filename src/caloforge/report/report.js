const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const words = (text) => text.replace(/\s+/g, " ").trim();

// The text of a cell in one line.
function line(cell) {
  const copy = cell.cloneNode(true);
  all("br", copy).forEach((end) => end.replaceWith(" "));
  return words(copy.textContent);
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// ---------------------------------------------------------------- figures

const glyphs = JSON.parse(document.getElementById("glyphs").textContent);
const loading = new Map();

async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const svg = await new Response(stream).text();
  return svg.replace(/<glyph (\d+)\/>/g, (_, number) => glyphs[number]);
}

async function show(image) {
  const svg = await unpack(image.dataset.svg);
  delete image.dataset.svg;
  image.src = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
  await image.decode();
}

function load(image) {
  if (!loading.has(image)) loading.set(image, show(image));
  return loading.get(image);
}

const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      load(target);
    }
  },
  { rootMargin: "600px" },
);
all("img[data-svg]").forEach((image) => near.observe(image));

// ---------------------------------------------------------------- tables

// The cells of a table head above each column, from the top.
function headings(table) {
  const columns = [];
  [...table.tHead.rows].forEach((row, depth) => {
    let column = 0;
    for (const cell of row.cells) {
      while (columns[column]?.until > depth) column += 1;
      for (let end = column + cell.colSpan; column < end; column += 1) {
        columns[column] ??= { cells: [], until: 0 };
        columns[column].cells.push(cell);
        columns[column].until = depth + cell.rowSpan;
      }
    }
  });
  return columns.map(({ cells }) => cells);
}

// What a cell is sorted by: a number, or text.
function content(cell) {
  if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
  const text = line(cell);
  if (text === "–" || text === "") return null;
  const number = Number(text.replaceAll(",", ""));
  return Number.isNaN(number) ? text : number;
}

// Numbers before text, nothing last in either direction.
function compare(one, other, direction) {
  if (one === null || other === null) return (one === null) - (other === null);
  if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
  return direction * (typeof one === "number" ? one - other : one.localeCompare(other));
}

function sortBy(table, head, column) {
  const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  all("[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: content(row.cells[column]) }));
  rows.sort((one, other) => compare(one.key, other.key, direction));
  table.tBodies[0].append(...rows.map(({ row }) => row));
}

const quoted = (field) => (/[",\r\n]/.test(field) ? `"${field.replaceAll('"', '""')}"` : field);

function title(cells) {
  const text = cells.map(line).filter(Boolean).join(": ");
  const unit = cells.at(-1).dataset.unit;
  return unit ? `${text} [${unit}]` : text;
}

// All rows in the order shown; an error has a column of its own.
function csv(table) {
  const rows = [...table.tBodies[0].rows];
  const columns = headings(table).map((cells, number) => ({
    name: title(cells),
    number,
    hasErrors: rows.some((row) => row.cells[number].dataset.error !== undefined),
    hasNumbers: rows.some((row) => row.cells[number].dataset.value !== undefined),
  }));
  const head = columns.flatMap(({ name, hasErrors }) => (hasErrors ? [name, `${name}: error`] : [name]));
  const lines = rows.map((row) =>
    columns.flatMap(({ number, hasErrors, hasNumbers }) => {
      const cell = row.cells[number];
      const text = line(cell);
      const value = cell.dataset.value ?? (hasNumbers && text === "–" ? "" : text);
      return hasErrors ? [value, cell.dataset.error ?? ""] : [value];
    }),
  );
  return [head, ...lines].map((line) => line.map(quoted).join(",") + "\r\n").join("");
}

function download(name, text) {
  const link = element("a", {
    href: URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" })),
    download: name,
  });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

function equip(sheet) {
  const table = sheet.querySelector("table");
  headings(table).forEach((cells, column) => {
    const head = cells.at(-1);
    if (head.tagName !== "TH" || head.colSpan > 1) return;
    const button = element("button", { type: "button", className: "sort" }, ...head.childNodes);
    if (!words(button.textContent)) button.setAttribute("aria-label", "Sort by name");
    button.addEventListener("click", () => sortBy(table, head, column));
    head.append(button);
  });
  const filter = element("input", { type: "search", placeholder: "Filter rows" });
  filter.setAttribute("aria-label", `Filter rows of ${sheet.dataset.title}`);
  filter.addEventListener("input", () => {
    const wanted = filter.value.toLowerCase();
    for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
  const save = element("button", { type: "button", className: "csv", textContent: "CSV" });
  save.setAttribute("aria-label", `Download ${sheet.dataset.title} as CSV`);
  save.addEventListener("click", () => download(`${sheet.dataset.file}.csv`, csv(table)));
  sheet.prepend(element("div", { className: "tools" }, filter, save));
}
all(".sheet").forEach(equip);

// ---------------------------------------------------------------- overview

const score = document.getElementById("score");
function choose() {
  all(".matrix").forEach((matrix) => (matrix.hidden = matrix.dataset.score !== score.value));
}
score.addEventListener("change", choose);
choose();

// ---------------------------------------------------------------- search

const search = document.getElementById("search");
const hits = document.getElementById("hits");
let searchable = null;
let opened = [];

// Chapters and their parts by headings; rows by their texts, not their numbers, and figures by their captions,
// with the headings above them.
function collect() {
  const label = (row) => [...row.cells].filter((cell) => !("value" in cell.dataset)).map(line).join(" ");
  const heading = (section) => words(section.querySelector("h2, h3").textContent);
  const above = (item) => {
    const sections = [item.closest(".chapter"), item.parentElement.closest(".part")];
    return sections.filter(Boolean).map(heading).join(" ");
  };
  const entry = (item, text, isSection) => ({ item, text: text.toLowerCase(), isSection });
  return [
    ...all(".chapter").map((item) => entry(item, heading(item), true)),
    ...all(".part").map((item) => entry(item, `${above(item)} ${heading(item)}`, true)),
    ...all("tbody tr").map((item) => entry(item, `${above(item)} ${label(item)}`, false)),
    ...all("figcaption").map((item) => entry(item.parentElement, `${above(item)} ${line(item)}`, false)),
  ];
}

function reset() {
  document.body.classList.remove("searching");
  all(".hit").forEach((item) => item.classList.remove("hit", "whole"));
  opened.forEach((details) => (details.open = false));
  opened = [];
  hits.textContent = "";
}

function mark(item, isSection) {
  item.classList.add("hit");
  item.classList.toggle("whole", isSection);
  for (let outer = item.parentElement; outer !== document.body; outer = outer.parentElement) {
    outer.classList.add("hit");
    if (outer.tagName === "DETAILS" && !outer.open) {
      outer.open = true;
      opened.push(outer);
    }
  }
}

// What is inside a section that is a hit itself is shown and not counted again.
function find() {
  reset();
  const wanted = words(search.value.toLowerCase()).split(" ");
  if (!wanted[0]) return;
  searchable ??= collect();
  document.body.classList.add("searching");
  let count = 0;
  for (const { item, text, isSection } of searchable) {
    if (!wanted.every((word) => text.includes(word)) || item.closest("[hidden]")) continue;
    if (item.parentElement.closest(".whole")) continue;
    mark(item, isSection);
    count += 1;
  }
  hits.textContent = `${count} ${count === 1 ? "hit" : "hits"}`;
  document.querySelector(".chapter.hit")?.scrollIntoView();
}

let typing;
search.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(find, 150);
});

// ---------------------------------------------------------------- print and navigation

async function printAll() {
  const folded = all("main details:not([open])");
  folded.forEach((details) => (details.open = true));
  await Promise.all(all("figure img").map(load));
  addEventListener("afterprint", () => folded.forEach((details) => (details.open = false)), { once: true });
  print();
}
document.getElementById("print").addEventListener("click", printAll);
addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key !== "p") return;
  event.preventDefault();
  printAll();
});

const contents = document.getElementById("contents");
contents.addEventListener("click", (event) => {
  if (event.target.tagName === "A") contents.open = false;
});
contents.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  contents.open = false;
  contents.querySelector("summary").focus();
});

// A link into a part of the page that a search hides ends the search.
addEventListener("hashchange", () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target?.checkVisibility() !== false) return;
  search.value = "";
  reset();
  target.scrollIntoView();
});

document.documentElement.classList.add("with-scripts");
