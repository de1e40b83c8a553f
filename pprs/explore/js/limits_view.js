// The view of limits: constants on top, what is promised below.

import { menu, slider } from "./controls.js";
import { figureOf } from "./download.js";
import { formulaOf } from "./formulas.js";
import {
  depthRows, depthScene, lineLook, phaseCells, phaseRows, phaseScene, phasesInWords, placeInPhases,
  timesOverDepth, winnersIn,
} from "./limits_figures.js";
import { colour, drawMark, lookOf } from "./palette.js";
import { walkInWords } from "./phases.js";
import { REGIMES, boundsOf, fastest } from "./regimes.js";
import { Scene, drawScene } from "./scene.js";
import { change, constantsOf, state } from "./state.js";
import { sourceButton } from "./tip.js";
import { capital, element, family, shown, times } from "./words.js";

const convex = () => ["lipschitz", "smooth"].includes(state.regime);
const lipschitz = () => ["lipschitz", "nonconvex-lipschitz"].includes(state.regime);

export function controlsOfLimits() {
  return [
    slider({ key: "eps", symbol: "ε", name: "precision", min: 1e-4, max: 1, log: true }),
    slider({ key: "depth", symbol: "Δ", name: "depth", min: 1, max: 10000, log: true, whole: true }),
    slider({ key: "m", symbol: "m", name: "examples", min: 1, max: 10000, log: true, whole: true }),
    slider({
      key: "d", symbol: "d", name: "parameters", min: 1, max: 1e8, log: true, whole: true,
      shown: lipschitz,
    }),
    slider({
      key: "W", symbol: "W", name: "width, up to √d", min: 0.1, max: 1e4, log: true,
      none: () => Math.sqrt(state.d), shown: () => state.regime === "lipschitz",
    }),
    slider({
      key: "L", symbol: "L", name: "Lipschitz constant", min: 0.01, max: 100, log: true,
      shown: lipschitz,
    }),
    slider({
      key: "beta", symbol: "β", name: "smoothness", min: 0.01, max: 1e4, log: true,
      shown: () => !lipschitz(),
    }),
    slider({ key: "R", symbol: "R", name: "radius", min: 0.01, max: 100, log: true, shown: convex }),
    slider({
      key: "D", symbol: "D", name: "gap at the start", min: 0.01, max: 100, log: true,
      shown: () => !convex(),
    }),
    slider({
      key: "r", symbol: "r", name: "Goldstein radius", min: 1e-3, max: 10, log: true,
      shown: () => state.regime === "nonconvex-lipschitz",
    }),
    menu({
      key: "regime", name: "objective",
      options: Object.entries(REGIMES).map(([key, { name }]) => [key, name]),
    }),
    menu({
      key: "across", name: "map over Δ and",
      options: [["eps", "ε, precision"], ["m", "m, examples"]],
    }),
  ];
}

