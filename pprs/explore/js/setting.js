// From what the controls say to a schedule with its numbers, costs and timetable.

import { orderOf } from "./orders.js";
import { mostStages, profileCosts } from "./profile.js";
import { SCHEDULES, fitting, ownersOf, stagesEach } from "./schedules.js";
import { timetableOf } from "./timetable.js";

const MOST = 200000; // tasks of a timetable

/** What a step is, or `refused`: a sentence that says why there is none. */
export function settingOf(values, profile = null) {
  const { schedule, K, m } = values;
  const each = stagesEach(schedule, values.each);
  const most = profile ? Math.max(1, Math.floor(mostStages(profile) / each)) : Infinity;
  const devices = Math.min(most, Math.max(1, Math.round(values.stages / each)));
  const setting = { schedule, each, devices, stages: devices * each, K, m, profile, values };
  if (profile && mostStages(profile) < each) {
    return { ...setting, refused: `The model cannot be cut into ${each} stages.`, fits: [] };
  }
  setting.fits = fitting(schedule, devices, each, K * m);
  if (!setting.fits.length) {
    const refused = `${SCHEDULES[schedule].label} needs at least as many microbatches as stages: ` +
      `K · m must be ${setting.stages} or more, and is ${K * m}.`;
    return { ...setting, refused };
  }
  setting.M = nearest(setting.fits, values.M);
  const made = stepOf(setting, K * m, setting.M, true);
  if (made === null) {
    const refused = `${(2 * setting.stages * setting.M).toLocaleString("en-US")} passes are more ` +
      "than this page draws: take fewer stages or microbatches.";
    return { ...setting, refused };
  }
  return { ...setting, ...made, rows: (K * m) / setting.M };
}

/** Costs and timetable of a step of so many rows in M microbatches; null for too many tasks. */
export function stepOf(setting, rows, M, smoothed, schedule = setting.schedule) {
  const { devices, each, stages } = setting;
  if (3 * M * stages > MOST) return null;
  const costs = costsOf(setting, rows / M, smoothed);
  const order = orderOf(schedule, devices, each, M);
  return { costs, table: timetableOf(order, ownersOf(schedule, devices, each), costs) };
}

function costsOf({ stages, devices, profile, values }, rows, smoothed) {
  if (profile) return profileCosts(profile, { stages, devices, rows, smoothed });
  const same = (value) => new Array(stages).fill(value);
  return {
    forward: same(values.fixed + values.f * rows),
    backward: same(values.fixed + values.b * rows),
    weight: Math.min(1, values.w),
    latency: new Array(Math.max(0, stages - 1)).fill(values.latency),
  };
}

/** The shortest step of a plain gradient of m examples, over numbers of microbatches. */
export function plainStep(setting) {
  let found = null;
  const own = fitting(setting.schedule, setting.devices, setting.each, setting.m);
  const loop = { single: "gpipe", loop: "looped-bfs", v: "zb-v" };
  const schedule = own.length ? setting.schedule : loop[SCHEDULES[setting.schedule].placement];
  for (const M of own.length ? own : fitting(schedule, setting.devices, setting.each, setting.m)) {
    const made = stepOf(setting, setting.m, M, false, schedule);
    if (made && (found === null || made.table.makespan < found.table.makespan)) {
      found = { ...made, M, schedule };
    }
  }
  return found;
}

export function nearest(sorted, wanted) {
  return sorted.reduce((best, one) =>
    Math.abs(Math.log(one / wanted)) < Math.abs(Math.log(best / wanted)) ? one : best);
}
