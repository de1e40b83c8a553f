// Which method wins on a schedule, and when PPRS loses, by the theory alone.

import { positive, rootOrWidth } from "./numbers.js";
import { SMOOTHNESS, pprsSteps } from "./pprs.js";
import { duchiSteps } from "./rivals.js";
import { fitting } from "./schedules.js";
import { nearest, plainStep, stepOf } from "./setting.js";
import { percent, shown, times } from "./words.js";

/** Steps, the time of a step and all time to the precision, for each method on this schedule. */
export function verdictOf(setting) {
  const { K, m, table, values } = setting;
  const { eps, L, R, d, W } = values;
  positive({ epsilon: eps, lipschitz: L, radius: R });
  const ratio = (L * R) / eps;
  const smoothing = SMOOTHNESS * rootOrWidth(d, W);
  const plain = plainStep(setting);
  if (plain === null) return null;
  const steps = (samples) => (ratio > 1 ? pprsSteps(ratio, smoothing, samples * m) : 0);
  const single = smoothedStep(setting, 1);
  const rows = {
    "subgradient descent": [Math.max(1, Math.ceil(ratio * ratio)), plain.table.makespan],
    "randomized smoothing": [ratio > 1 ? duchiSteps(ratio, d, K) : 0, table.makespan],
    [`PPRS, K = ${K}`]: [steps(K), table.makespan],
  };
  if (K > 1 && single) rows["PPRS, K = 1"] = [steps(1), single.table.makespan];
  const methods = Object.entries(rows).map(([name, [number, each]]) => ({
    name, steps: number, each, time: number * each,
  }));
  const rival = methods[0];
  const tried = triedSamples(setting)
    .map((samples) => ({ samples, step: smoothedStep(setting, samples) }))
    .filter(({ step }) => step !== null)
    .map(({ samples, step }) => ({ samples, time: steps(samples) * step.table.makespan }));
  const best = tried.reduce((least, one) => (one.time < least.time ? one : least));
  const won = tried.filter((one) => one.time < rival.time).map((one) => one.samples);
  return { methods, plain, ratio, best, won, most: tried[tried.length - 1].samples };
}

/** A step of other K, with microbatches of about as many rows. */
function smoothedStep(setting, samples) {
  const { schedule, devices, each, m, rows } = setting;
  const fits = fitting(schedule, devices, each, samples * m);
  if (!fits.length) return null;
  return stepOf(setting, samples * m, nearest(fits, (samples * m) / rows), true);
}

function triedSamples({ K, stages }) {
  const found = new Set([K]);
  for (let samples = 1; samples <= Math.max(32, 4 * stages, K); samples = Math.ceil(samples * 1.3)) {
    found.add(samples);
  }
  return [...found].sort((a, b) => a - b);
}

/** The verdict in sentences; the first one is the answer. */
export function verdictInWords(setting, verdict, unit) {
  const { K, table } = setting;
  const { methods, plain, ratio, best, won, most } = verdict;
  const [rival, older, ours, single] = methods;
  const time = (value) => unit(value);
  const cost = table.makespan / plain.table.makespan;
  const winner = methods.reduce((least, one) => (one.time < least.time ? one : least));
  const lines = [];
  if (ours.steps === 0) {
    return ["The start is within ε already (ε ≥ LR): no method has anything to do."];
  }
  const gain = ours.time < rival.time ? rival.time / ours.time : ours.time / rival.time;
  const share = `${time(ours.time)} (${shown(ours.steps)} steps) to ${time(rival.time)} ` +
    `(${shown(rival.steps)} plain steps), to LR/ε = ${shown(ratio)}`;
  lines.push(
    ours.time < rival.time
      ? `PPRS with K = ${K} wins here: its guarantee is ${times(gain)} times shorter than that of ` +
        `subgradient descent, ${share}.`
      : `PPRS with K = ${K} loses here: its guarantee is ${times(gain)} times longer than that of ` +
        `subgradient descent, ${share}.`,
  );
  lines.push(
    `A step of K = ${K} perturbations takes ${time(table.makespan)}, a plain step ` +
      `${time(plain.table.makespan)} with ${percent(plain.table.bubble)} of it idle: ${K} gradients for ` +
      `the time of ${times(cost)} plain steps.`,
  );
  if (single) {
    const against = single.time < rival.time ? "wins, too" : "loses";
    lines.push(
      `With K = 1 a step takes ${time(single.each)}, and its gradient has the noise of a single ` +
        `draw: PPRS ${against}, with ${time(single.time)}.`,
    );
  }
  lines.push(samplesInWords(won, best, most, time));
  if (older.time < ours.time && winner === older) {
    lines.push(`Randomized smoothing promises still less here: ${time(older.time)}.`);
  }
  return lines;
}

function samplesInWords(won, best, most, time) {
  if (!won.length) {
    return `No K up to ${most} makes PPRS win here: a plain step leaves too little of the pipeline ` +
      "idle, or the precision is too coarse for this width.";
  }
  const range = won[0] === won[won.length - 1] ? `for K = ${won[0]} alone`
    : `from K = ${won[0]} to ${won[won.length - 1] === most ? `${most}, the most tried,` : won[won.length - 1]}`;
  return `Of the K tried PPRS wins ${range}; best is K = ${best.samples}, with ${time(best.time)}.`;
}
