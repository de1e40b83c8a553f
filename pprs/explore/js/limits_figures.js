// The figures of the view of limits: guarantees over depth, and who promises least where.

import { colour, drawMark, lookOf } from "./palette.js";
import { AXES, axisValue, phasesOf } from "./phases.js";
import { logPlot } from "./plot.js";
import { REGIMES, boundsOf } from "./regimes.js";
import { Scene } from "./scene.js";
import { constantsOf, state } from "./state.js";
import { family, shown } from "./words.js";

const POINTS = 33;

/** Rows of depth and the times of the lower bound and all methods there. */
export function timesOverDepth() {
  const constants = constantsOf(state);
  const lines = [];
  for (let i = 0; i < POINTS; i++) {
    const depth = axisValue(AXES.depth, i / (POINTS - 1));
    if (lines.length && depth === lines[lines.length - 1].depth) continue;
    lines.push({ depth, rows: quickBounds({ ...constants, depth }) });
  }
  return lines;
}

function quickBounds(constants) {
  const { lower, methods } = REGIMES[state.regime];
  const rows = lower ? [{ method: "linear-span", time: lower(constants).time }] : [];
  for (const [method, bound] of Object.entries(methods(constants))) {
    rows.push({ method, time: bound(constants, true).time });
  }
  return rows;
}

/** Guarantees over depth as lines, with their names at the right end. */
export function depthScene(width, lines) {
  const scene = new Scene(width, Math.round(Math.min(420, Math.max(300, width * 0.6))));
  const times = lines.flatMap((line) => line.rows.map((row) => row.time)).filter((t) => t > 0);
  const low = 10 ** Math.floor(Math.log10(Math.min(...times, 1e300)));
  const high = 10 ** Math.ceil(Math.log10(Math.max(...times, 10)));
  const plot = logPlot(scene, {
    left: 46, right: 22, top: 26, bottom: 42, x: [1, AXES.depth.high],
    y: [Math.min(low, high / 10), high], xName: "depth Δ", yName: "pipeline time",
  });
  const here = Math.min(Math.max(state.depth, 1), AXES.depth.high);
  scene.line(
    [[plot.xOf(here), 26], [plot.xOf(here), 26 + plot.high]], colour("muted"), 1, [2, 3],
  );
  for (const { method } of lines[0].rows) {
    const points = lines
      .map((line) => [plot.xOf(line.depth), line.rows.find((row) => row.method === method)?.time])
      .filter(([, time]) => time > 0)
      .map(([x, time]) => [x, plot.yOf(time)]);
    const look = lineLook(method);
    if (points.length) scene.line(points, look.line, look.width, look.dash);
  }
  return scene;
}

export function lineLook(method) {
  if (method === "linear-span") return { line: colour("ink"), dash: [1, 3], width: 1.5 };
  return { ...lookOf(family(method)), width: family(method) === "PPRS" ? 3.5 : 2 };
}

export function depthRows(lines) {
  const methods = lines[0].rows.map((row) => row.method);
  const exact = (depth) => boundsOf(state.regime, { ...constantsOf(state), depth });
  return [
    ["depth", ...methods.map((method) => (method === "linear-span" ? "lower bound" : method))],
    ...lines.map(({ depth }) => {
      const rows = exact(depth);
      const timeOf = (method) => rows.find((row) => row.method === method)?.bound.time;
      return [depth, ...methods.map(timeOf)];
    }),
  ];
}

/** The plane of depth and precision or examples, and who promises least in each cell. */
export function phaseCells() {
  const { regime, across, eps, L, R, d, W, beta, D, r, m } = state;
  // The plane goes over depth and one of ε and m; it changes with the rest.
  const rest = across === "eps" ? m : eps;
  const key = [regime, across, L, R, d, W, beta, D, r, rest].join();
  if (plane?.key !== key) {
    plane = { key, cells: phasesOf(regime, constantsOf(state), across, 64, 40) };
  }
  return plane.cells;
}

let plane = null;

const FRAME = { left: 46, right: 22, top: 26, bottom: 42 };

