// What the page knows: the rows, the filters, the rows in view, the selection. Panels listen to its events:
// "view" (other rows, or another order), "rows" (labels changed), "selection", "focus".

import * as server from './server.js';
import { inside } from './lasso.js';

export const GONE = 255;
export const NONE = -1;
export const NOTHING = 255; // as an action: a rule proposes nothing for the row
const NAMES = new TextDecoder();
const SUGGESTED = ['oof_predicted', 'suggested', 'predicted'];
const UNMEASURED = ['map_x', 'map_y', 'pca_x', 'pca_y', 'duplicate_group', 'duplicate_kind', 'duplicate_crosses', 'duplicate_conflict', 'cluster', 'density_cluster']; // for panels of their own
// Columns by which issues are ranked, the first that there is, and whether high values come first.
const DOUBT = [['quality_normalized_margin', false], ['oof_loss', true], ['score', true], ['loss', true], ['mean_loss', true]];
// Columns that are shown first.
const FIRST = ['oof_confidence', 'oof_loss', 'confidence', 'loss', 'margin', 'knn_agreement', 'aum', 'entropy'];

export const noFilter = () => ({
  text: '',
  rule: '', // title of a rule: only rows that it proposes to change
  labels: null, // Set of classes, NONE = no label; null = all
  suggested: null,
  statuses: null,
  decided: 'all', // or "undecided", "decided"
  issues: false, // only rows whose suggestion differs from the label
  ranges: new Map(), // title of a column → [low, high]
  regions: [], // {x, y, add, points: Float64Array}: a row is in if the last region that holds it adds
});

export class Model extends EventTarget {
  async load() {
    const { head, arrays } = await server.columns();
    this.head = head;
    this.classes = head.classes;
    this.statuses = head.statuses;
    for (const name of ['place', 'status', 'label', 'verified', 'given', 'weight']) this[name] = arrays[name];
    this.n = this.place.length;
    this.rowOf = new Map();
    for (let i = 0; i < this.n; i++) this.rowOf.set(this.place[i], i);
    this.nameOffsets = arrays['name offsets'];
    this.nameBytes = arrays['name bytes'];
    this.setColumns(head, arrays);
    this.by = new Map(); // row → who decided it since the last commit
    this.contested = new Set();
    this.counts = { statuses: new Uint32Array(this.statuses.length), labels: new Uint32Array(this.classes.length + 1) }; // the last: no label
    for (let i = 0; i < this.n; i++) this.count(i, 1);
    this.version = head.version;
    this.filter ??= noFilter();
    [this.view, this.positions, this.stale] = [new Int32Array(), null, new Set()];
    this.apply(head.decided);
    this.take(head);
    this.hidden = head.hidden;
    this.sort ??= { key: '', down: false };
    this.selection ??= { all: false, rows: new Set() };
    this.refresh();
  }

  setColumns(head, arrays) {
    const times = new Map();
    for (const column of head.columns) times.set(column.name, (times.get(column.name) ?? 0) + 1);
    this.columns = head.columns.map((column) => ({
      ...column,
      title: times.get(column.name) > 1 ? `${column.name} (${column.source})` : column.name,
      values: arrays[column.key],
    }));
    this.rules = head.rules.map((rule) => proposed(rule, arrays, this.rowOf, this.n, head.actions, times));
    this.columns.push(...this.rules.map((rule) => rule.score));
    this.numbers = this.columns.filter((column) => column.kind === 'number' && varies(column.values));
    const rank = (column) => (FIRST.includes(column.name) ? FIRST.indexOf(column.name) : FIRST.length);
    this.measures = this.numbers.filter((column) => !UNMEASURED.includes(column.name)).sort((a, b) => rank(a) - rank(b));
    this.evidence = this.measures.filter((column) => !this.rules.some((rule) => rule.score === column));
    const named = (names, columns) => names.flatMap((name) => columns.filter((column) => column.name === name))[0];
    const classes = this.columns.filter((column) => column.kind === 'class');
    this.predicted = named(SUGGESTED, classes) ?? null;
    const doubt = DOUBT.find(([name]) => named([name], this.numbers));
    this.doubt = doubt ? { key: named([doubt[0]], this.numbers).title, down: doubt[1] } : null;
  }

  /** The rule whose proposals are looked at; undefined = none. */
  get rule() {
    return this.filter?.rule ? this.rules.find((rule) => rule.title === this.filter.rule) : undefined;
  }

  /** What suggests a class: the rule that is looked at, or else a prediction; null = nothing. */
  get suggestion() {
    return this.rule ?? this.predicted;
  }

