// What rules propose, side by side: how precise they say they are, what people made of it, and the rows of one of them.

import { Grid } from './grid.js';
import { bar, h, rows } from './html.js';
import { read } from './server.js';

const ORDERS = { down: 'surest first', up: 'least sure first', random: 'random: for an honest sample' };

/** Returns a share with its 95 % interval in words. */
const interval = (right, count, low, high) => `${right} of ${count}, ${Math.round(100 * low)}–${Math.round(100 * high)} %`;

export class Proposals {
  constructor(root, model, decider, act) {
    Object.assign(this, { root, model, decider, answers: {}, order: 'down', line: '' });
    this.table = h('div', { class: 'rules' });
    this.about = h('div', { class: 'tools' });
    this.list = h('div', { class: 'panel rows', role: 'listbox', tabindex: 0, 'aria-multiselectable': 'true', 'aria-label': 'Rows that the rule proposes to change', id: 'proposal-rows' });
    root.append(this.table, this.about, this.list);
    this.grid = new Grid(this.list, model, 'list', act, [['accept', 'Accept'], ['reject', 'Reject']]);
    for (const name of ['view', 'rows']) model.addEventListener(name, () => !root.hidden && this.later());
  }

  /** Called when the panel is shown: one rule is always looked at. */
  show() {
    const { model } = this;
    if (model.rules.length && !model.rule) this.choose(model.rules[0]);
    this.later();
  }

  choose(rule) {
    this.model.focus = undefined; // the first row
    this.model.change({ rule: rule.title, issues: false }, this.sorted(rule));
  }

  sorted(rule) {
    return this.order === 'random' ? { key: 'random', down: false } : { key: rule.score.title, down: this.order === 'down' };
  }

  later() {
    clearTimeout(this.timer);
    this.draw();
    this.timer = setTimeout(async () => {
      try {
        this.answers = (await read('/api/answers')).rules;
        this.draw();
      } catch {
        // the line above says that the server does not answer
      }
    }, 200);
  }

  draw() {
    const { model } = this;
    if (!model.rules.length) {
      this.table.replaceChildren(h('p', { class: 'empty' }, 'No proposals: write some with “table propose --rule=NAME … --workdir=FOLDER” and open the page with --workdir=RUN,FOLDER.'));
      this.about.replaceChildren();
      this.list.hidden = true;
      return;
    }
    const head = ['rule', 'proposes (class: rows)', 'precision, estimated on frozen labels (95 % interval)', 'precision, by people who looked (95 % interval)', 'open'];
    const held = this.table.contains(document.activeElement) ? document.activeElement.textContent : null;
    this.table.replaceChildren(h('table', {}, h('tr', {}, head.map((text) => h('th', { scope: 'col' }, text))), model.rules.map((rule) => this.row(rule))));
    if (held) [...this.table.querySelectorAll('button')].find((button) => button.textContent === held)?.focus();
    if (model.rule) this.drawLine(model.rule);
  }

  row(rule) {
    const { model } = this;
    const counts = new Map();
    for (let i = 0; i < model.n; i++) {
      const text = model.proposal(rule, i);
      if (text) counts.set(text, (counts.get(text) ?? 0) + 1);
    }
    const most = [...counts].sort((a, b) => b[1] - a[1]);
    const what = most.slice(0, 4).map(([text, n]) => `${text}: ${n.toLocaleString('en')}`).join(', ') + (most.length > 4 ? ', …' : '');
    const e = rule.estimate;
    const notes = [...(rule.stopped ?? []), rule.in_sample && 'in-sample evidence: too high', rule.stale > 0 && `${rows(rule.stale)} changed since they were made`, rule.gone && `${rows(rule.gone)} no longer open`].filter(Boolean);
    const estimate = !e ? 'not estimated' : e.precision === null ? 'unknown: it proposes no frozen row' : [bar(e.precision, e.low, e.high), h('span', { class: 'range' }, ` ${interval(e.right, e.proposed, e.low, e.high)}`)];
    const a = this.answers[rule.rule];
    const seen = a?.right;
    const said = seen?.count ? [bar(seen.right / seen.count, seen.low, seen.high), h('span', { class: 'range' }, ` ${interval(seen.right, seen.count, seen.low, seen.high)}`)] : 'nobody looked';
    const taken = a?.adopted ? h('div', { class: 'why' }, `${rows(a.adopted)} taken over unseen`) : '';
    const name = h('button', { 'aria-pressed': String(rule === model.rule), class: rule === model.rule ? 'main' : '', onclick: () => this.choose(rule) }, rule.title);
    return h('tr', {}, h('td', {}, name), h('td', {}, what, notes.map((note) => h('div', { class: 'why' }, note))), h('td', {}, estimate), h('td', {}, said, taken), h('td', {}, this.open(rule).length.toLocaleString('en')));
  }

  /** The rows of a rule that nobody answered. */
  open(rule) {
    const { model } = this;
    const out = [];
    for (let i = 0; i < model.n; i++) if (model.proposal(rule, i) && !model.by.has(i)) out.push(i);
    return out;
  }

  drawLine(rule) {
    const { model } = this;
    if (this.drawn !== rule) {
      this.drawn = rule;
      const order = h('select', { onchange: () => ((this.order = order.value), model.change({}, this.sorted(rule))) }, Object.entries(ORDERS).map(([value, text]) => h('option', { value }, text)));
      order.value = this.order;
      this.field = h('input', { type: 'text', inputmode: 'decimal', size: 6, placeholder: '0.95', 'aria-label': 'Line: lowest score that is taken over', oninput: () => this.drawTake(rule) });
      this.take = h('button', { onclick: () => this.decider.adopt(rule, this.above(rule)) });
      this.about.replaceChildren(h('label', {}, 'order', order), h('span', { class: 'grow' }), h('label', {}, 'line: score ≥', this.field), this.take);
    }
    this.drawTake(rule);
  }

  /** The open rows in the filters at or above the line, whose proposal needs no person. */
  above(rule) {
    const line = this.field.value.trim() === '' ? NaN : Number(this.field.value);
    const within = this.model.passes();
    return this.open(rule).filter((i) => rule.score.values[i] >= line && rule.actions[rule.action[i]] && within(i));
  }

  drawTake(rule) {
    const count = this.above(rule).length;
    this.take.disabled = !count || this.model.head.read_only;
    this.take.textContent = `Accept all above the line, unseen: ${rows(count)}`;
  }
}
