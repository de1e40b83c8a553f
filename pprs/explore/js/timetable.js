// When each task of an order starts and ends, and how much of the devices' time is bubble.

/**
 * The timetable of an order: a device does one thing at a time; a task waits for its input, and,
 * where that comes from another device, for the latency besides.
 *
 * Costs: `forward` and `backward` of each stage, `weight` the part of a backward that nothing waits
 * for, `latency` between each stage and the next. Operations carry device, kind, stage,
 * microbatch, start and end, device by device, in order.
 */
export function timetableOf(order, owners, costs) {
  const seconds = secondsOf(costs);
  const last = owners.length - 1;
  const ends = new Map();
  const rows = order.map(() => []);
  let waiting = order.map((_, device) => device);
  while (waiting.length) {
    let moved = false;
    for (const device of waiting) {
      const row = rows[device];
      while (row.length < order[device].length) {
        const [kind, stage, microbatch] = order[device][row.length];
        const source = sourceOf(kind, stage, microbatch, last);
        let start = row.length ? row[row.length - 1].end : 0;
        if (source !== null) {
          const ready = ends.get(source.key);
          if (ready === undefined) break;
          const away = owners[source.stage] !== device;
          start = Math.max(start, ready + (away ? costs.latency[source.edge] : 0));
        }
        const end = start + seconds(kind, stage);
        row.push({ device, kind, stage, microbatch, start, end });
        ends.set(keyOf(kind === "I" ? "B" : kind, stage, microbatch), end);
        moved = true;
      }
    }
    waiting = waiting.filter((device) => rows[device].length < order[device].length);
    if (waiting.length && !moved) throw new Error("the tasks wait for each other in a circle");
  }
  return summary(rows);
}

function secondsOf({ forward, backward, weight, given }) {
  if (given) return given;
  return (kind, stage) => {
    if (kind === "F") return forward[stage];
    if (kind === "B") return backward[stage];
    return kind === "I" ? backward[stage] * (1 - weight) : backward[stage] * weight;
  };
}

const KINDS = { F: 0, B: 1, W: 2 };

function keyOf(kind, stage, microbatch) {
  return (microbatch * 8192 + stage) * 3 + KINDS[kind];
}

/** What a task waits for, besides what its device did before, and the link that it comes by. */
function sourceOf(kind, stage, microbatch, last) {
  if (kind === "W" || (kind === "F" && stage === 0)) return null;
  if (kind === "F") {
    return { key: keyOf("F", stage - 1, microbatch), stage: stage - 1, edge: stage - 1 };
  }
  if (stage === last) return { key: keyOf("F", stage, microbatch), stage, edge: 0 };
  return { key: keyOf("B", stage + 1, microbatch), stage: stage + 1, edge: stage };
}

/** The makespan, how long the devices work, and the part of their time in which they do not. */
function summary(rows) {
  let makespan = 0;
  let busy = 0;
  let gaps = 0;
  const idle = [];
  for (const row of rows) {
    const worked = row.reduce((sum, task) => sum + (task.end - task.start), 0);
    makespan = Math.max(makespan, row.length ? row[row.length - 1].end : 0);
    busy += worked;
    idle.push(worked);
  }
  for (const row of rows) {
    let free = 0;
    for (const task of row) {
      if (task.start - free > 1e-9 * makespan) gaps += 1;
      free = Math.max(free, task.end);
    }
    if (makespan - free > 1e-9 * makespan) gaps += 1;
  }
  return {
    rows,
    makespan,
    busy,
    idle: idle.map((worked) => makespan - worked),
    gaps, // stretches in which a device waits
    bubble: makespan ? Math.max(0, 1 - busy / (makespan * rows.length)) : 0,
  };
}

/** The times at which anything starts or ends, each once. */
export function momentsOf(table) {
  const times = table.rows.flatMap((row) => row.flatMap((task) => [task.start, task.end]));
  times.sort((a, b) => a - b);
  const near = 1e-9 * table.makespan;
  return times.filter((time, i) => i === 0 || time - times[i - 1] > near);
}

/** What each device does at a time, from then on: a task, or null while it waits. */
export function doingAt(table, time) {
  const near = 1e-9 * table.makespan;
  return table.rows.map((row) => {
    let low = 0;
    let high = row.length; // the first task that ends after this time
    while (low < high) {
      const middle = (low + high) >> 1;
      if (row[middle].end <= time + near) low = middle + 1;
      else high = middle;
    }
    return low < row.length && row[low].start <= time + near ? row[low] : null;
  });
}
