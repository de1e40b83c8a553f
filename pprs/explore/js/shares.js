// What the time of recorded steps went into: pprs/pipeline/trace/shares.py.

import { FileError, operationsOf } from "./trace.js";

/**
 * Shares of the given steps together: busy, bubble, communication and other of each stage and rank,
 * the median seconds of a step, and what its operations alone would take.
 */
export function sharesOf(timeline, steps = null) {
  const chosen = steps ?? (timeline.steps.length > 1 ? timeline.steps.slice(1) : timeline.steps);
  const operations = new Map(chosen.map((step) => [step, operationsOf(timeline, step)]));
  for (const [step, some] of operations) checkComplete(timeline, step, some);
  const spent = new Map();
  const spans = [];
  for (const some of operations.values()) {
    if (!some.length) throw new FileError("a step has waits alone");
    account(some, spent);
    spans.push(some.reduce((end, e) => Math.max(end, e.end), -Infinity) - some[0].start);
  }
  if (!(Math.min(...spans) > 0)) throw new FileError("the operations of a step take no time");
  const whole = spans.reduce((sum, span) => sum + span, 0);
  const everything = [...operations.values()].flat();
  const medians = mediansOf(everything);
  const last = operations.get(chosen[chosen.length - 1]);
  return {
    steps: chosen,
    seconds: median(spans),
    ideal: replay(last, medians),
    medians,
    stages: [...spent.values()]
      .sort((one, other) => one.stage - other.stage || one.rank - other.rank)
      .map(({ stage, rank, parts }) => ({ stage, rank, share: scaled(parts, whole) })),
    ranks: timeline.ranks.map((rank) => {
      const parts = [...spent.values()].filter((found) => found.rank === rank);
      return { rank, share: scaled(added(parts.map((found) => found.parts)), whole) };
    }),
  };
}

/** The time that operations take in their order on each rank, if only they took time. */
export function replay(operations, medians) {
  const left = byDevice(operations);
  const places = left.map(() => 0);
  const free = left.map(() => 0);
  const stages = 1 + operations.reduce((most, e) => Math.max(most, e.stage), 0);
  const ends = new Map();
  let undone = operations.length;
  while (undone) {
    const before = undone;
    left.forEach((row, rank) => {
      while (places[rank] < row.length) {
        const e = row[places[rank]];
        const source = sourceName(e, stages);
        if (source !== null && !ends.has(source)) break;
        const start = Math.max(free[rank], source === null ? 0 : ends.get(source));
        free[rank] = start + medians.get(`${e.kind} ${e.stage}`);
        ends.set(nameOf(e), free[rank]);
        places[rank] += 1;
        undone -= 1;
      }
    });
    if (undone === before) throw new FileError("the operations wait for each other in a circle");
  }
  return Math.max(...free);
}

export function byDevice(operations) {
  const rows = new Map();
  for (const e of operations) {
    if (!rows.has(e.device)) rows.set(e.device, []);
    rows.get(e.device).push(e);
  }
  return [...rows.entries()].sort((a, b) => a[0] - b[0]).map(([, row]) => row);
}

function account(operations, spent) {
  const done = new Map(operations.map((e) => [nameOf(e), e]));
  const stages = 1 + operations.reduce((most, e) => Math.max(most, e.stage), 0);
  const start = operations[0].start;
  const end = operations.reduce((latest, e) => Math.max(latest, e.end), -Infinity);
  for (const row of byDevice(operations)) {
    let free = start;
    let parts = null;
    for (const e of row) {
      parts = partsOf(spent, e);
      parts.busy += e.end - e.start;
      const source = sourceName(e, stages);
      idle(free, e, source === null ? undefined : done.get(source), parts);
      free = Math.max(free, e.end);
    }
    parts.bubble += end - free;
  }
}

function partsOf(spent, { stage, device }) {
  const key = `${stage} ${device}`;
  if (!spent.has(key)) {
    const parts = { busy: 0, bubble: 0, communication: 0, other: 0 };
    spent.set(key, { stage, rank: device, parts });
  }
  return spent.get(key).parts;
}

/** Add up what a rank waited for before an operation. */
function idle(free, e, source, parts) {
  if (e.start <= free) return;
  const arrived = source ? source.end : free;
  const known = Math.min(Math.max(free, arrived), e.start);
  parts.bubble += known - free;
  if (source && source.device !== e.device) parts.communication += e.start - known;
  else parts.other += e.start - known;
}

function nameOf(e) {
  return `${e.kind === "I" ? "B" : e.kind} ${e.stage} ${e.microbatch}`;
}

function sourceName({ kind, stage, microbatch }, stages) {
  if (kind === "F") return stage ? `F ${stage - 1} ${microbatch}` : null;
  if (kind === "W") return `B ${stage} ${microbatch}`;
  return stage === stages - 1 ? `F ${stage} ${microbatch}` : `B ${stage + 1} ${microbatch}`;
}

function mediansOf(operations) {
  const times = new Map();
  for (const e of operations) {
    const key = `${e.kind} ${e.stage}`;
    if (!times.has(key)) times.set(key, []);
    times.get(key).push(e.end - e.start);
  }
  return new Map([...times].map(([key, some]) => [key, median(some)]));
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function added(parts) {
  const sum = { busy: 0, bubble: 0, communication: 0, other: 0 };
  for (const part of parts) for (const name of Object.keys(sum)) sum[name] += part[name];
  return sum;
}

function scaled(parts, whole) {
  return Object.fromEntries(Object.entries(parts).map(([name, value]) => [name, value / whole]));
}

function checkComplete(timeline, step, operations) {
  const there = new Set(operations.map((e) => `${e.kind} ${e.microbatch} of stage ${e.stage}`));
  for (let stage = 0; stage < timeline.stages; stage++) {
    for (let m = 0; m < timeline.microbatches; m++) {
      const split = there.has(`I ${m} of stage ${stage}`);
      for (const kind of split ? ["F", "I", "W"] : ["F", "B"]) {
        const name = `${kind} ${m} of stage ${stage}`;
        if (!there.has(name)) throw new FileError(`step ${step} lacks ${name}`);
      }
    }
  }
}
