// A recorded run, as `pprs trace` reads it: pprs/pipeline/trace/timeline.py.

const FORMAT = "pprs timeline 1";
const KINDS_OF_EVENTS = ["F", "B", "I", "W", "wait"];

/** What is wrong with a file, in a sentence. */
export class FileError extends Error {}

class TraceError extends Error {}

/** A timeline from the text of a file; an Error says in a sentence why it is none. */
export function readTrace(text, name) {
  let written;
  try {
    written = JSON.parse(text);
  } catch (error) {
    throw new FileError(`${name} is no timeline: it is not JSON, ${error.message}`);
  }
  try {
    return checkedTimeline(timelineFrom(written));
  } catch (error) {
    if (error instanceof TraceError) throw new FileError(`${name} is no timeline: ${error.message}`);
    throw error;
  }
}


function timelineFrom(written) {
  const data = field(written, "otherData", "object", "the file");
  const form = field(data, "format", "string", "otherData");
  if (form !== FORMAT) {
    throw new TraceError(`its format must be '${FORMAT}', got '${form.slice(0, 80)}'`);
  }
  const entries = field(written, "traceEvents", "list", "the file");
  const timeline = {
    events: entries.filter((e) => field(e, "ph", "string", "an event") === "X").map(eventFrom),
    schedule: field(data, "schedule", "string", "otherData"),
    stages: field(data, "stages", "integer", "otherData"),
    microbatches: field(data, "microbatches", "integer", "otherData"),
    uncertainty: numberIn(data, "uncertainty", "otherData"),
  };
  if (!/^[\w-]+$/.test(timeline.schedule)) throw new TraceError("its schedule must be a name");
  return timeline;
}

function eventFrom(entry) {
  const args = field(entry, "args", "object", "an event");
  const start = numberIn(entry, "ts", "an event");
  const nanoseconds = Math.round(start * 1e3);
  const length = Math.round(numberIn(entry, "dur", "an event") * 1e3);
  const event = {
    device: field(entry, "pid", "integer", "an event"),
    stage: field(entry, "tid", "integer", "an event"),
    kind: field(entry, "cat", "string", "an event"),
    microbatch: field(args, "microbatch", "integer", "an event's args"),
    step: field(args, "step", "integer", "an event's args"),
    start: nanoseconds / 1e9,
    end: (nanoseconds + length) / 1e9,
  };
  for (const [what, value] of [
    ["rank", event.device], ["stage", event.stage], ["microbatch", event.microbatch],
    ["step", event.step],
  ]) {
    if (value < 0) throw new TraceError(`${what} must be an integer of at least 0, got ${value}`);
  }
  if (!KINDS_OF_EVENTS.includes(event.kind)) {
    const known = KINDS_OF_EVENTS.join(", ");
    throw new TraceError(`kind must be one of ${known}; got '${event.kind.slice(0, 80)}'`);
  }
  if (length < 0) throw new TraceError(`end must be at least start=${event.start}`);
  return event;
}

function checkedTimeline(timeline) {
  const { events } = timeline;
  for (const name of ["stages", "microbatches"]) {
    if (timeline[name] < 1) {
      throw new TraceError(`${name} must be an integer of at least 1, got ${timeline[name]}`);
    }
  }
  if (timeline.uncertainty < 0) {
    throw new TraceError("uncertainty must be a finite number of at least 0");
  }
  if (!events.length) throw new TraceError("events must hold at least one event, got none");
  for (const [name, place] of [["stages", "stage"], ["microbatches", "microbatch"]]) {
    const largest = events.reduce((most, event) => Math.max(most, event[place]), 0);
    if (timeline[name] !== largest + 1) {
      throw new TraceError(
        `${name} must be ${largest + 1}, as in the events, got ${timeline[name]}`,
      );
    }
  }
  const rank = events.reduce((most, event) => Math.max(most, event.device), 0);
  if (rank >= timeline.stages) {
    throw new TraceError(
      `rank must be below stages=${timeline.stages}, as each holds one: got ${rank}`,
    );
  }
  const seen = new Set();
  for (const { kind, stage, microbatch, step } of events) {
    const key = `${kind} ${microbatch} of stage ${stage} in step ${step}`;
    if (kind !== "wait" && seen.has(key)) throw new TraceError(`${key} is there twice`);
    seen.add(key);
  }
  timeline.steps = [...new Set(events.map((event) => event.step))].sort((a, b) => a - b);
  timeline.byStep = new Map(timeline.steps.map((step) => [step, []]));
  for (const event of events) {
    if (event.kind !== "wait") timeline.byStep.get(event.step).push(event);
  }
  for (const some of timeline.byStep.values()) some.sort((a, b) => a.start - b.start);
  timeline.ranks = [...new Set(events.map((event) => event.device))].sort((a, b) => a - b);
  return timeline;
}

/** All but the waits of a step, by their start. */
export function operationsOf(timeline, step) {
  return timeline.byStep.get(step);
}

function numberIn(container, name, where) {
  const value = field(container, name, "number", where);
  if (!(Math.abs(value) < 1e15)) {
    throw new TraceError(`'${name}' of ${where} is out of range: ${value}`);
  }
  return value;
}

const IS = {
  object: (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  list: Array.isArray,
  string: (value) => typeof value === "string",
  number: (value) => typeof value === "number",
  integer: Number.isInteger,
};

function field(container, name, kind, where) {
  if (!IS.object(container)) throw new TraceError(`${where} must be an object`);
  if (!Object.hasOwn(container, name)) throw new TraceError(`${where} lacks '${name}'`);
  if (!IS[kind](container[name])) throw new TraceError(`'${name}' of ${where} must be ${withArticle(kind)}`);
  return container[name];
}

function withArticle(kind) {
  return (kind === "object" || kind === "integer" ? "an " : "a ") + kind;
}
