// From values to pixels: linear and logarithmic axes with ticks that people can read.
// Owns: pure numbers. Must not: touch the page.

/** An axis from low..high to from..to pixels. Of a logarithmic one both ends must be above 0. */
export function scale(low, high, from, to, isLog) {
  const f = isLog ? Math.log10 : (value) => value;
  const a = f(low);
  const span = f(high) - a || 1;
  const at = (value) => from + ((f(value) - a) / span) * (to - from);
  const back = (pixel) => {
    const value = a + ((pixel - from) / (to - from || 1)) * span;
    return isLog ? 10 ** value : value;
  };
  return { low, high, isLog, at, back };
}

/** Ticks of an axis, about `wanted` of them. */
export function ticks(low, high, wanted, isLog) {
  if (!(high > low)) return [low];
  if (isLog) {
    const found = [];
    const decades = Math.log10(high / low);
    const steps = decades > wanted ? [1] : decades > 1.2 ? [1, 2, 5] : null;
    if (steps) {
      const thin = Math.max(1, Math.ceil((decades * steps.length) / (wanted * 1.6)));
      for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
        for (const step of thin > 1 ? [1] : steps) {
          const value = step * 10 ** power;
          if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
        }
      }
      return found;
    }
  }
  const rough = (high - low) / Math.max(1, wanted);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return found;
}

/** The text of a tick, with no more digits than its neighbours need. */
export function tickText(value, all) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6) return `${trim(value / 1e6)}M`;
  if (size >= 1e4) return `${trim(value / 1e3)}k`;
  if (size < 1e-3) return value.toExponential(0);
  const gap = all.length > 1 ? Math.min(...all.slice(1).map((one, k) => Math.abs(one - all[k])).filter((one) => one > 0)) : size;
  const digits = Math.min(6, Math.max(0, Math.ceil(-Math.log10(gap) + 0.35)));
  return trim(value, digits);
}

function trim(value, digits = 2) {
  return String(Number(value.toFixed(digits)));
}

/** The running mean that forgets: weight 0 gives the values as they are. Corrected at the start; null stays null. */
export function smoothed(values, weight) {
  if (!weight) return values;
  let mean = 0;
  let share = 1;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    share *= weight;
    return mean / (1 - share);
  });
}

/** Index of the entry nearest to x in a list in rising order. */
export function nearest(list, x) {
  let low = 0;
  let high = list.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && Math.abs(list[low - 1] - x) <= Math.abs(list[low] - x) ? low - 1 : low;
}
