// Sliders with a number beside each: the slider for a look around, the number to be exact.

import { change, state } from "./state.js";
import { element, shown } from "./words.js";

const PLACES = 400;

/**
 * A row of a slider and a number for a field of the state.
 * Spec: key, symbol, name, min, max, whole, log, and `note()` for what is beside it.
 */
export function slider(spec) {
  const range = element("input", {
    type: "range", id: `slide-${spec.id ?? spec.key}`, min: 0, max: spec.log ? PLACES : String(spec.max - spec.min),
    step: spec.log ? 1 : spec.step ?? 1,
    oninput: () => change({ [spec.key]: valueAt(spec, Number(range.value)) }),
  });
  const number = element("input", {
    type: "number", id: `number-${spec.id ?? spec.key}`, "aria-label": `${spec.name}, exact`, step: "any",
    min: 0, oninput: () => typed(spec, number),
  });
  const label = element(
    "label", { for: range.id }, element("b", {}, spec.symbol), ` ${spec.name}`,
  );
  const row = element("div", { class: "control", "data-key": spec.key }, label, range, number);
  const refresh = () => {
    const value = state[spec.key];
    // Several places may stand for one whole number: then the slider stays where it is.
    if (valueAt(spec, Number(range.value)) !== value) {
      range.value = String(placeOf(spec, value ?? spec.none?.() ?? spec.min));
    }
    range.setAttribute("aria-valuetext", value === null ? "not given" : shown(value, 4));
    if (document.activeElement !== number || Number(number.value) !== value) {
      number.value = value === null ? "" : String(value);
    }
    number.placeholder = value === null && spec.none ? shown(spec.none()) : "";
    row.hidden = spec.shown ? !spec.shown() : false;
  };
  return { row, refresh };
}

function typed(spec, number) {
  if (number.value === "" && spec.none) return change({ [spec.key]: null });
  const value = Number(number.value);
  const fits = number.value !== "" && Number.isFinite(value) && value >= (spec.least ?? 0) &&
    (!spec.whole || Number.isInteger(value));
  number.setAttribute("aria-invalid", String(!fits));
  if (fits) change({ [spec.key]: value });
}

export function valueAt(spec, place) {
  if (!spec.log) return spec.min + place;
  const value = spec.min * (spec.max / spec.min) ** (place / PLACES);
  return spec.whole ? Math.round(value) : Number(value.toPrecision(3));
}

export function placeOf(spec, value) {
  if (!spec.log) return value - spec.min;
  const place = (PLACES * Math.log(value / spec.min)) / Math.log(spec.max / spec.min);
  return Math.round(Math.min(PLACES, Math.max(0, place)));
}

/** A slider over the values of a list, which may change. */
export function choiceSlider(spec) {
  const range = element("input", {
    type: "range", id: `slide-${spec.id ?? spec.key}`, min: 0, step: 1,
    oninput: () => change({ [spec.key]: spec.values()[Number(range.value)] }),
  });
  const output = element("output", { for: range.id });
  const label = element(
    "label", { for: range.id }, element("b", {}, spec.symbol), ` ${spec.name}`,
  );
  const row = element("div", { class: "control", "data-key": spec.key }, label, range, output);
  const refresh = () => {
    const values = spec.values();
    const value = spec.current();
    range.max = String(Math.max(0, values.length - 1));
    range.disabled = values.length < 2;
    range.value = String(Math.max(0, values.indexOf(value)));
    range.setAttribute("aria-valuetext", String(value ?? "none"));
    output.textContent = value === undefined ? "–" : String(value);
  };
  return { row, refresh };
}

/** A menu for a field of the state: options are its values and their labels. */
export function menu(spec) {
  const select = element("select", {
    id: `menu-${spec.id ?? spec.key}`, onchange: () => change({ [spec.key]: select.value }),
  });
  for (const [value, text] of spec.options) select.append(element("option", { value }, text));
  const row = element(
    "div", { class: "control menu", "data-key": spec.key },
    element("label", { for: select.id }, spec.name), select,
  );
  return { row, refresh: () => { select.value = state[spec.key]; } };
}
