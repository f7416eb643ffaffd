// Groups of near duplicates: conflicting labels first, then copies in other splits. A click decides on a whole group.

import { h, picture, rows } from './html.js';
import { ofClass } from './colours.js';
import { NONE } from './model.js';

const STEP = 40; // groups that are drawn at first, and added by "more"
const KINDS = ['the same pixels', 'perhaps the same picture at another size or compression', 'nearly the same embedding'];
const SHOW = { all: 'all', conflicts: 'labels differ', crosses: 'a copy validates or tests' };

export class Duplicates {
  constructor(root, model, decider, look) {
    Object.assign(this, { root, model, decider, look, show_: 'all', most: STEP });
    this.choice = h('select', { onchange: () => ((this.show_ = this.choice.value), this.draw()) }, Object.entries(SHOW).map(([value, text]) => h('option', { value }, text)));
    this.note = h('span', { class: 'note', role: 'status' });
    this.list = h('div', { class: 'groups' });
    root.append(h('div', { class: 'tools' }, h('label', {}, 'groups', this.choice), this.note), this.list);
    for (const name of ['rows', 'view']) model.addEventListener(name, () => !root.hidden && this.draw());
  }

  column = (name) => this.model.columns.find((column) => column.name === name)?.values;

  /** The groups that have a row in the filters: {rows, labels, crosses, kind}. */
  groups() {
    const { model } = this;
    const [group, crosses, kind] = ['duplicate_group', 'duplicate_crosses', 'duplicate_kind'].map(this.column);
    if (!group) return null;
    const found = new Map();
    for (let i = 0; i < model.n; i++) {
      if (Number.isNaN(group[i]) || group[i] < 0 || model.status[i] > 3) continue;
      const g = found.get(group[i]) ?? found.set(group[i], { rows: [], labels: new Set(), crosses: false, kind: -1, within: false }).get(group[i]);
      g.rows.push(i);
      if (model.label[i] !== NONE) g.labels.add(model.label[i]);
      g.crosses ||= crosses?.[i] === 1;
      g.kind = Math.max(g.kind, kind?.[i] ?? -1);
      g.within ||= model.position(i) >= 0;
    }
    const rank = (g) => (g.labels.size > 1 ? 2 : 0) + (g.crosses ? 1 : 0);
    return [...found.values()].filter((g) => g.within && (g.rows.length > 1 || g.crosses)).sort((a, b) => rank(b) - rank(a) || b.rows.length - a.rows.length);
  }

  draw() {
    const all = this.groups();
    if (!all) {
      this.note.textContent = '';
      this.list.replaceChildren(h('p', { class: 'empty' }, 'Duplicates are not known: run “analyze --workdir=RUN” and open the page with --workdir=RUN.'));
      return;
    }
    const conflicts = all.filter((g) => g.labels.size > 1).length;
    const crossing = all.filter((g) => g.crosses).length;
    const shown = all.filter((g) => (this.show_ === 'conflicts' ? g.labels.size > 1 : this.show_ === 'crosses' ? g.crosses : true));
    this.note.textContent = `${all.length.toLocaleString('en')} groups in the filters, ${conflicts.toLocaleString('en')} with different labels, ${crossing.toLocaleString('en')} with copies that validate or test`;
    const more = shown.length > this.most ? h('button', { onclick: () => ((this.most += STEP), this.draw()) }, `${(shown.length - this.most).toLocaleString('en')} more`) : '';
    this.list.replaceChildren(...shown.slice(0, this.most).map((g) => this.group(g)), more);
  }

  group(g) {
    const { model, decider } = this;
    const tiles = g.rows.slice(0, 24).map((i) => {
      const name = h('span', {}, model.labelText(i));
      name.style.setProperty('--class', ofClass(model.label[i]));
      return h('button', { class: `near${model.status[i] > 1 ? ' away' : ''}`, title: `${model.name(i)}: look at it`, onclick: () => this.look(i) }, picture(model.picture(i)), name);
    });
    const used = g.rows.filter((i) => model.status[i] < 2);
    const about = (what) => `near duplicates: ${what}`;
    const buttons = [...(g.labels.size > 1 ? g.labels : [])].map((c) => h('button', { onclick: () => decider.decide('label', () => c, about('one label'), { rows: used, words: 'a group of duplicates' }) }, `All are ${model.classes[c]}`));
    if (used.length > 1) buttons.push(h('button', { onclick: () => decider.decide('drop', () => null, about('one is kept'), { rows: used.slice(1), words: 'a group of duplicates but the first' }) }, `Keep the first, drop ${rows(used.length - 1)}`));
    const marks = [g.labels.size > 1 && h('span', { class: 'mark' }, 'labels differ'), g.crosses && h('strong', { class: 'error' }, 'a copy validates or tests'), g.kind >= 0 && h('span', { class: 'why' }, KINDS[g.kind])].filter(Boolean);
    if (model.head.read_only) for (const button of buttons) button.disabled = true;
    return h('section', { class: 'group', 'aria-label': `${rows(g.rows.length)} that are duplicates` }, h('div', { class: 'tools' }, h('b', {}, rows(g.rows.length)), marks, h('span', { class: 'grow' }), h('span', { class: 'actions' }, buttons)), h('div', { class: 'montage' }, tiles));
  }
}
