// The view of schedules: numbers on top, the timetable below, and what follows from it.

import { choiceSlider, menu, slider } from "./controls.js";
import { figureOf } from "./download.js";
import { given } from "./given.js";
import { SCHEDULES } from "./schedules.js";
import { settingOf } from "./setting.js";
import { state } from "./state.js";
import { stepper } from "./stepper.js";
import { inSeconds, inUnits, taskLines, timelineScene } from "./timeline_figure.js";
import { verdictInWords, verdictOf } from "./verdict.js";
import { capital, element, percent } from "./words.js";

const placed = (placement) => SCHEDULES[state.schedule].placement === placement;
const simple = () => given.profile === null;

function controlsOfSchedule(fits) {
  const name = (key, symbol, text, more) => ({
    key, id: `step-${key}`, symbol, name: text, ...more,
  });
  const cost = { min: 0, max: 5, step: 0.25 };
  return [
    slider(name("K", "K", "perturbations", { min: 1, max: 128, log: true, whole: true, least: 1 })),
    slider(name("stages", "Δ", "stages", { min: 1, max: 64, log: true, whole: true, least: 1 })),
    slider(name("m", "m", "examples", { min: 1, max: 64, log: true, whole: true, least: 1 })),
    choiceSlider(name("M", "M", "microbatches of K · m rows", fits)),
    slider(name("f", "F", "forward, a row", { ...cost, shown: simple })),
    slider(name("b", "B", "backward, a row", { ...cost, shown: simple })),
    slider(name("fixed", "a", "fixed time of a pass", { ...cost, max: 20, shown: simple })),
    slider(name("latency", "ℓ", "latency of a link", { ...cost, max: 20, shown: simple })),
    slider(name("w", "W/B", "part of B that can wait", {
      min: 0, max: 1, step: 0.05, shown: () => Boolean(SCHEDULES[state.schedule].splits) && simple(),
    })),
    slider(name("each", "v", "stages on a device", {
      min: 1, max: 8, whole: true, least: 1, shown: () => placed("loop"),
    })),
    slider(name("eps", "ε", "precision, of LR", { min: 1e-4, max: 1, log: true })),
    slider(name("d", "d", "parameters", { min: 1, max: 1e8, log: true, whole: true, least: 1 })),
    menu({
      key: "schedule", id: "step-schedule", name: "schedule",
      options: Object.entries(SCHEDULES).map(([key, { label }]) => [key, label]),
    }),
    menu({
      key: "zoom", id: "step-zoom", name: "zoom",
      options: [1, 2, 4, 8].map((times) => [times, `${times}×`]),
    }),
  ];
}

/** The view; `refresh` draws what the state says. */
export function scheduleView() {
  let setting = null;
  const controls = controlsOfSchedule({
    values: () => setting?.fits ?? [], current: () => setting?.M,
  });
  const answer = element("p", { class: "answer", "aria-live": "polite" });
  const counts = element("p", { class: "counts" });
  const verdict = element("ul", { class: "verdict" });
  const unit = (value) => (setting.profile ? inSeconds(value) : inUnits(value));
  const named = (value) => (setting.profile ? inSeconds(value) : `${inUnits(value)} units`);
  const steps = stepper(() => setting?.table ?? null, unit);
  const timetable = figureOf({
    name: "timetable", title: "Timetable of a step",
    draw: (width) => timelineScene(Math.min(8000, width * Number(state.zoom)),
      [{ name: "", label: "device", rows: setting.table.rows }],
      { span: setting.table.makespan, unit, at: steps.time() }),
    rows: () => [
      ["device", "stage", "kind", "microbatch", "start", "end"], ...taskLines(setting.table.rows),
    ],
    describe: () => `${SCHEDULES[setting.schedule].label} on ${setting.devices} devices, ` +
      `${setting.M} microbatches: ${named(setting.table.makespan)} of time, ` +
      `${percent(setting.table.bubble)} of it bubble. The steps below it say what each device does.`,
  });
  timetable.frame.classList.add("scroll");
  for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", "Timetable"]]) {
    timetable.frame.setAttribute(name, value);
  }
  const key = element("ul", { class: "legend" });
  timetable.figure.append(key, steps.part);
  const view = element(
    "div", {},
    element("div", { class: "controls" }, ...controls.map((control) => control.row)),
    answer, counts, timetable.figure,
    element("h2", {}, "Who wins, by what is proved"), verdict,
  );
  function refresh(changed = null) {
    const stepped = changed !== null && changed.every((key) => key === "t");
    if (!stepped) setting = settingOf(state, given.profile);
    for (const control of controls) control.refresh();
    view.classList.toggle("without-figures", Boolean(setting.refused));
    answer.classList.toggle("refused", Boolean(setting.refused));
    if (setting.refused) {
      answer.replaceChildren(setting.refused);
      return;
    }
    steps.refresh();
    timetable.refresh();
    key.replaceChildren(...kinds(setting.table.rows));
    if (!stepped) sentences();
  }
  function sentences() {
    const { table, devices, stages, M, rows } = setting;
    const where = stages === devices ? `${devices} devices` : `${stages} stages on ${devices} devices`;
    counts.textContent = `${capital(where)}, ${M} microbatches of ${rows} ` +
      `${rows === 1 ? "row" : "rows"}: a step takes ${named(table.makespan)}; bubbles are ` +
      `${percent(table.bubble)} of all devices' time, in ${table.gaps} stretches.` +
      (setting.profile ? ` Costs are those measured of ${setting.profile.model}.` : "") +
      (stages === state.stages ? "" : ` (Δ = ${state.stages} does not fit.)`);
    let lines;
    try {
      const found = verdictOf(setting);
      lines = found ? verdictInWords(setting, found, named) : ["That is too large to compare here."];
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      lines = [`${capital(error.message)}.`];
    }
    const first = lines[0].indexOf(": ");
    answer.replaceChildren(
      element("strong", {}, lines[0].slice(0, Math.max(0, first))), lines[0].slice(Math.max(0, first)),
    );
    const always = "It loses wherever the objective is smooth: Nesterov's method needs no noise there " +
      "(see Limits). Guarantees are for the worst convex L-Lipschitz objective; yours may be milder.";
    verdict.replaceChildren(...[...lines.slice(1), always].map((line) => element("li", {}, line)));
  }
  return { view, refresh };
}

/** What the colours stand for, of the kinds that there are. */
function kinds(rows) {
  const there = new Set(["idle", ...rows.flatMap((row) => row.map((task) => task.kind))]);
  const names = {
    F: "forward", B: "backward", I: "backward by inputs", W: "backward by weights", idle: "bubble",
  };
  return Object.entries(names).filter(([kind]) => there.has(kind)).map(([kind, name]) => element(
    "li", {}, element("span", { class: `swatch ${kind}`, "aria-hidden": "true" },
      kind === "idle" ? "" : kind), name,
  ));
}