  /** What a rule proposes for a row, as text; '' = nothing. */
  proposal(rule, i) {
    if (!rule || rule.action[i] === NOTHING) return '';
    return rule.values[i] >= 0 ? this.classes[rule.values[i]] : rule.actions[rule.action[i]] || 'asks you';
  }

  column = (title) => this.columns.find((column) => column.title === title);
  name = (i) => NAMES.decode(this.nameBytes.subarray(this.nameOffsets[i], this.nameOffsets[i + 1]));
  suggested = (i) => (this.suggestion ? this.suggestion.values[i] : NONE);
  className = (c) => (c === NONE ? 'no label' : this.classes[c]);
  picture = (i, kind = 'thumb') => `/${kind}/${this.head.key}/${this.place[i]}`;
  isIssue = (i) => this.label[i] !== NONE && this.suggested(i) !== NONE && this.suggested(i) !== this.label[i];
  labelText(i) {
    return this.label[i] === NONE ? this.statuses[this.status[i]] : this.classes[this.label[i]];
  }

  take(head) {
    for (const name of ['version', 'seq', 'pending', 'undo', 'redo']) this[name] = head[name];
  }

  count(i, by) {
    if (this.status[i] === GONE) return;
    this.counts.statuses[this.status[i]] += by;
    this.counts.labels[this.label[i] < 0 ? this.classes.length : this.label[i]] += by;
  }

  apply(rows) {
    const passes = this.filtered ? this.passes() : () => true;
    for (const [place, status, label, verified, weight, by, contested] of rows) {
      const i = this.rowOf.get(place);
      if (i === undefined) continue;
      this.count(i, -1);
      this.status[i] = status;
      this.label[i] = label;
      this.verified[i] = verified;
      this.weight[i] = weight;
      if (by) this.by.set(i, by);
      else this.by.delete(i);
      if (contested) this.contested.add(i);
      else this.contested.delete(i);
      this.count(i, 1);
      if (this.position(i) >= 0 && !passes(i)) this.stale.add(i);
      else this.stale.delete(i);
    }
  }

  /** Takes over what the server says after `seq`: changed rows, or another version. */
  async follow(found) {
    if (found.moved) {
      const focus = this.focus;
      await this.load();
      this.setFocus(focus);
    } else {
      this.apply(found.rows);
      const changed = found.rows.length || found.seq !== this.seq;
      this.take(found);
      if (!changed) return;
    }
    this.emit('rows');
  }

  emit(name) {
    this.dispatchEvent(new Event(name));
  }

  // ---- filters -----------------------------------------------------------------------------------------------------

  change(filter, sort = this.sort) {
    this.filter = { ...this.filter, ...filter };
    this.sort = sort;
    this.refresh();
  }

  get filtered() {
    const f = this.filter;
    const sets = f.rule || f.labels || f.suggested || f.statuses || f.issues || f.decided !== 'all';
    return Boolean(f.text || sets || f.ranges.size || f.regions.length);
  }

  /** Returns a function row → whether it passes the filters other than the range of `except`. */
  passes(except = '') {
    const { rule } = this;
    const { text, labels, suggested, statuses, decided, issues, ranges, regions } = this.filter;
    const tests = [(i) => this.status[i] !== GONE];
    if (rule) tests.push((i) => rule.action[i] !== NOTHING);
    if (labels) tests.push((i) => labels.has(this.label[i]));
    if (suggested) tests.push((i) => suggested.has(this.suggested(i)));
    if (statuses) tests.push((i) => statuses.has(this.status[i]));
    if (decided === 'contested') tests.push((i) => this.contested.has(i));
    else if (decided !== 'all') tests.push((i) => this.by.has(i) === (decided === 'decided'));
    if (issues) tests.push(this.isIssue);
    for (const [title, [low, high]] of ranges) {
      const values = this.column(title)?.values;
      if (values && title !== except) tests.push((i) => values[i] >= low && values[i] <= high);
    }
    if (regions.length) {
      const known = regions.map((r) => ({ ...r, xs: this.column(r.x)?.values, ys: this.column(r.y)?.values }));
      tests.push((i) => {
        let within = false;
        for (const r of known) {
          if (r.xs && r.ys && within !== r.add && inside(r.points, r.xs[i], r.ys[i])) within = r.add;
        }
        return within;
      });
    }
    if (text) {
      const wanted = text.toLowerCase();
      tests.push((i) => this.name(i).toLowerCase().includes(wanted));
    }
    return (i) => {
      for (const test of tests) if (!test(i)) return false;
      return true;
    };
  }

