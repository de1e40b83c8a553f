// The page: two views behind tabs, what is given, and the address.

import "./calculation.js";
import { written } from "./given.js";
import { limitsView } from "./limits_view.js";
import { scheduleView } from "./schedule_view.js";
import { change, onChange, state, stateFrom } from "./state.js";
import { traceView } from "./trace_view.js";

const views = { limits: limitsView(), schedule: scheduleView() };
const run = traceView();
for (const [name, { view }] of Object.entries(views)) {
  document.getElementById(`panel-${name}`).append(view);
}
document.getElementById("panel-schedule").append(run.view);

const tabs = Object.keys(views).map((name) => document.getElementById(`tab-${name}`));
tabs.forEach((tab, i) => {
  tab.addEventListener("click", () => change({ view: tab.dataset.view }));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const next = tabs[(i + step + tabs.length) % tabs.length];
    next.focus();
    change({ view: next.dataset.view });
  });
});

function show(changed = null) {
  for (const tab of tabs) {
    const chosen = tab.dataset.view === state.view;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    document.getElementById(`panel-${tab.dataset.view}`).hidden = !chosen;
  }
  views[state.view].refresh(changed);
  if (state.view === "schedule" && (changed === null || !changed.includes("t"))) run.refresh();
}

onChange(show);
addEventListener("hashchange", () => change(stateFrom(location.hash)));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => show());
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) show();
  width = innerWidth;
});
change(stateFrom(location.hash));
for (const { name, text } of Object.values(written())) run.take(text, name);
document.documentElement.dataset.ready = "yes";
