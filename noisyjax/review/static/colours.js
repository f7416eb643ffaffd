// Colours that people with any colour vision tell apart (Okabe and Ito 2008). A label is always written out, too.

const CLASSES = ['#0072b2', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#56b4e9', '#b8a700', '#7a5195', '#4d4d4d', '#a6761d'];
export const UNLABELED = '#9a9a9a';

export const ofClass = (c) => (c < 0 ? UNLABELED : CLASSES[c % CLASSES.length]);

/** Returns a function value → colour for a column of numbers: viridis between the 2nd and the 98th percentile. */
export function scale(values) {
  const known = Float64Array.from(values).filter((v) => !Number.isNaN(v)).sort();
  const low = known[Math.floor(known.length * 0.02)] ?? 0;
  const high = known[Math.floor(known.length * 0.98)] ?? 1;
  const of = (v) => (Number.isNaN(v) ? UNLABELED : VIRIDIS[Math.round(7 * Math.min(1, Math.max(0, (v - low) / (high - low || 1))))]);
  return { of, low, high, colours: VIRIDIS };
}

const VIRIDIS = ['#440154', '#46327e', '#365c8d', '#277f8e', '#1fa187', '#4ac16d', '#a0da39', '#fde725'];

/** Returns a colour "#rrggbb" as a pixel of ImageData, 0xAABBGGRR. */
export function pixel(colour) {
  const v = parseInt(colour.slice(1), 16);
  return (0xff000000 | ((v & 0xff) << 16) | (v & 0xff00) | (v >> 16)) >>> 0;
}

export const theme = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
