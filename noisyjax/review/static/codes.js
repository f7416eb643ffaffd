// Two capital letters for each class, where there are more classes than digits: no code is the beginning of another.

/**
 * Returns a code for each class, '' where none is left: the first letter of its name and a later one, or other letters.
 * @param {string[]} classes
 * @param {string} taken capital letters that are keys by themselves, with which no code begins
 */
export function codesOf(classes, taken = '') {
  const used = new Set();
  const letters = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];
  return classes.map((name) => {
    const own = [...name.toUpperCase()].filter((letter) => letters.includes(letter));
    for (const first of [...own.slice(0, 1), ...letters]) {
      if (taken.includes(first)) continue;
      for (const second of [...own.slice(1), ...letters]) {
        if (used.has(first + second)) continue;
        used.add(first + second);
        return first + second;
      }
    }
    return '';
  });
}
