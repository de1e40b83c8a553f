// The timetable moment by moment: buttons, a slider, arrow keys, and what each device does then.

import { change, state } from "./state.js";
import { doingAt, momentsOf } from "./timetable.js";
import { element } from "./words.js";

const LISTED = 16; // devices that are told one by one

export function stepper(tableOf, unit) {
  let table = null;
  let moments = [0];
  const range = element("input", {
    type: "range", id: "tick", min: 0, step: 1, "aria-label": "Moment of the timetable",
    oninput: () => go(Number(range.value)),
  });
  const button = (text, name, to) => element(
    "button", { type: "button", "aria-label": name, onclick: () => go(to()) }, text,
  );
  const now = element("p", { class: "now", "aria-live": "polite" });
  const place = () => Math.min(state.t, moments.length - 1);
  const part = element(
    "div", { class: "stepper" },
    element("div", { class: "stepper-row" },
      button("|◀", "First moment", () => 0), button("◀", "Moment before", () => place() - 1), range,
      button("▶", "Next moment", () => place() + 1),
      button("▶|", "Last moment", () => moments.length - 1)),
    now,
  );
  document.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const free = document.activeElement === document.body || part.contains(document.activeElement);
    if (!step || !free || document.activeElement === range || state.view !== "schedule") return;
    go(place() + step);
    event.preventDefault();
  });
  function go(to) {
    change({ t: Math.max(0, Math.min(to, moments.length - 1)) });
  }
  function refresh() {
    if (tableOf() !== table) {
      table = tableOf();
      moments = momentsOf(table);
    }
    range.max = String(moments.length - 1);
    range.value = String(place());
    const text = said();
    range.setAttribute("aria-valuetext", `time ${unit(moments[place()])}`);
    now.textContent = text;
  }
  function said() {
    const time = moments[place()];
    const doing = doingAt(table, time);
    const waiting = doing.filter((task) => task === null).length;
    const head = `Time ${unit(time)} of ${unit(table.makespan)}: ${doing.length - waiting} of ` +
      `${doing.length} devices work.`;
    if (doing.length > LISTED) return head;
    const each = doing.map((task, device) => `${device}: ${task ? taskName(task, table) : "waits"}`);
    return `${head} ${each.join(" · ")}`;
  }
  return { part, refresh, time: () => moments[place()] };
}

function taskName({ kind, microbatch, stage }, table) {
  const several = table.rows.some((row) => row.some((task) => task.stage !== row[0].stage));
  return `${kind}${microbatch}${several ? ` of stage ${stage}` : ""}`;
}