/** The view; `refresh` draws what the state says. */
export function limitsView() {
  const controls = controlsOfLimits();
  const answer = element("p", { class: "answer", "aria-live": "polite" });
  const crossings = element("ul", { class: "crossings" });
  const table = element("div", {
    class: "scroll", tabindex: 0, role: "region", "aria-label": "Guarantees",
  });
  let lines = null;
  let cells = null;
  const overDepth = figureOf({
    name: "guarantees", title: "Guarantees over depth",
    draw: (width) => depthScene(width, lines),
    rows: () => depthRows(lines),
    describe: () => `Pipeline time to the precision over depth 1 to 10,000, both logarithmic, for ` +
      `${lines[0].rows.map((row) => methodName(row.method)).join(", ")}; the table has the numbers.`,
  });
  const phases = figureOf({
    name: "phases", title: "Who promises least",
    draw: (width) => phaseScene(width, cells),
    rows: () => phaseRows(cells),
    describe: () => phasesInWords(cells),
    onpick: (x, y) => {
      const { clientWidth, clientHeight } = phases.figure.querySelector("canvas");
      const found = placeInPhases(clientWidth, clientHeight, x, y);
      if (found) change(found);
    },
  });
  const lineKey = element("ul", { class: "legend" });
  const areaKey = element("ul", { class: "legend" });
  overDepth.figure.append(lineKey);
  phases.figure.append(areaKey);
  const view = element(
    "div", {},
    element("div", { class: "controls" }, ...controls.map((control) => control.row)),
    answer, table,
    element("div", { class: "figures" }, overDepth.figure, phases.figure),
    element("h2", {}, "Where that changes"), crossings,
  );
  let waiting = null;
  function refresh() {
    for (const control of controls) control.refresh();
    try {
      const rows = boundsOf(state.regime, constantsOf(state));
      answer.replaceChildren(...answerOf(rows));
      answer.classList.remove("refused");
      table.replaceChildren(tableOf(rows));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      answer.replaceChildren(`${capital(error.message)}.`);
      answer.classList.add("refused");
      table.replaceChildren();
      view.classList.add("without-figures");
      return;
    }
    view.classList.remove("without-figures");
    if (waiting === null) waiting = requestAnimationFrame(figures);
  }
  function figures() {
    waiting = null;
    try {
      lines = timesOverDepth();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      view.classList.add("without-figures");
      return;
    }
    cells = phaseCells();
    overDepth.refresh();
    phases.refresh();
    legend(lineKey, lines[0].rows.map((row) => row.method), lineSwatch);
    legend(areaKey, winnersIn(cells), areaSwatch);
    const constants = constantsOf(state);
    const axes = ["depth", "eps", "m"];
    crossings.replaceChildren(
      ...axes.map((axis) => element("li", {}, walkInWords(state.regime, constants, axis))),
    );
  }
  return { view, refresh };
}

function methodName(method) {
  return method === "linear-span" ? "the lower bound" : method;
}

function answerOf(rows) {
  const best = fastest(rows);
  const lower = rows.find((row) => row.method === "linear-span");
  const others = rows.filter((row) => row.method !== "linear-span" && row !== best);
  const unlike = others.filter((row) => !row.method.startsWith("PPRS"));
  const next = unlike.length || others.length ? fastest(unlike.length ? unlike : others) : null;
  const parts = [
    element("strong", {}, `${capital(family(best.method))} promises least`),
    `: ${shown(best.bound.time)} units of pipeline time`,
  ];
  if (next && best.bound.time > 0 && next.bound.time > best.bound.time) {
    const ratio = next.bound.time / best.bound.time;
    parts.push(`, ${times(ratio)} times less than ${family(next.method)}`);
  }
  parts.push(". ");
  if (lower && lower.bound.time > 0) {
    const { time, dimension } = lower.bound;
    parts.push(`No linear-span procedure can promise less than ${shown(time)}, from d = ${shown(dimension)} on.`);
  } else if (!lower) {
    parts.push("No lower bound is known here.");
  } else {
    parts.push("The lower bound says nothing at this precision.");
  }
  return parts;
}

function tableOf(rows) {
  const best = fastest(rows);
  const heads = ["method", "time", "steps T", "K", "σ", "step η", "source"];
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map(({ method, bound }) => element(
    "tr", { class: method === best.method ? "best" : null },
    element("th", { scope: "row" }, rowName(method, bound.dimension)),
    element("td", {}, `${bound.dimension ? "≥" : "≤"} ${shown(bound.time)}`),
    ...["iterations", "samples", "sigma", "lr"].map((key) => element("td", {}, shown(bound[key]))),
    element("td", {}, sourceButton(bound.equation, formulaOf(state.regime, method))),
  ));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...body));
}

function rowName(method, dimension) {
  return dimension ? `linear-span, d ≥ ${shown(dimension)}` : method;
}

function legend(list, methods, swatch) {
  list.replaceChildren(...methods.map((method) => {
    const canvas = element("canvas", { "aria-hidden": "true" });
    drawScene(swatch(method), canvas);
    return element("li", {}, canvas, method === "linear-span" ? "lower bound" : method);
  }));
}

function lineSwatch(method) {
  const scene = new Scene(34, 12);
  const look = lineLook(method);
  scene.line([[1, 6], [33, 6]], look.line, look.width, look.dash);
  return scene;
}

function areaSwatch(method) {
  const scene = new Scene(34, 16);
  const look = lookOf(method);
  scene.rect(0, 0, 34, 16, look.area);
  for (const x of [9, 25]) drawMark(scene, look.mark, x, 8, 7, colour("mark"));
  return scene;
}
