// Marks of figures tell their values: to a pointer near them, and to the arrow keys. Without this
// script a browser shows the same words when a mark is hovered.
(() => {
  const NEAR = 28; // pixels between a pointer and a mark that tells
  const STEPS = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1};
  const tip = document.createElement("output");
  const ring = document.createElement("i");
  tip.className = "tip";
  ring.className = "ring";
  tip.id = "tip";
  document.body.append(ring, tip);

  const hide = () => { tip.hidden = ring.hidden = true; };
  const tell = (box, words) => {
    tip.textContent = words;
    tip.hidden = false;
    const left = box.x + box.width / 2 - tip.offsetWidth / 2;
    const room = document.documentElement.clientWidth - tip.offsetWidth - 4;
    const above = box.y - tip.offsetHeight - 10;
    tip.style.left = `${scrollX + Math.max(4, Math.min(left, room))}px`;
    tip.style.top = `${scrollY + (above > 0 ? above : box.bottom + 10)}px`;
  };
  const circle = box => {
    ring.hidden = box.width > 2 * NEAR;
    ring.style.left = `${scrollX + box.x + box.width / 2}px`;
    ring.style.top = `${scrollY + box.y + box.height / 2}px`;
  };
  hide();
  addEventListener("keydown", event => event.key === "Escape" && hide());

  const away = (box, x, y) => Math.hypot(
    Math.max(box.left - x, 0, x - box.right), Math.max(box.top - y, 0, y - box.bottom));
  const seen = mark => getComputedStyle(mark.node).visibility === "visible";

  for (const svg of document.querySelectorAll("figure svg")) {
    const marks = [...svg.querySelectorAll("title")].map(title => {
      const mark = {node: title.parentElement, words: title.textContent};
      title.remove();
      return mark;
    });
    if (!marks.length) continue;
    let at = -1;
    const show = mark => {
      const box = mark.node.getBoundingClientRect();
      tell(box, mark.words);
      circle(box);
    };
    svg.tabIndex = 0;
    svg.setAttribute("aria-label", `${svg.getAttribute("aria-label")} Arrow keys read its values.`);
    svg.addEventListener("pointermove", event => {
      const {clientX: x, clientY: y} = event;
      const found = marks.filter(seen).map(mark => {
        const box = mark.node.getBoundingClientRect();
        return {mark, far: away(box, x, y), size: box.width * box.height};
      }).sort((a, b) => a.far - b.far || a.size - b.size)[0];
      if (found && found.far < NEAR) show(found.mark); else hide();
    });
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("blur", hide);
    svg.addEventListener("keydown", event => {
      const step = STEPS[event.key], shown = marks.filter(seen);
      if (!step || !shown.length) return;
      event.preventDefault();
      at = (at + step + shown.length) % shown.length;
      show(shown[at]);
    });
  }

  // A method is hidden by its colour: marks, intervals, bands and names alike.
  for (const keys of document.querySelectorAll(".keys")) {
    const drawings = [...keys.parentElement.querySelectorAll("svg")];
    for (const svg of drawings) {
      const sheet = svg.querySelector("style").sheet;
      for (const {selectorText, cssText} of [...sheet.cssRules]) {
        for (const [, colour] of cssText.matchAll(/var\(--(m\d)\)/g)) {
          const off = selectorText.replace(".figure-", `.off-${colour}.figure-`);
          sheet.insertRule(`${off}{visibility:hidden}`, sheet.cssRules.length);
        }
      }
    }
    for (const button of keys.querySelectorAll("button")) {
      const wanted = button.dataset.off;
      const has = wanted === "runs" ? "[data-seed]" : "svg";
      if (!drawings.some(svg => svg.matches(has) || svg.querySelector(has))) button.remove();
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") === "false";
        button.setAttribute("aria-pressed", on);
        for (const svg of drawings) svg.classList.toggle(`off-${wanted}`, !on);
      });
    }
    keys.hidden = false;
  }

  // Names of measures explain themselves, and so do terms at their first mention in a section.
  const explain = (node, words) => {
    const show = () => tell(node.getBoundingClientRect(), words);
    for (const event of ["pointerenter", "focusin"]) node.addEventListener(event, show);
    for (const event of ["pointerleave", "focusout"]) node.addEventListener(event, hide);
  };
  for (const head of document.querySelectorAll("th[title]")) {
    explain(head, head.title);
    head.removeAttribute("title");
  }
  const meanings = [...document.querySelectorAll("#words dt")]
    .map(term => [term.textContent, term.nextElementSibling.textContent]);
  const mark = (text, left) => {
    if (!left.size) return;
    const found = text.data.match(new RegExp(`(?<![\\w-])(${[...left.keys()].join("|")})s?(?![\\w-])`));
    if (!found) return;
    const said = text.splitText(found.index);
    const rest = said.splitText(found[0].length);
    const term = document.createElement("dfn");
    term.tabIndex = 0;
    explain(term, left.get(found[1]));
    left.delete(found[1]);
    said.replaceWith(term);
    term.append(said);
    mark(rest, left);
  };
  for (const section of document.querySelectorAll("main > section")) {
    const left = new Map(meanings);
    for (const prose of section.querySelectorAll(".plainly, .points dd, .note, figcaption")) {
      for (const node of [...prose.childNodes]) if (node.nodeType === Node.TEXT_NODE) mark(node, left);
    }
  }
})();
