// What tests and the console of a browser may call: `pprsExplore.allBounds({...})`.

import { chiSquaredTail } from "./gamma.js";
import { sharpDecay } from "./lower.js";
import { duchiSteps } from "./rivals.js";
import { orderOf } from "./orders.js";
import { changesAlong, phasesOf } from "./phases.js";
import { pprsSteps } from "./pprs.js";
import { profileCosts } from "./profile.js";
import { allBounds } from "./regimes.js";
import { fitting, misfit, ownersOf } from "./schedules.js";
import { sharesOf } from "./shares.js";
import { timetableOf } from "./timetable.js";
import { readTrace } from "./trace.js";

globalThis.pprsExplore = {
  allBounds, changesAlong, chiSquaredTail, duchiSteps, fitting, misfit, orderOf, ownersOf, phasesOf,
  pprsSteps, profileCosts, readTrace, sharesOf, sharpDecay, timetableOf,
};
