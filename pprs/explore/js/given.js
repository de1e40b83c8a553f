// What the page was written with, or has been given since: a run's timeline, a model's profile.

export const given = { trace: null, profile: null };

/** The files that stand in the page: name and text of each, by kind. */
export function written() {
  return JSON.parse(document.getElementById("given").textContent);
}
