// Polygons: whether a point is inside one, by the even-odd rule.

/** @param {Float64Array} points x0, y0, x1, y1, … (flat: an array of pairs is many times slower) */
export function inside(points, x, y) {
  let odd = false;
  for (let j = 0, k = points.length - 2; j < points.length; k = j, j += 2) {
    const yj = points[j + 1];
    const yk = points[k + 1];
    if (yj > y !== yk > y && x < ((points[k] - points[j]) * (y - yj)) / (yk - yj) + points[j]) odd = !odd;
  }
  return odd;
}
