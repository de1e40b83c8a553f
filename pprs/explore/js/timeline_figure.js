// Timelines as figures: a row for each device, a box for each task.

import { colour, taskColour } from "./palette.js";
import { Scene } from "./scene.js";
import { shown } from "./words.js";

const LEFT = 64;
const RIGHT = 12;
const AXIS = 26;

/**
 * A scene of blocks of rows on one axis of time, one below the other.
 * Block: name, `rows` of tasks with start and end. Options: `span`, `unit` of a time as text, `at` a
 * time to mark.
 */
export function timelineScene(width, blocks, { span, unit, at = null }) {
  const count = blocks.reduce((sum, block) => sum + block.rows.length, 0);
  const height = Math.max(3, Math.min(26, Math.floor(560 / count)));
  const heads = blocks.filter((block) => block.name).length * 22;
  const scene = new Scene(width, Math.ceil(count * height + heads + AXIS + 6));
  const scale = (width - LEFT - RIGHT) / (span || 1);
  let y = 2;
  for (const block of blocks) {
    if (block.name) {
      scene.text(2, y + 14, block.name, colour("ink"), { size: 12, bold: true });
      y += 22;
    }
    const every = Math.ceil(14 / height); // of the names of the rows, which may not fit
    block.rows.forEach((row, i) => {
      drawRow(scene, row, y, height, scale);
      if (i % every === 0) {
        const label = `${block.label} ${i}`;
        scene.text(LEFT - 8, y + height / 2 + 4, label, colour("muted"), { size: 11, anchor: "end" });
      }
      y += height;
    });
  }
  axis(scene, y, span, scale, unit);
  if (at !== null) {
    const x = LEFT + at * scale;
    scene.line([[x, 0], [x, y]], colour("page"), 4);
    scene.line([[x, 0], [x, y]], colour("ink"), 2);
  }
  return scene;
}

/** The tasks of a row: what is narrower than half a pixel beside another one is left out. */
function drawRow(scene, row, y, height, scale) {
  const inner = height > 8 ? height - 2 : height - 0.5;
  scene.rect(LEFT, y, scene.width - LEFT - RIGHT, inner, colour("idle"));
  let drawn = -Infinity;
  for (const task of row) {
    const x = LEFT + task.start * scale;
    const end = LEFT + task.end * scale;
    if (end - drawn < 0.5) continue;
    const wide = Math.max(0.5, end - x - (end - x > 4 ? 1 : 0));
    scene.rect(x, y, wide, inner, taskColour(task.kind));
    const text = `${task.kind}${task.microbatch}`;
    const number = String(task.microbatch);
    const fits = [text, number].find((one) => one.length * 7 + 3 < wide);
    if (fits && inner >= 13) {
      scene.text(x + wide / 2, y + inner / 2 + 4, fits, colour("task-ink"), {
        size: 11, anchor: "middle",
      });
    }
    drawn = end;
  }
}

function axis(scene, y, span, scale, unit) {
  const most = Math.max(2, Math.floor((scene.width - LEFT - RIGHT) / 70));
  const step = niceStep(span / most);
  const ink = colour("muted");
  for (let i = 0; i * step <= span * (1 + 1e-9); i++) {
    const x = LEFT + i * step * scale;
    scene.line([[x, y], [x, y + 5]], ink);
    scene.text(x, y + 19, unit(i * step), ink, { size: 11, anchor: i ? "middle" : "start" });
  }
}

function niceStep(least) {
  if (!(least > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(least));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= least * (1 - 1e-9));
}

/** Times as a reader wants them: units of pipeline time, or seconds from a measurement. */
export function inUnits(value) {
  return shown(value, 4);
}

export function inSeconds(value) {
  if (value === 0) return "0";
  if (value < 1e-3) return `${shown(value * 1e6)} µs`;
  return value < 1 ? `${shown(value * 1e3)} ms` : `${shown(value)} s`;
}

/** Tasks as lines for CSV. */
export function taskLines(rows, ...more) {
  return rows.flatMap((row) => row.map((task) => [
    ...more, task.device, task.stage, task.kind, task.microbatch, task.start, task.end,
  ]));
}
