// The schedules by name, where their stages lie, and what numbers fit them:
// pprs/pipeline/schedule.py, and pprs/theory/orders.py for zero-bubble.

export const SCHEDULES = {
  gpipe: { label: "GPipe", placement: "single" },
  "1f1b": { label: "1F1B", placement: "single" },
  "zero-bubble": { label: "Zero bubble (ZB-H1), in theory only", placement: "single", splits: true },
  "looped-bfs": { label: "Looped BFS", placement: "loop" },
  "interleaved-1f1b": { label: "Interleaved 1F1B", placement: "loop" },
  "interleaved-zero-bubble": {
    label: "Interleaved zero bubble", placement: "loop", splits: true,
  },
  "zb-v": { label: "ZB-V", placement: "v", splits: true },
  "dualpipe-v": { label: "DualPipeV", placement: "v", splits: true },
};

/** How many stages a device holds. */
export function stagesEach(schedule, wanted = 2) {
  return { single: 1, v: 2, loop: wanted }[SCHEDULES[schedule].placement];
}

/** The stages of a device, of so many devices with so many stages each. */
export function stagesOf(schedule, device, devices, each) {
  if (SCHEDULES[schedule].placement === "v") return [device, 2 * devices - 1 - device];
  return Array.from({ length: each }, (_, turn) => device + devices * turn);
}

/** The device of each stage. */
export function ownersOf(schedule, devices, each) {
  const owners = new Array(devices * each);
  for (let device = 0; device < devices; device++) {
    for (const stage of stagesOf(schedule, device, devices, each)) owners[stage] = device;
  }
  return owners;
}

/** What a schedule lacks, if anything, with so many microbatches. */
export function misfit(schedule, devices, each, microbatches) {
  if (SCHEDULES[schedule].placement === "single" && microbatches === 1) return null;
  if (["1f1b", "dualpipe-v"].includes(schedule) && microbatches < devices * each) {
    return "at least as many microbatches as stages";
  }
  const rounds = Math.max(1, Math.floor(microbatches / devices));
  if (schedule.startsWith("interleaved") && microbatches % rounds) {
    return `rounds of equally many microbatches, one or more for each of ${devices} devices`;
  }
  return null;
}

export function divisors(number) {
  const small = [];
  for (let i = 1; i * i <= number; i++) if (number % i === 0) small.push(i);
  const large = small.map((i) => number / i).reverse();
  return [...small, ...large.filter((i) => i > small[small.length - 1])];
}

/** The numbers of microbatches that divide so many rows and fit. */
export function fitting(schedule, devices, each, rows) {
  return divisors(rows).filter((m) => misfit(schedule, devices, each, m) === null);
}
