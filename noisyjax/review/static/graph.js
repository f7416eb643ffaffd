// The graph of versions: beside each version of a list the lanes that lead to it, past it and to its parents.

import { ofClass } from './colours.js';

const [STEP, NODE, BEND] = [18, 12, 22]; // pixels: between lanes, of a node from above, of a bend

/**
 * Returns for each version its lane (`at`), the lanes that end there (`above`), that pass (`past`), and that begin there
 * and lead to its parents (`below`). Lane 0 is that of `now`.
 * @param {{version: string, parents: string[]}[]} list each version stands before its parents
 */
export function lanes(list, now) {
  const to = [now]; // lane → the version that it leads to
  const begun = new Set(); // lane 0 is kept before it begins
  const lane = (version) => {
    const k = to.indexOf(version);
    return k >= 0 ? k : [...to, undefined].indexOf(undefined);
  };
  return list.map(({ version, parents }) => {
    const at = lane(version);
    const [above, past] = [[...begun].filter((k) => to[k] === version), [...begun].filter((k) => to[k] !== version)];
    for (const k of [at, ...above]) {
      to[k] = undefined;
      begun.delete(k);
    }
    const below = parents.map((parent, p) => {
      const k = p ? lane(parent) : at; // the first, beside another lane to it, meets that one at the parent
      to[k] = parent;
      begun.add(k);
      return k;
    });
    return { at, above, past, below };
  });
}

/** Returns the lanes beside one version as a picture as tall as what it stands in. */
export function picture({ at, above, past, below }, width) {
  const x = (k) => STEP * (k + 0.5);
  const make = (tag, k, properties) => {
    const part = document.createElementNS('http://www.w3.org/2000/svg', tag);
    for (const [name, value] of Object.entries({ stroke: ofClass(k), ...properties })) part.setAttribute(name, value);
    return part;
  };
  const line = (k, y1, y2) => make('line', k, { x1: x(k), x2: x(k), y1, y2 });
  const bend = (k, from, y, by, to) => make('path', k, { d: `M${x(from)} ${y}c0 ${by / 2} ${x(to) - x(from)} ${by / 2} ${x(to) - x(from)} ${by}` });
  const root = make('svg', at, { width: STEP * width, 'aria-hidden': 'true' });
  root.append(
    ...past.map((k) => line(k, 0, '100%')),
    ...above.map((k) => bend(k, k, 0, NODE, at)),
    ...below.flatMap((k) => (k === at ? [line(k, NODE, '100%')] : [bend(k, at, NODE, BEND, k), line(k, NODE + BEND, '100%')])),
    make('circle', at, { cx: x(at), cy: NODE, r: 5.5, class: below.length > 1 ? 'merge' : '', fill: ofClass(at) }),
  );
  return root;
}

/** Returns a version of the list and all that it comes from. */
export function line(list, version) {
  const found = new Set([version]);
  for (const v of list) if (found.has(v.version)) v.parents.forEach((parent) => found.add(parent));
  return found;
}

/** Lets arrows, Home and End move among elements, of which Tab reaches one. */
export function roving(elements) {
  const go = (k) => {
    elements.forEach((element, at) => (element.tabIndex = at === k ? 0 : -1));
    elements[k].focus();
  };
  elements.forEach((element, k) => {
    element.tabIndex = k ? -1 : 0;
    element.addEventListener('keydown', (event) => {
      const to = { ArrowDown: k + 1, ArrowUp: k - 1, Home: 0, End: elements.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      if (elements[to]) go(to);
    });
  });
  return go;
}
