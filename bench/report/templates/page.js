"use strict";
// Without this script the page shows all that it has; with it tables sort, samples can be picked, and
// tables and the finding can be copied.
(() => {
  const value = cell => {
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    const text = cell.textContent.trim();
    if (text === "–" || text === "") return null;
    const number = Number.parseFloat(text.replace("−", "-").replace(/[<,+\s]/g, ""));
    return Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const compare = (a, b) =>
    typeof a === typeof b ? (a < b ? -1 : a > b ? 1 : 0) : typeof a === "number" ? -1 : 1;

  // Numbers begin with the highest, words with the first; what has no value stays last.
  const sort = (table, column, button) => {
    const head = button.parentElement;
    const rows = [...table.tBodies[0].rows].map(row => [value(row.cells[column]), row]);
    const known = rows.filter(([v]) => v !== null);
    const before = head.getAttribute("aria-sort");
    const words = known.every(([v]) => typeof v === "string");
    const up = before ? before === "descending" : words;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    known.sort((a, b) => (up ? 1 : -1) * compare(a[0], b[0]));
    const blank = rows.filter(([v]) => v === null);
    table.tBodies[0].append(...[...known, ...blank].map(([, row]) => row));
  };

  for (const table of document.querySelectorAll("table:not([data-fixed])")) {
    if (table.tBodies[0].rows.length < 2) continue;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (head.tagName !== "TH") return;
      const button = document.createElement("button");
      button.append(...head.childNodes);
      const arrow = document.createElement("i");
      arrow.className = "sort";
      button.insertBefore(arrow, button.querySelector("small"));
      button.addEventListener("click", () => sort(table, column, button));
      head.append(button);
    });
  }

  // Copies are what a reader sees: a table as Markdown or as csv, the finding with its source.
  const copier = (words, text) => {
    const button = document.createElement("button");
    button.textContent = words;
    button.className = "copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text());
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = words; }, 2000);
    });
    return button;
  };
  const cells = row => [...row.cells].map(cell => {
    const note = cell.querySelector("small");
    const quiet = note ? ` ${note.textContent}` : "";
    const whole = cell.textContent.trim();
    return (note ? whole.slice(0, whole.length - note.textContent.length) + quiet : whole).trim();
  });
  const grid = table => [...table.rows].map(cells);
  const markdown = table => {
    const [head, ...rows] = grid(table).map(row => `| ${row.map(c => c.replaceAll("|", "\\|")).join(" | ")} |`);
    return [head, `|${" --- |".repeat(table.rows[0].cells.length)}`, ...rows].join("\n");
  };
  const csv = table => grid(table)
    .map(row => row.map(c => `"${c.replaceAll('"', '""')}"`).join(",")).join("\n");
  if (navigator.clipboard) {
    for (const table of document.querySelectorAll("table")) {
      const line = document.createElement("p");
      line.className = "copies";
      line.append(copier("Copy as Markdown", () => markdown(table)));
      line.append(copier("Copy as CSV", () => csv(table)));
      table.closest(".scroll").after(line);
    }
    const lead = document.querySelector(".lead");
    const said = lead.textContent.replace(/\s+/g, " ").trim();
    lead.after(copier("Copy this finding with its source", () => `“${said}” (${lead.dataset.source})`));
  }

  // What a link leads to is unfolded, and so is all that is printed.
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let e = target; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();
  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details")) fold.open = true;
  });

  const pick = document.getElementById("pick");
  if (!pick) return;
  const [set, family] = pick.querySelectorAll("select");
  const words = pick.querySelector("input");
  const samples = [...document.querySelectorAll(".sample")];
  const show = () => {
    let shown = 0;
    for (const sample of samples) {
      const wanted = sample.dataset.sets.split(" ").includes(set.value)
        && (!family.value || sample.dataset.family === family.value)
        && sample.textContent.toLowerCase().includes(words.value.trim().toLowerCase());
      sample.hidden = !wanted;
      shown += wanted;
    }
    pick.querySelector("output").textContent = `${shown} prompts`;
  };
  pick.hidden = false;
  pick.addEventListener("input", show);
  show();
})();
