// A recorded run laid over the model: predicted above, measured below, on one axis of time.

import { figureOf } from "./download.js";
import { given } from "./given.js";
import { orderOf } from "./orders.js";
import { readProfile } from "./profile.js";
import { SCHEDULES, misfit, ownersOf } from "./schedules.js";
import { byDevice, sharesOf } from "./shares.js";
import { change, state } from "./state.js";
import { inSeconds, taskLines, timelineScene } from "./timeline_figure.js";
import { timetableOf } from "./timetable.js";
import { FileError, operationsOf, readTrace } from "./trace.js";
import { element, percent } from "./words.js";

const MOST_LISTED = 64; // stages in the table

export function traceView() {
  let shares = null;
  let predicted = null;
  let measured = null;
  let step = 0;
  const taken = {}; // what was read of each kind, in a sentence
  const input = element("input", {
    type: "file", id: "run-file", accept: ".json,application/json",
    onchange: () => { if (input.files.length) read(input.files[0]); },
  });
  const status = element("p", { class: "status", role: "status" });
  const answer = element("p", { class: "answer" });
  const range = element("input", {
    type: "range", id: "run-step", min: 0, step: 1,
    oninput: () => { step = given.trace.steps[Number(range.value)]; draw(); },
  });
  const output = element("output", { for: "run-step" });
  const chooser = element(
    "div", { class: "control" }, element("label", { for: "run-step" }, "step of the run"), range, output,
  );
  const timeline = figureOf({
    name: "run", title: "A step of your run under its schedule",
    draw: (width) => {
      const span = Math.max(predicted.table.makespan, measured.span);
      return timelineScene(Math.min(8000, width * Number(state.zoom)), [
        { name: predicted.name, label: "rank", rows: predicted.table.rows },
        { name: `Measured: ${inSeconds(measured.span)}`, label: "rank", rows: measured.rows },
      ], { span, unit: inSeconds });
    },
    rows: () => [
      ["what", "rank", "stage", "kind", "microbatch", "start", "end"],
      ...taskLines(predicted.table.rows, "predicted"), ...taskLines(measured.rows, "measured"),
    ],
    describe: () => `${predicted.name}; measured ${inSeconds(measured.span)}. The table has the shares.`,
  });
  timeline.frame.classList.add("scroll");
  for (const [name, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", "Your run"]]) {
    timeline.frame.setAttribute(name, value);
  }
  const table = element("div", {
    class: "scroll", tabindex: 0, role: "region", "aria-label": "Shares of a step's time",
  });
  const found = element("div", { hidden: true }, answer, chooser, timeline.figure, table);
  const view = element(
    "section", { class: "run", "aria-labelledby": "run-title" },
    element("h2", { id: "run-title" }, "Your own run"),
    element("p", { class: "drop" },
      element("label", { for: "run-file" }, "A timeline (from --trace) or a profile of a model " +
        "(from pprs plan --save-profile), dropped anywhere or chosen: "), input),
    status, found,
  );
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) read(event.dataTransfer.files[0]);
  });
  async function read(file) {
    take(await file.text(), file.name);
  }

  /** Take a file's text, whichever of the two it is; what is neither is named. */
  function take(text, name) {
    try {
      if (text.includes('"pprs profile')) takeProfile(readProfile(text, name), name);
      else takeTrace(readTrace(text, name), name);
      status.textContent = Object.values(taken).join(" ");
      status.classList.remove("refused");
    } catch (error) {
      if (!(error instanceof FileError)) console.error(error);
      const named = error.message.includes(name) ? "" : `${name} cannot be shown: `;
      status.textContent = `${named}${error.message}.`;
      status.classList.add("refused");
    }
  }

  function takeProfile(profile, name) {
    given.profile = profile;
    taken.profile = `${name}: the costs of ${profile.model}, in seconds, cut where the slowest ` +
      "stage is fastest.";
    change({ view: "schedule", m: profile.batch });
  }
  function takeTrace(trace, name) {
    const computed = sharesOf(trace); // refuses what is not complete, before anything is shown
    [given.trace, shares] = [trace, computed];
    step = trace.steps[trace.steps.length - 1];
    range.max = String(trace.steps.length - 1);
    taken.trace = `${name}: ${trace.schedule}, ${trace.stages} stages, ` +
      `${trace.microbatches} microbatches, ${trace.events.length.toLocaleString("en-US")} events.`;
    found.hidden = false;
    draw();
    if (state.view !== "schedule") change({ view: "schedule" });
    view.scrollIntoView();
  }
  function draw() {
    measured = measuredStep(given.trace, step);
    predicted = predictedStep(given.trace, step, shares.medians);
    range.value = String(given.trace.steps.indexOf(step));
    output.textContent = String(step);
    const idle = measuredIdle(shares);
    answer.textContent = `A step takes ${inSeconds(shares.seconds)} (median of ` +
      `${shares.steps.length}); its passes alone, in the same order, ${inSeconds(shares.ideal)}: ` +
      `efficiency ${percent(shares.ideal / shares.seconds)}. Idle are ${percent(idle)} of the time, ` +
      `${percent(predicted.table.bubble)} by the schedule itself.`;
    table.replaceChildren(shareTable(shares));
    timeline.refresh();
  }
  return { view, take, refresh: () => { if (given.trace) timeline.refresh(); } };
}

