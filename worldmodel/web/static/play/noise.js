// Draws that can be made again: noise from a seed and the number of a frame alone.
// Owns: the generator. Must not: know a graph. (The same distributions as the transition's, not the same draws.)

/** A generator of numbers in (0, 1) for frame n of a seed. */
export function generator(seed, n) {
  let state = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) + Math.imul(n + 1, 0xc2b2ae35)) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

/** Fill an input noise_*: temperature x Gumbel for categories, logistic noise for the rest; zeros at temperature 0. */
export function fillNoise(name, values, temperature, next) {
  if (!(temperature > 0)) { values.fill(0); return; }
  const gumbel = name.endsWith("categories");
  for (let k = 0; k < values.length; k += 1) {
    const u = next();
    values[k] = temperature * (gumbel ? -Math.log(-Math.log(u)) : Math.log(u / (1 - u)));
  }
}
