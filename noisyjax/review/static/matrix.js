// Label × suggestion: how many rows in the filters but those of the matrix itself; a cell shows its rows in the grid.

import { h } from './html.js';
import { NONE } from './model.js';

const MOST = 24; // classes of a matrix; of more, the most frequent pairs are listed

export class Matrix {
  constructor(root, model, open) {
    Object.assign(this, { root, model, open });
    for (const name of ['view', 'rows']) model.addEventListener(name, () => !root.hidden && this.draw());
  }

  counts() {
    const { model } = this;
    const c = model.classes.length;
    const counts = new Uint32Array((c + 1) * c);
    const { labels, suggested } = model.filter;
    Object.assign(model.filter, { labels: null, suggested: null });
    const passes = model.passes();
    Object.assign(model.filter, { labels, suggested });
    for (let i = 0; i < model.n; i++) {
      const s = model.suggested(i);
      if (s >= 0 && model.status[i] < 2 && passes(i)) counts[(model.label[i] < 0 ? c : model.label[i]) * c + s]++;
    }
    return counts;
  }

  choose(label, suggested) {
    this.model.change({ labels: label === null ? null : new Set([label]), suggested: suggested === null ? null : new Set([suggested]) });
    this.open();
  }

  draw() {
    const { model, root } = this;
    if (!model.suggestion) {
      root.replaceChildren(h('p', { class: 'empty' }, 'No predictions: open the page with --workdir=RUN.'));
      return;
    }
    const counts = this.counts();
    const { title, basis } = model.suggestion;
    const intro = h(
      'p',
      {},
      `Rows: label now. Columns: ${title} (${basis}). A cell opens its rows in the grid. Dropped and held rows are not counted.`,
    );
    root.replaceChildren(intro, model.classes.length <= MOST ? this.table(counts) : this.pairs(counts));
  }

  table(counts) {
    const { model } = this;
    const c = model.classes.length;
    const labels = [...model.classes.keys(), NONE];
    const row = (r) => (r === NONE ? c : r);
    const most = Math.max(1, ...labels.flatMap((r) => model.classes.map((_, s) => (r === s ? 0 : counts[row(r) * c + s]))));
    const head = h('tr', {}, h('td', {}), model.classes.map((name) => h('th', { scope: 'col' }, h('span', {}, name))), h('th', { scope: 'col' }, 'all'));
    const body = labels.map((r) => {
      let total = 0;
      const cells = model.classes.map((name, s) => {
        const n = counts[row(r) * c + s];
        total += n;
        const says = `label ${model.className(r)}, ${model.suggestion.title} ${name}: ${n}`;
        const cell = h('button', { disabled: !n, 'aria-label': says, title: says, onclick: () => this.choose(r, s) }, n ? n.toLocaleString('en') : '·');
        cell.style.setProperty('--share', r === s ? 0 : Math.sqrt(n / most));
        return h('td', { class: r === s ? 'same' : '' }, cell);
      });
      const all = h('button', { disabled: !total, onclick: () => this.choose(r, null), 'aria-label': `label ${model.className(r)}: ${total}` }, total.toLocaleString('en'));
      return total || r !== NONE ? h('tr', {}, h('th', { scope: 'row' }, model.className(r)), cells, h('td', { class: 'same' }, all)) : null;
    });
    return h('table', { class: 'matrix' }, h('thead', {}, head), h('tbody', {}, body));
  }

  pairs(counts) {
    const { model } = this;
    const c = model.classes.length;
    const found = [];
    counts.forEach((n, at) => {
      const [label, suggested] = [Math.floor(at / c) === c ? NONE : Math.floor(at / c), at % c];
      if (n && label !== suggested) found.push([n, label, suggested]);
    });
    found.sort((a, b) => b[0] - a[0]);
    const item = ([n, label, suggested]) =>
      h('li', {}, h('button', { onclick: () => this.choose(label, suggested) }, `${n.toLocaleString('en')}: ${model.className(label)} → ${model.className(suggested)}`));
    return h('ol', { class: 'pairs' }, found.slice(0, 100).map(item));
  }
}
