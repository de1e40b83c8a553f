// Which method promises least: at a point, over a plane, and where that changes.

import { REGIMES } from "./regimes.js";
import { capital, family, shown } from "./words.js";

export const NOBODY = "the start itself"; // where it is within the precision already
const CLOSE = 1.003; // quick times are not far enough apart below this

/** The method of least time, and its time; the first of those that are equal. */
export function winnerAt(regime, constants) {
  const methods = REGIMES[regime].methods(constants);
  const names = Object.keys(methods);
  const all = (quick) => names.map((name) => methods[name](constants, quick).time);
  let found = all(true);
  const least = Math.min(...found);
  if (found.filter((time) => time <= CLOSE * least).length > 1) found = all(false);
  const best = found.indexOf(Math.min(...found));
  return {
    method: names[best], family: found[best] > 0 ? family(names[best]) : NOBODY, time: found[best],
  };
}

function triedAt(regime, constants) {
  try {
    return winnerAt(regime, constants);
  } catch (error) {
    if (error instanceof RangeError) return null;
    throw error;
  }
}

// What a plane and a walk go along: the constant, its ends, and how it is named.
export const AXES = {
  depth: { key: "depth", symbol: "Δ", name: "depth", low: 1, high: 10000, whole: true },
  eps: { key: "epsilon", symbol: "ε", name: "precision", low: 1e-4, high: 1, whole: false },
  m: { key: "batch", symbol: "m", name: "examples", low: 1, high: 1000, whole: true },
};

export function axisValue(axis, part) {
  const value = axis.low * (axis.high / axis.low) ** part;
  return axis.whole ? Math.max(1, Math.round(value)) : value;
}

export function axisPart(axis, value) {
  return Math.log(value / axis.low) / Math.log(axis.high / axis.low);
}

/** The winners over a plane of depth and another axis, rows from its low end. */
export function phasesOf(regime, constants, across, columns, rows) {
  const cells = [];
  for (let j = 0; j < rows; j++) {
    const value = axisValue(AXES[across], (j + 0.5) / rows);
    const row = [];
    for (let i = 0; i < columns; i++) {
      const depth = axisValue(AXES.depth, (i + 0.5) / columns);
      const found = triedAt(regime, { ...constants, depth, [AXES[across].key]: value });
      row.push({ depth, value, winner: found?.family ?? null, time: found?.time ?? null });
    }
    cells.push(row);
  }
  return cells;
}

/** Along an axis from its low end: each winner, and from where on. */
export function changesAlong(regime, constants, name, pieces = 40) {
  const axis = AXES[name];
  const at = (value) => triedAt(regime, { ...constants, [axis.key]: value })?.family ?? null;
  let before = axis.low;
  let winner = at(before);
  const found = [{ winner, from: before }];
  for (let i = 1; i <= pieces; i++) {
    const value = axisValue(axis, i / pieces);
    const next = at(value);
    if (next !== winner) found.push({ winner: next, from: border(at, axis, before, value, next) });
    [before, winner] = [value, next];
  }
  return found.filter((part) => part.winner !== null);
}

/** The least value between two at which the second's winner wins, to a thousandth. */
function border(at, axis, low, high, winner) {
  while (axis.whole ? high - low > 1 : high / low > 1.001) {
    const middle = axis.whole ? Math.floor((low + high) / 2) : Math.sqrt(low * high);
    if (at(middle) === winner) high = middle;
    else low = middle;
  }
  return high;
}

/** A walk along an axis in words. */
export function walkInWords(regime, constants, name) {
  const axis = AXES[name];
  const parts = changesAlong(regime, constants, name);
  const reach = `${shown(axis.low)} to ${shown(axis.high)}`;
  if (!parts.length) return `No guarantee is known for ${axis.symbol} from ${reach}.`;
  const first = capital(parts[0].winner);
  if (parts.length === 1) return `${first} promises least for every ${axis.symbol} from ${reach}.`;
  const later = parts.slice(1).map(({ winner, from }, i) => {
    const where = `from ${axis.symbol} = ${shown(from)} ${axis.whole ? "on" : "up"}`;
    if (winner === NOBODY) return `${where} the start is near enough`;
    return `${possessive(winner)} guarantee overtakes ${parts[i].winner} ${where}`;
  });
  return `${first} promises least from ${axis.symbol} = ${shown(axis.low)}; ${later.join(", ")}.`;
}

function possessive(method) {
  return method.endsWith("ts") ? `${method}'` : `${method}'s`;
}
