// A figure with its caption, and what it can be saved as: PNG, SVG and CSV.

import { drawScene, sceneAsSVG } from "./scene.js";
import { element } from "./words.js";

/**
 * A figure. `draw(width)` gives its scene for a width, `rows()` its numbers: a heading and lines.
 * `describe()` is what it says to who cannot see it.
 */
export function figureOf({ name, title, draw, rows, describe, onpick = null }) {
  const canvas = element("canvas", { role: "img" });
  const frame = element("div", { class: "frame" }, canvas);
  const caption = element("figcaption", {}, title);
  const buttons = element("div", { class: "downloads" });
  for (const kind of ["PNG", "SVG", "CSV"]) {
    buttons.append(
      element(
        "button",
        { type: "button", onclick: () => save(kind), "aria-label": `Download ${title} as ${kind}` },
        kind,
      ),
    );
  }
  const head = element("div", { class: "figure-head" }, caption, buttons);
  const figure = element("figure", { id: `figure-${name}` }, head, frame);
  let scene = null;
  const refresh = () => {
    if (!frame.clientWidth) return; // in the view that is not shown
    scene = draw(frame.clientWidth);
    drawScene(scene, canvas);
    canvas.setAttribute("aria-label", describe());
  };
  if (onpick) {
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      onpick(event.clientX - box.left, event.clientY - box.top);
    });
  }
  function save(kind) {
    if (kind === "CSV") return keep(`${name}.csv`, new Blob([asCSV(rows())], { type: "text/csv" }));
    if (kind === "SVG") {
      const text = sceneAsSVG(scene, `${title}. ${describe()}`);
      return keep(`${name}.svg`, new Blob([text], { type: "image/svg+xml" }));
    }
    const large = document.createElement("canvas");
    drawScene(scene, large, 2);
    return large.toBlob((blob) => keep(`${name}.png`, blob), "image/png");
  }
  return { figure, frame, head, caption, refresh };
}

function keep(name, blob) {
  const address = URL.createObjectURL(blob);
  const link = element("a", { href: address, download: `pprs-${name}` });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
}

/** Lines of values as CSV, with every digit. */
export function asCSV(lines) {
  const cell = (value) => {
    const text = value === null || value === undefined ? "" : String(value);
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return lines.map((line) => `${line.map(cell).join(",")}\n`).join("");
}
