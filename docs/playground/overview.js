// The first page: a card for each part, with its picture.

import { Chart } from "./chart.js";
import { element } from "./stage.js";

function build(stage) {
  const cards = element("div", { class: "pg-cards" });
  stage.body.append(cards);
  const pictures = stage.part.parts.map((part) => {
    const card = element("a", { class: "pg-card", href: `${part.name}/#lang=${stage.language}` });
    const margin = { left: 0.2, right: 0.2, top: 0.6, bottom: 0.3 };
    const chart = new Chart(stage, card, { label: part.name, shape: () => 11, margin, bare: true });
    chart.svg.setAttribute("role", "presentation");
    chart.svg.removeAttribute("aria-label");
    card.append(element("h2", {}, stage.text(`${part.name}.title`)), element("p", {}, stage.text(`${part.name}.card`)));
    cards.append(card);
    return () => part.thumbnail(stage, chart);
  });
  return () => pictures.forEach((paint) => paint());
}

/** The overview of the given parts. It has no numbers, and so no unit. */
export const overviewOf = (parts) => ({
  name: "overview",
  unit: null,
  parts,
  defaults: {},
  read: () => ({}),
  write: () => ({}),
  build,
});
