// The source of a row as a button that shows its formula, by pointer, keyboard or touch.

import { element } from "./words.js";

export function sourceButton(source, formula) {
  const button = element("button", {
    type: "button", class: "source", "aria-describedby": "formula",
    onmouseenter: () => showFormula(button, formula), onfocus: () => showFormula(button, formula),
    onclick: () => showFormula(button, formula), onmouseleave: hideFormula, onblur: hideFormula,
    onkeydown: (event) => { if (event.key === "Escape") hideFormula(); },
  }, source);
  return button;
}

function showFormula(button, formula) {
  const tip = document.getElementById("formula");
  tip.innerHTML = formula;
  tip.hidden = formula === "";
  const box = button.getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  const room = document.documentElement.clientWidth - width - 8;
  const below = box.bottom + 6 + height < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(box.left, room))}px`;
  tip.style.top = `${below ? box.bottom + 6 : Math.max(8, box.top - height - 6)}px`;
}

function hideFormula() {
  document.getElementById("formula").hidden = true;
}
