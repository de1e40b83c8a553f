// A measured model, as `pprs plan --save-profile` writes it: pprs/plan/profile.py and predict.py.

import { FileError } from "./trace.js";

const PROFILE_FORMAT = "pprs profile 1";

/** A profile from the text of a file; an Error says in a sentence why it is none. */
export function readProfile(text, name) {
  let written;
  try {
    written = JSON.parse(text.replace(/: Infinity/g, ": 1e999")); // as Python writes it
  } catch (error) {
    throw new FileError(`${name} is no profile: it is not JSON, ${error.message}`);
  }
  if (written?.format !== PROFILE_FORMAT) {
    throw new FileError(`${name} is no profile: it lacks the format '${PROFILE_FORMAT}'`);
  }
  const times = Array.isArray(written.times) ? written.times : [];
  const whole = times.length && times.every((one) => one?.layers?.length && one.layers.every(isLayer) &&
    isLayer(one.around) && isLayer(one.loss) && one.layers.length === times[0].layers.length);
  if (!whole || !(written.link?.latency >= 0) || !(written.link?.bandwidth > 0) || !written.batch) {
    throw new FileError(`${name} is no profile: its layers or its link are damaged`);
  }
  for (const kind of ["smoothed", "plain"]) {
    if (!times.some((one) => one.smoothed === (kind === "smoothed"))) {
      throw new FileError(`${name} has no ${kind} passes: measure it anew`);
    }
  }
  return written;
}

function isLayer(layer) {
  return ["forward", "backward", "output"].every((what) => {
    const { rows, values } = layer?.[what] ?? {};
    return Array.isArray(rows) && Array.isArray(values) && rows.length === values.length &&
      rows.length > 1 && [...rows, ...values].every((x) => Number.isFinite(x) && x >= 0);
  });
}

/** The value of a curve for this many rows: straight between its points and beyond them. */
export function curveAt({ rows, values }, at) {
  let place = 1;
  while (place < rows.length - 1 && rows[place] <= at) place += 1;
  const [a, b] = [rows[place - 1], rows[place]];
  const high = values[place];
  const low = at > b ? Math.min(values[place - 1], high) : values[place - 1];
  return Math.max(0, low + ((high - low) * (at - a)) / (b - a));
}

/** What was measured of a kind of pass with so many processes at work, or the most below. */
function timesOf(profile, smoothed, processes) {
  const known = profile.times.filter((one) => one.smoothed === smoothed);
  const fit = known.filter((one) => one.processes <= processes);
  return (fit.length ? fit : known).reduce((most, one) => one.processes > most.processes ? one : most);
}

/** Seconds of each stage and link for microbatches of so many rows, and where the model is cut. */
export function profileCosts(profile, { stages, devices, rows, smoothed, cut = null }) {
  const times = timesOf(profile, smoothed, devices);
  const at = (layer, what) => curveAt(layer[what], rows);
  const first = cut ?? cutOf(times.layers.map((l) => at(l, "forward") + at(l, "backward")), stages,
    profile.ties);
  const bounds = [...first, times.layers.length];
  const each = (what) => Array.from({ length: stages }, (_, s) => {
    const some = times.layers.slice(bounds[s], bounds[s + 1]);
    const loss = s === stages - 1 ? at(times.loss, what) : 0;
    return some.reduce((sum, layer) => sum + at(layer, what), 0) + at(times.around, what) + loss;
  });
  const { latency, bandwidth } = profile.link;
  const sent = (s) => latency + at(times.layers[bounds[s + 1] - 1], "output") / bandwidth;
  return {
    forward: each("forward"), backward: each("backward"), weight: times.weight_share,
    latency: Array.from({ length: stages - 1 }, (_, s) => sent(s)), cut: first,
  };
}

/** The first layers of the stages such that the slowest stage is as fast as can be. */
function cutOf(seconds, stages, ties) {
  const layers = seconds.length;
  const shut = new Set();
  for (const group of ties ?? []) {
    for (let i = Math.min(...group) + 1; i <= Math.max(...group); i++) shut.add(i);
  }
  const sums = [0];
  for (const one of seconds) sums.push(sums[sums.length - 1] + one);
  let slowest = sums.map((sum, end) => (end ? sum : Infinity)); // of one stage, up to each layer
  const froms = [];
  for (let s = 1; s < stages; s++) {
    const next = new Array(layers + 1).fill(Infinity);
    const from = new Array(layers + 1).fill(0);
    for (let end = s + 1; end <= layers; end++) {
      for (let start = s; start < end; start++) {
        if (shut.has(start)) continue;
        const worst = Math.max(slowest[start], sums[end] - sums[start]);
        if (worst < next[end]) [next[end], from[end]] = [worst, start];
      }
    }
    froms.push(from);
    slowest = next;
  }
  const first = [];
  for (let s = stages - 2, end = layers; s >= 0; s--) first.unshift((end = froms[s][end]));
  return [0, ...first];
}

/** The most stages that a model can be cut into. */
export function mostStages(profile) {
  const layers = profile.times[0].layers.length;
  const shut = new Set();
  for (const group of profile.ties ?? []) {
    for (let i = Math.min(...group) + 1; i <= Math.max(...group); i++) shut.add(i);
  }
  return layers - [...shut].filter((i) => i < layers).length;
}
