// Decisions: on the selected rows if there are any, else on the row in focus. A bulk decision is shown before it is made.

import { h, picture, rows as rowsOf } from './html.js';
import { dialog } from './card.js';
import { NONE, NOTHING } from './model.js';

const DONE = { unlabel: 'no label', hold: 'held', drop: 'dropped', restore: 'given label', keep: 'kept as it is' };

export class Decider {
  /**
   * @param {(said: string) => void} advance moves the focus to the next row
   * @param {() => object} about what the server is told beside a decision, such as {blind: true}
   */
  constructor(model, queue, advance, say, about = () => ({})) {
    Object.assign(this, { model, queue, advance, say, about });
  }

  setClass(c) {
    if (c >= 0 && c < this.model.classes.length) this.decide('label', () => c, 'labeled in the review');
  }

  /** Does what is suggested: the class, or what the rule that is looked at proposes. */
  async accept() {
    const { rule } = this.model;
    if (!rule) return this.decide('label', (i) => this.model.suggested(i), 'suggestion accepted in the review');
    const { rows, words } = this.chosen();
    const actions = [...new Set(rows.map((i) => rule.action[i]))].filter((a) => a !== NOTHING && rule.actions[a]);
    if (!actions.length) this.say('Nothing to accept: the rule asks, or proposes nothing there.');
    for (const a of actions) {
      const some = { rows: rows.filter((i) => rule.action[i] === a), words };
      await this.decide(rule.actions[a], (i) => rule.values[i], `accepted in the review: ${rule.rule}`, some);
    }
  }

  reject() {
    const { rule } = this.model;
    if (!rule) return this.say('Nothing to reject: no rule is looked at.');
    const { rows, words } = this.chosen();
    const some = { rows: rows.filter((i) => rule.action[i] !== NOTHING), words };
    this.decide('keep', () => null, `rejected in the review: ${rule.rule}`, some);
  }

  /** Takes over a rule's proposals as the rule's own decisions, which nobody checked row by row. */
  async adopt(rule, rows) {
    const { model } = this;
    const labelOf = (i) => rule.values[i];
    const to = (i) => (rule.values[i] >= 0 ? model.classes[rule.values[i]] : DONE[rule.actions[rule.action[i]]]);
    const note = h('p', {}, `They stay decisions of ${rule.rule}: nobody looked at each of them, so they do not count as checked.`);
    if (!(await this.agreed(to, rows, 0, `score of ${rule.title} at or above the line`, note))) return;
    const found = await this.queue.send('adopt', { rule: model.rules.indexOf(rule), rows: rows.map((i) => model.place[i]) });
    if (found) this.say(`Saved: ${rowsOf(rows.length)} of ${rule.title}.`);
  }

  keep() {
    this.decide('label', (i) => this.model.label[i], 'label confirmed in the review');
  }

  plain(action) {
    this.decide(action, () => null, `${DONE[action]}: decided in the review`);
  }

  /** The rows that a decision is about, and how they were selected, in words; undefined = the row in focus alone. */
  chosen() {
    return { rows: this.model.targets(), words: this.model.selectedCount ? this.words() : undefined };
  }

  /** What would become of each target: rows and labels of those that the action can be about. */
  planned(action, labelOf, targets = this.model.targets()) {
    const taken = targets.filter((i) => action !== 'label' || (labelOf(i) ?? NONE) >= 0);
    return { targets, taken, left: targets.length - taken.length };
  }

  async decide(action, labelOf, reason, { rows, words } = this.chosen()) {
    const { model } = this;
    if (model.head.read_only) return this.say('The page was opened with --read_only.');
    const { targets, taken, left } = this.planned(action, labelOf, rows);
    const bulk = Boolean(words);
    if (!taken.length) return this.say(targets.length ? 'Nothing to do: no suggestion, or no label, there.' : 'No row in focus.');
    const to = (i) => (action === 'label' ? model.classes[labelOf(i)] : action === 'restore' ? model.className(model.given[i]) : DONE[action]);
    if (bulk && taken.length > 1 && !(await this.agreed(to, taken, left, words))) return;
    const found = bulk ? ` (${words})` : '';
    const content = { action, rows: taken.map((i) => model.place[i]), reason: [...reason, ...found].slice(0, 900).join(''), ...this.about(taken) };
    if (action === 'label') content.labels = taken.map(labelOf);
    const said = to(taken[0]);
    const sent = this.queue.send('decide', content); // on its way while the page moves on
    if (bulk) model.selectAll(false);
    else this.advance(said);
    const answer = await sent;
    if (answer) this.say(`Saved: ${rowsOf(taken.length)}.`);
  }

  /** Shows what would become of rows, by pairs of labels, and asks. */
  agreed(to, taken, left, words, note = '') {
    const { model } = this;
    const pairs = new Map();
    for (const i of taken) {
      const key = `${model.labelText(i)} → ${to(i)}`;
      pairs.set(key, (pairs.get(key) ?? 0) + 1);
    }
    const same = taken.filter((i) => model.labelText(i) === to(i)).length;
    const list = [...pairs].sort((a, b) => b[1] - a[1]);
    const body = list.slice(0, 30).map(([pair, n]) => h('tr', {}, h('td', {}, pair), h('td', {}, n.toLocaleString('en'))));
    const sample = taken.slice(0, 20).map((i) => picture(model.picture(i), model.labelText(i)));
    return dialog(
      `${rowsOf(taken.length - same)} will change${same ? `; ${rowsOf(same)} keep this label` : ''}`,
      [
        h('p', {}, `Selected by: ${words}.`, left ? ` ${rowsOf(left)} left out: no suggestion or no label there.` : ''),
        note,
        h('table', { class: 'pairs' }, body),
        list.length > 30 ? h('p', {}, `and ${list.length - 30} more pairs`) : '',
        h('div', { class: 'montage' }, sample),
      ],
      [['', 'Cancel'], ['yes', `Change ${rowsOf(taken.length - same)}${same ? `, confirm ${same}` : ''}`, true]],
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
    this.say(`${what === 'undo' ? 'Undone' : 'Done again'}: ${rowsOf(touched.length)}.`);
    if (touched.length) this.model.setFocus(touched.find((i) => this.model.position(i) >= 0) ?? touched[0]);
  }
}

/** The filters in words. */
export function filterWords(model) {
  const f = model.filter;
  const names = (set) => [...set].map(model.className).join(', ') || 'none';
  const out = [];
  if (f.rule) out.push(`proposed by ${f.rule}`);
  if (f.labels) out.push(`label ${names(f.labels)}`);
  if (f.suggested) out.push(`suggestion ${names(f.suggested)}`);
  if (f.statuses) out.push([...f.statuses].map((s) => model.statuses[s]).join(' or ') || 'no status');
  if (f.decided !== 'all') out.push(f.decided === 'contested' ? 'authors disagree' : f.decided);
  if (f.issues) out.push('suggestion differs from the label');
  for (const [title, [low, high]] of f.ranges) out.push(low === -Infinity ? `${title} ≤ ${+high.toPrecision(3)}` : high === Infinity ? `${title} ≥ ${+low.toPrecision(3)}` : `${title} ${+low.toPrecision(3)} to ${+high.toPrecision(3)}`);
  if (f.regions.length) out.push(`lasso on ${f.regions[0].x} × ${f.regions[0].y}`);
  if (f.text) out.push(`name contains “${f.text}”`);
  return out.join('; ') || 'all rows';
}
