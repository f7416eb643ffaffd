// Decisions: on the selected rows if there are any, else on the row in focus. A bulk decision is shown before it is made.

import { h, picture, rows } from './html.js';
import { dialog } from './card.js';
import { NONE } from './model.js';

const DONE = { unlabel: 'no label', hold: 'held', drop: 'dropped', restore: 'as delivered' };

export class Decider {
  /** @param {() => void} advance moves the focus to the next row */
  constructor(model, queue, advance, say) {
    Object.assign(this, { model, queue, advance, say });
  }

  setClass(c) {
    if (c >= 0 && c < this.model.classes.length) this.decide('label', () => c, 'labeled in the review');
  }

  accept() {
    this.decide('label', (i) => this.model.suggested(i), 'suggestion accepted in the review');
  }

  keep() {
    this.decide('label', (i) => this.model.label[i], 'label confirmed in the review');
  }

  plain(action) {
    this.decide(action, () => null, `${DONE[action]}: decided in the review`);
  }

  /** What would become of each target: rows and labels of those that the action can be about. */
  planned(action, labelOf) {
    const targets = this.model.targets();
    const taken = targets.filter((i) => action !== 'label' || (labelOf(i) ?? NONE) >= 0);
    return { targets, taken, left: targets.length - taken.length };
  }

  async decide(action, labelOf, reason) {
    const { model } = this;
    if (model.head.read_only) return this.say('The page was opened with --read_only.');
    const { targets, taken, left } = this.planned(action, labelOf);
    if (!taken.length) return this.say(targets.length ? 'Nothing to do: no suggestion, or no label, there.' : 'No row in focus.');
    const bulk = model.selectedCount > 0;
    if (bulk && taken.length > 1 && !(await this.agreed(action, labelOf, taken, left))) return;
    const found = model.selectedCount ? ` (${this.words()})` : '';
    const content = { action, rows: taken.map((i) => model.place[i]), reason: [...reason, ...found].slice(0, 900).join('') };
    if (action === 'label') content.labels = taken.map(labelOf);
    if (bulk) model.selectAll(false);
    else this.advance();
    const answer = await this.queue.send('decide', content);
    if (answer) this.say(`Saved: ${rows(taken.length)}.`);
  }

  agreed(action, labelOf, taken, left) {
    const { model } = this;
    const pairs = new Map();
    for (const i of taken) {
      const to = action === 'label' ? model.classes[labelOf(i)] : action === 'restore' ? model.className(model.given[i]) : DONE[action];
      const key = `${model.labelText(i)} → ${to}`;
      pairs.set(key, (pairs.get(key) ?? 0) + 1);
    }
    const list = [...pairs].sort((a, b) => b[1] - a[1]);
    const body = list.slice(0, 30).map(([pair, n]) => h('tr', {}, h('td', {}, pair), h('td', {}, n.toLocaleString('en'))));
    const sample = taken.slice(0, 20).map((i) => picture(model.picture(i), model.labelText(i)));
    return dialog(
      `${rows(taken.length)} will change`,
      [
        h('p', {}, `Selected by: ${this.words()}.`, left ? ` ${rows(left)} left out: no suggestion or no label there.` : ''),
        h('table', { class: 'pairs' }, body),
        list.length > 30 ? h('p', {}, `and ${list.length - 30} more pairs`) : '',
        h('div', { class: 'montage' }, sample),
      ],
      [['', 'Cancel'], ['yes', `Change ${rows(taken.length)}`, true]],
    );
  }

  /** The selection in words. */
  words() {
    const { model } = this;
    const { all, rows: some } = model.selection;
    return all ? `all rows in the filters${some.size ? ` but ${some.size}` : ''}: ${filterWords(model)}` : 'by hand';
  }

  async step(what) {
    const found = await this.queue.send(what);
    if (!found) return;
    const touched = found.places.map((place) => this.model.rowOf.get(place)).filter((i) => i !== undefined);
    this.say(`${what === 'undo' ? 'Undone' : 'Done again'}: ${rows(touched.length)}.`);
    if (touched.length) this.model.setFocus(touched.find((i) => this.model.position(i) >= 0) ?? touched[0]);
  }
}

/** The filters in words. */
export function filterWords(model) {
  const f = model.filter;
  const names = (set) => [...set].map(model.className).join(', ') || 'none';
  const out = [];
  if (f.labels) out.push(`label ${names(f.labels)}`);
  if (f.suggested) out.push(`suggestion ${names(f.suggested)}`);
  if (f.statuses) out.push([...f.statuses].map((s) => model.statuses[s]).join(' or ') || 'no status');
  if (f.decided !== 'all') out.push(f.decided);
  if (f.issues) out.push('suggestion differs from the label');
  for (const [title, [low, high]] of f.ranges) out.push(low === -Infinity ? `${title} ≤ ${+high.toPrecision(3)}` : high === Infinity ? `${title} ≥ ${+low.toPrecision(3)}` : `${title} ${+low.toPrecision(3)} to ${+high.toPrecision(3)}`);
  if (f.regions.length) out.push(`lasso on ${f.regions[0].x} × ${f.regions[0].y}`);
  if (f.text) out.push(`name contains “${f.text}”`);
  return out.join('; ') || 'all rows';
}
