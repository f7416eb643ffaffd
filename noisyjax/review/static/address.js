// Filters, order, tab and selection in the part of the address after "#": a reload or a sent link shows the same.

import { noFilter } from './model.js';

const MOST = 500; // rows of a selection that fit

const list = (set) => (set ? [...set].join('.') : '');
const numbers = (text) => text.split('.').map(Number);

export function written(model, tab) {
  const f = model.filter;
  const out = new URLSearchParams();
  const put = (key, value) => value && out.set(key, value);
  put('tab', tab);
  put('q', f.text);
  put('rule', f.rule);
  put('label', f.labels && (list(f.labels) || 'none'));
  put('suggested', f.suggested && (list(f.suggested) || 'none'));
  put('status', f.statuses && (list(f.statuses) || 'none'));
  put('decided', f.decided === 'all' ? '' : f.decided);
  put('issues', f.issues ? '1' : '');
  for (const [title, [low, high]] of f.ranges) out.set(`range.${title}`, `${low}~${high}`);
  f.regions.forEach((r, k) => out.set(`region.${k}`, JSON.stringify([r.x, r.y, r.add, [...r.points].map((v) => +v.toPrecision(5))])));
  put('sort', model.sort.key && (model.sort.down ? '-' : '+') + model.sort.key);
  put('all', model.selection.all ? '1' : '');
  if (model.selection.rows.size <= MOST) put('rows', list([...model.selection.rows].map((i) => model.place[i])));
  if (model.focus !== undefined) out.set('at', model.place[model.focus]);
  return `#${out}`;
}

export function read(hash) {
  const found = new URLSearchParams(hash.slice(1));
  const set = (key) => {
    const text = found.get(key);
    return text === null ? null : new Set(text === 'none' ? [] : numbers(text));
  };
  const filter = noFilter();
  filter.text = found.get('q') ?? '';
  filter.rule = found.get('rule') ?? '';
  filter.labels = set('label');
  filter.suggested = set('suggested');
  filter.statuses = set('status');
  filter.decided = ['undecided', 'decided', 'contested'].includes(found.get('decided')) ? found.get('decided') : 'all';
  filter.issues = found.has('issues');
  for (const [key, value] of found) {
    if (key.startsWith('range.')) {
      const range = value.split('~').map(Number);
      if (range.length === 2 && !range.some(Number.isNaN)) filter.ranges.set(key.slice(6), range);
    } else if (key.startsWith('region.')) {
      try {
        const [x, y, add, points] = JSON.parse(value);
        filter.regions.push({ x, y, add: Boolean(add), points: Float64Array.from(points) });
      } catch {
        // an address that was cut off: the region is left out
      }
    }
  }
  const sort = found.get('sort') ?? '';
  return {
    tab: found.get('tab') ?? '',
    filter,
    sort: { key: sort.slice(1), down: sort.startsWith('-') },
    all: found.has('all'),
    places: found.get('rows') ? numbers(found.get('rows')) : [],
    at: found.has('at') ? Number(found.get('at')) : undefined,
  };
}
