// The schedules whose stages go there and back, two on each device, in torch's own order.

/** ZB-V (Qi et al. 2024); of more microbatches where there are too few to fill it. */
export function zeroBubbleV(device, devices, microbatches) {
  const many = Math.max(2 * devices - 1, microbatches);
  const there = device;
  const back = 2 * devices - 1 - device;
  const done = { F: { [there]: 0, [back]: 0 }, I: { ...zero() }, W: { ...zero() } };
  function zero() {
    return { [there]: 0, [back]: 0 };
  }
  const row = [];
  const add = (kind, stage) => {
    const m = done[kind][stage]++;
    if (m < microbatches) row.push([kind, stage, m]);
  };
  const times = (number, ...tasks) => {
    for (let i = 0; i < number; i++) for (const [kind, stage] of tasks) add(kind, stage);
  };
  times(2 * (devices - device) - 1, ["F", there]);
  times(device, ["F", back], ["F", there]);
  times(devices - device, ["F", back], ["I", back], ["W", back]);
  while (done.F[back] < done.F[there] || done.F[there] < many) {
    if (done.F[there] < many) add("F", there);
    times(1, ["I", there], ["W", there], ["F", back], ["I", back], ["W", back]);
  }
  times(device, ["I", there], ["I", back]);
  times(devices - device, ["I", there], ["W", there]);
  while (done.W[back] < done.I[back]) add("W", back);
  while (done.W[there] < done.I[there]) add("W", there);
  return row;
}

/** DualPipeV (DeepSeek and Sea AI Lab); a forward and a backward that it overlaps come in turn. */
export function dualPipeV(device, devices, microbatches) {
  const there = device;
  const back = 2 * devices - 1 - device;
  const forwards = { [there]: 0, [back]: 0 };
  const backwards = { [there]: 0, [back]: 0 };
  const weights = []; // parts that are still to be done
  const row = [];
  const forward = (stage) => row.push(["F", stage, forwards[stage]++]);
  const whole = (stage) => row.push(["B", stage, backwards[stage]++]);
  const input = (stage) => {
    weights.push(["W", stage, backwards[stage]]);
    row.push(["I", stage, backwards[stage]++]);
  };
  const weight = () => {
    if (weights.length) row.push(weights.shift());
  };
  for (let i = 0; i < 2 * (devices - device - 1); i++) forward(there);
  for (let i = 0; i <= device; i++) {
    forward(there);
    forward(back);
  }
  for (let i = 0; i < devices - device - 1; i++) {
    input(back);
    weight();
    forward(back);
  }
  for (let i = 0; i < microbatches - 2 * devices + device + 1; i++) {
    forward(there);
    whole(back);
    forward(back);
    whole(there);
  }
  for (let i = 0; i < devices - device - 1; i++) {
    whole(back);
    forward(back);
    whole(there);
  }
  const half = Math.floor((device + 1) / 2);
  let split = false;
  for (let i = 0; i <= device; i++) {
    split ||= i === half && device % 2 === 1;
    (split ? input : whole)(back);
    split ||= i === half && device % 2 === 0;
    (split ? input : whole)(there);
  }
  for (let i = 0; i < devices - device - 1; i++) {
    weight();
    (split ? input : whole)(there);
  }
  for (let i = 0; i <= device; i++) weight();
  return row;
}