export function phaseScene(width, cells) {
  const scene = new Scene(width, Math.round(Math.min(420, Math.max(300, width * 0.6))));
  const { left, right, top, bottom } = FRAME;
  const wide = (width - left - right) / cells[0].length;
  const high = (scene.height - top - bottom) / cells.length;
  cells.forEach((row, j) => {
    const y = top + high * (cells.length - 1 - j);
    for (let i = 0, end; i < row.length; i = end) {
      for (end = i + 1; end < row.length && row[end].winner === row[i].winner; ) end += 1;
      if (row[i].winner === null) continue;
      const look = lookOf(row[i].winner);
      scene.rect(left + wide * i, y, wide * (end - i) + 0.4, high + 0.4, look.area);
    }
  });
  marks(scene, cells, wide, high);
  const axis = AXES[state.across];
  const plot = logPlot(scene, {
    ...FRAME, x: [1, AXES.depth.high], y: [axis.low, axis.high], xName: "depth Δ",
    yName: `${axis.name} ${axis.symbol}`,
  });
  names(scene, cells, wide, high);
  const value = state.across === "eps" ? state.eps : state.m;
  if (value >= axis.low && value <= axis.high && state.depth <= AXES.depth.high) {
    const [x, y] = [plot.xOf(state.depth), plot.yOf(value)];
    scene.circle(x, y, 7, colour("page"), 4);
    scene.circle(x, y, 7, colour("ink"), 2);
  }
  return scene;
}

/** A mark in every second cell, so that areas differ without colours. */
function marks(scene, cells, wide, high) {
  const ink = colour("mark");
  cells.forEach((row, j) => row.forEach(({ winner }, i) => {
    if (winner === null || (i + j) % 2 || i % 2) return;
    const x = FRAME.left + wide * (i + 0.5);
    const y = FRAME.top + high * (cells.length - 0.5 - j);
    drawMark(scene, lookOf(winner).mark, x, y, 6, ink);
  }));
}

/** The name of each method where it wins most around. */
function names(scene, cells, wide, high) {
  const places = new Map();
  cells.forEach((row, j) => row.forEach(({ winner }, i) => {
    if (winner === null) return;
    if (!places.has(winner)) places.set(winner, { i: 0, j: 0, count: 0 });
    const place = places.get(winner);
    place.i += i;
    place.j += j;
    place.count += 1;
  }));
  for (const [winner, { i, j, count }] of places) {
    if (count < cells.length * cells[0].length * 0.06) continue;
    const x = FRAME.left + wide * (i / count + 0.5);
    const y = FRAME.top + high * (cells.length - 0.5 - j / count) + 4;
    const half = winner.length * 3.4 + 4; // about half as wide as its text
    const inside = Math.min(Math.max(x, FRAME.left + half), scene.width - FRAME.right - half);
    scene.text(inside, y, winner, colour("ink"), {
      anchor: "middle", bold: true, halo: colour("page"), size: 13,
    });
  }
}

export function phaseRows(cells) {
  const axis = AXES[state.across];
  const lines = cells.flat().map(({ depth, value, winner, time }) => [depth, value, winner, time]);
  return [["depth", axis.name, "least promised by", "time"], ...lines];
}

/** The constants at a place of the figure, or null beside it. */
export function placeInPhases(width, height, x, y) {
  const i = (x - FRAME.left) / (width - FRAME.left - FRAME.right);
  const j = 1 - (y - FRAME.top) / (height - FRAME.top - FRAME.bottom);
  if (i < 0 || i > 1 || j < 0 || j > 1) return null;
  const value = axisValue(AXES[state.across], j);
  const rounded = state.across === "m" ? value : Number(value.toPrecision(2));
  return { depth: axisValue(AXES.depth, i), [state.across]: rounded };
}

export function phasesInWords(cells) {
  const all = cells.flat();
  const parts = new Map();
  for (const { winner } of all) parts.set(winner, (parts.get(winner) ?? 0) + 1);
  const list = [...parts].sort((one, other) => other[1] - one[1]).map(
    ([winner, count]) => `${winner ?? "no method"} in ${shown((100 * count) / all.length, 2)} %`,
  );
  const axis = AXES[state.across];
  return `Over depth 1 to 10,000 and ${axis.name} ${shown(axis.low)} to ${shown(axis.high)}, least ` +
    `is promised by ${list.join(", by ")} of the plane.`;
}

export function winnersIn(cells) {
  return [...new Set(cells.flat().map((cell) => cell.winner))].filter((winner) => winner !== null);
}
