// Colours of the page as it is now, light or dark, and how each method and kind of task looks.

/** The colour that a variable of the style sheet stands for. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

// Of each method: a colour, a dash for lines, and a mark for areas, which black and white keep.
const LOOKS = {
  "subgradient descent": ["blue", [], "slash"],
  "gradient descent": ["blue", [], "slash"],
  "delayed gradients": ["purple", [2, 3], "cross"],
  "randomized smoothing": ["orange", [8, 4], "dot"],
  AGD: ["green", [], "none"],
  "PPRS as published": ["teal", [6, 3, 2, 3], "backslash"],
  "PPRS, noise shared": ["pink", [10, 3], "ring"],
  PPRS: ["green", [], "none"],
};

export function lookOf(method) {
  const [name, dash, mark] = LOOKS[method] ?? ["purple", [2, 2], "cross"];
  return { line: colour(`${name}-line`), area: colour(`${name}-area`), dash, mark };
}

/** A small mark in the middle of a square. */
export function drawMark(scene, mark, x, y, size, ink) {
  const h = size / 2;
  if (mark === "slash" || mark === "cross") scene.line([[x - h, y + h], [x + h, y - h]], ink);
  if (mark === "backslash" || mark === "cross") scene.line([[x - h, y - h], [x + h, y + h]], ink);
  if (mark === "dot") scene.rect(x - 1, y - 1, 2, 2, ink);
  if (mark === "ring") scene.circle(x, y, h * 0.7, ink, 1);
}

export function taskColour(kind) {
  return colour({ F: "task-forward", B: "task-backward", I: "task-input", W: "task-weight" }[kind]);
}
