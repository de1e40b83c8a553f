// Axes of figures: logarithmic, with a tick for each power of ten.

import { colour } from "./palette.js";
import { raised } from "./words.js";

/** The frame of a plot in a scene, and the places of values in it. */
export function logPlot(scene, { left, right, top, bottom, x, y, xName, yName }) {
  const ink = colour("muted");
  const grid = colour("rule");
  const wide = scene.width - left - right;
  const high = scene.height - top - bottom;
  const place = (range, value) => Math.log(value / range[0]) / Math.log(range[1] / range[0]);
  const xOf = (value) => left + wide * place(x, value);
  const yOf = (value) => top + high * (1 - place(y, value));
  for (const power of powers(x, wide / 44)) {
    const at = xOf(10 ** power);
    scene.line([[at, top], [at, top + high]], grid);
    scene.text(at, top + high + 16, ten(power), ink, { size: 11, anchor: "middle" });
  }
  for (const power of powers(y, high / 30)) {
    const at = yOf(10 ** power);
    scene.line([[left, at], [left + wide, at]], grid);
    scene.text(left - 6, at + 4, ten(power), ink, { size: 11, anchor: "end" });
  }
  scene.text(left + wide, top + high + 34, xName, ink, { size: 12, anchor: "end" });
  scene.text(left, top - 8, yName, ink, { size: 12 });
  return { xOf, yOf, wide, high };
}

/** The powers of ten in a range, no more than fit. */
function powers([low, high], most) {
  const first = Math.ceil(Math.log10(low) - 1e-9);
  const last = Math.floor(Math.log10(high) + 1e-9);
  const apart = Math.max(1, Math.ceil((last - first + 1) / Math.max(2, most)));
  const found = [];
  for (let power = first; power <= last; power += apart) found.push(power);
  return found;
}

function ten(power) {
  if (power >= 0 && power <= 4) return (10 ** power).toLocaleString("en-US");
  if (power < 0 && power >= -3) return String(10 ** power);
  return `10${raised(power)}`;
}