  /** Evaluates the filters again. A row that was just decided stays in view until then. */
  refresh() {
    const passes = this.passes();
    const view = new Int32Array(this.n);
    let count = 0;
    for (let i = 0; i < this.n; i++) if (passes(i)) view[count++] = i;
    this.view = view.slice(0, count);
    const values = this.sort.key === 'label' ? this.label : this.sort.key === 'random' ? this.random : this.column(this.sort.key)?.values;
    if (values) {
      const sign = this.sort.down ? -1 : 1;
      const at = (i) => (Number.isNaN(values[i]) ? Infinity : sign * values[i]); // unknown last
      this.view.sort((a, b) => at(a) - at(b) || a - b);
    }
    this.positions = null;
    this.stale = new Set(); // rows in view that no longer pass
    if (this.focus === undefined || this.position(this.focus) < 0) this.focus = this.view[0];
    this.emit('view');
    this.emit('selection');
    this.emit('focus');
  }

  /** A number for each row, in no order that means anything, the same at each visit. */
  get random() {
    return (this.chance ??= Uint32Array.from(this.place, (place) => Math.imul(place + 1, 2654435761) ^ (Math.imul(place + 1, 2246822519) >>> 13)));
  }

  position(i) {
    if (!this.positions) {
      this.positions = new Int32Array(this.n).fill(-1);
      this.view.forEach((row, at) => (this.positions[row] = at));
    }
    return i === undefined ? -1 : this.positions[i];
  }

  setFocus(i) {
    if (i === undefined) return;
    this.focus = i;
    this.emit('focus');
  }

  // ---- selection: all rows in view but some, or some rows -----------------------------------------------------------

  isSelected(i) {
    return this.selection.all !== this.selection.rows.has(i);
  }

  selected() {
    const { all, rows } = this.selection;
    return all ? [...this.view].filter((i) => !rows.has(i)) : [...rows].filter((i) => this.status[i] !== GONE);
  }

  get selectedCount() {
    const { all, rows } = this.selection;
    return all ? this.view.length - [...rows].filter((i) => this.position(i) >= 0).length : rows.size;
  }

  select(i, wanted = !this.isSelected(i)) {
    if (wanted === this.selection.all) this.selection.rows.delete(i);
    else this.selection.rows.add(i);
    this.emit('selection');
  }

  selectAll(all) {
    this.selection = { all, rows: new Set() };
    this.emit('selection');
  }

  /** Selects the rows in view between two. */
  selectRange(from, to) {
    const [a, b] = [this.position(from), this.position(to)].sort((x, y) => x - y);
    this.selection = { all: false, rows: new Set(this.view.subarray(Math.max(a, 0), b + 1)) };
    this.emit('selection');
  }

  /** The rows that a decision would be about: the selected ones if there are any, else the focused one. */
  targets() {
    const chosen = this.selected();
    if (chosen.length) return chosen;
    return this.focus === undefined ? [] : [this.focus];
  }
}

/** A rule with columns of all rows: `values` (class, NONE), `action` (NOTHING = no proposal) and `score`, a column of its own. */
function proposed(rule, arrays, rowOf, n, actions, times) {
  const name = rule.rule.replace('rule:', '');
  const [values, action, scores] = [new Int32Array(n).fill(NONE), new Uint8Array(n).fill(NOTHING), new Float32Array(n).fill(NaN)];
  arrays[`${rule.key} place`].forEach((place, k) => {
    const i = rowOf.get(place);
    if (i === undefined) return;
    values[i] = arrays[`${rule.key} label`][k];
    action[i] = arrays[`${rule.key} action`][k];
    scores[i] = arrays[`${rule.key} score`][k];
  });
  times.set(rule.rule, (times.get(rule.rule) ?? 0) + 1);
  const title = times.get(rule.rule) > 1 ? `${name} (${rule.source})` : name;
  const basis = rule.in_sample ? 'in-sample' : 'proposal';
  const score = { name: `score of ${name}`, title: `score of ${title}`, source: rule.source, kind: 'number', basis: 'proposal', values: scores };
  return { ...rule, name, title, basis, values, action, actions, score, count: arrays[`${rule.key} place`].length };
}

function varies(values) {
  let first = NaN;
  for (const value of values) {
    if (Number.isNaN(value)) continue;
    if (Number.isNaN(first)) first = value;
    else if (value !== first) return true;
  }
  return false;
}