function measuredStep(trace, step) {
  const some = operationsOf(trace, step);
  const begin = some[0].start;
  const moved = some.map((e) => ({ ...e, start: e.start - begin, end: e.end - begin }));
  return { rows: byDevice(moved), span: moved.reduce((most, e) => Math.max(most, e.end), 0) };
}

/** The schedule's own order with the medians, or the order that was measured. */
function predictedStep(trace, step, medians) {
  const some = operationsOf(trace, step);
  const devices = trace.ranks.length;
  const each = trace.stages / devices;
  const { schedule, microbatches } = trace;
  const known = Object.hasOwn(SCHEDULES, schedule) && Number.isInteger(each) &&
    misfit(schedule, devices, each, microbatches) === null;
  const owners = new Array(trace.stages);
  for (const e of some) owners[e.stage] = e.device;
  const stillThere = new Set(some.map((e) => `${e.device} ${e.kind} ${e.stage} ${e.microbatch}`));
  const own = known ? orderOf(schedule, devices, each, microbatches) : [];
  const same = own.flat().length === some.length && own.every((row, device) =>
    row.every(([kind, stage, m]) => stillThere.has(`${device} ${kind} ${stage} ${m}`)));
  const order = same ? own
    : byDevice(some).map((row) => row.map((e) => [e.kind, e.stage, e.microbatch]));
  const latency = new Array(Math.max(0, trace.stages - 1)).fill(0);
  const cost = (kind, stage) => medians.get(`${kind} ${stage}`);
  const table = timetableOf(order, same ? ownersOf(schedule, devices, each) : owners,
    { given: cost, latency });
  const how = same ? `by ${SCHEDULES[schedule].label}` : "in the order that was measured";
  return { table, name: `Predicted ${how}: ${inSeconds(table.makespan)}` };
}

function measuredIdle(shares) {
  const busy = shares.ranks.reduce((sum, { share }) => sum + share.busy, 0);
  return 1 - busy / shares.ranks.length;
}

function shareTable(shares) {
  const parts = ["busy", "bubble", "communication", "other"];
  const head = element(
    "tr", {}, ...["stage", "rank", ...parts].map((text) => element("th", { scope: "col" }, text)),
  );
  const rows = shares.stages.slice(0, MOST_LISTED).map(({ stage, rank, share }) => element(
    "tr", {}, element("th", { scope: "row" }, String(stage)), element("td", {}, String(rank)),
    ...parts.map((part) => element("td", {}, percent(share[part]))),
  ));
  const left = shares.stages.length - rows.length;
  const more = left > 0 ? [element("caption", {}, `The first ${rows.length} stages; ${left} more.`)] : [];
  return element(
    "table", {}, ...more, element("thead", {}, head), element("tbody", {}, ...rows),
  );
}
