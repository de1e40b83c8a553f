// What each device does one after the other: rows of [kind, stage, microbatch], as
// pprs/plan/orders.py (torch's own tables) and pprs/theory/orders.py (zero-bubble) have them.

import { SCHEDULES, stagesOf } from "./schedules.js";
import { dualPipeV, zeroBubbleV } from "./v_orders.js";

/** The tasks of each device; kinds are F forward, B backward, or its parts I (inputs), W (weights). */
export function orderOf(schedule, devices, each, microbatches) {
  const rows = [];
  for (let device = 0; device < devices; device++) {
    rows.push(ORDERS[schedule](device, devices, microbatches, each, schedule));
  }
  return rows;
}

const ORDERS = {
  gpipe: (device, devices, m) => oneEach(device, m, m),
  "1f1b": (device, devices, m) => oneEach(device, m, Math.min(m, devices - device)),
  "zero-bubble": zeroBubble,
  "looped-bfs": loopedBFS,
  "interleaved-1f1b": interleaved,
  "interleaved-zero-bubble": interleaved,
  "zb-v": zeroBubbleV,
  "dualpipe-v": dualPipeV,
};

function oneEach(stage, microbatches, ahead) {
  const row = [];
  for (let m = 0; m < ahead; m++) row.push(["F", stage, m]);
  for (let m = 0; m < microbatches; m++) {
    row.push(["B", stage, m]);
    if (ahead + m < microbatches) row.push(["F", stage, ahead + m]);
  }
  return row;
}

/** As 1f1b, but nobody waits for weight parts, which come as late as keeps memory equal (ZB-H1). */
function zeroBubble(stage, devices, microbatches) {
  const height = devices - stage;
  const timed = [];
  for (let m = 0; m < microbatches; m++) {
    timed.push([2 * m + height, 0, "I", m]);
    timed.push([2 * m - height + 2 * devices, 1, "W", m]);
    timed.push([2 * m - height, 2, "F", m]);
  }
  timed.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  return timed.map(([, , kind, m]) => [kind, stage, m]);
}

function loopedBFS(device, devices, microbatches, each, schedule) {
  const row = [];
  const stages = stagesOf(schedule, device, devices, each);
  for (const stage of stages) {
    for (let m = 0; m < microbatches; m++) row.push(["F", stage, m]);
  }
  for (const stage of stages.reverse()) {
    for (let m = microbatches - 1; m >= 0; m--) row.push(["B", stage, m]);
  }
  return row;
}

function interleaved(device, devices, microbatches, each, schedule) {
  const split = SCHEDULES[schedule].splits;
  const round = microbatches / Math.max(1, Math.floor(microbatches / devices));
  const total = each * microbatches;
  const hops = (split ? 1 : 2) * (devices - 1 - device);
  const warmup = Math.min((each - 1) * round + hops, total);
  const chunkOf = (step) => Math.floor(step / round) % each;
  const forward = (step) => chunkOf(step) * devices + device;
  const backward = (step) => (each - 1 - chunkOf(step)) * devices + device;
  const next = { F: {}, B: {}, I: {}, W: {} };
  const row = [];
  const add = (kind, stage) => {
    const m = next[kind][stage] ?? 0;
    next[kind][stage] = m + 1;
    row.push([kind, stage, m]);
  };
  let weights = 0;
  for (let op = 0; op < warmup + total; op++) {
    if (op < total) add("F", forward(op));
    if (op < warmup) continue;
    add(split ? "I" : "B", backward(op - warmup));
    if (split && op - warmup >= device) add("W", backward(weights++));
  }
  while (split && weights < total) add("W", backward(weights++));
  return row;
}
