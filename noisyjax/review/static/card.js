// One row: its picture, its labels, what the evidence says, and who decided what when.

import { byId, h, picture, short } from './html.js';
import { ofClass } from './colours.js';
import { read } from './server.js';

export class Card {
  constructor(root, model) {
    Object.assign(this, { root, model, asked: 0 });
    for (const name of ['focus', 'rows']) model.addEventListener(name, () => this.draw());
  }

  draw() {
    const { model, root } = this;
    const i = model.focus;
    if (i === undefined) {
      root.replaceChildren(h('p', { class: 'empty' }, 'No row in focus.'));
      this.row = undefined;
      return;
    }
    if (this.row !== i) {
      this.row = i;
      this.picture = h('img', { src: model.picture(i, 'image'), alt: `picture of ${model.name(i)}` });
      this.picture.addEventListener('load', (e) => e.target.classList.toggle('small', e.target.naturalWidth < 128));
      this.picture.addEventListener('error', (e) => e.target.replaceWith(h('p', { class: 'broken' }, 'The picture cannot be read.')));
      this.history = h('ol', { class: 'history' });
      this.facts = h('div', {});
      this.details = h('div', {});
      this.tables = h('div', {});
      root.replaceChildren(h('div', { class: 'large' }, this.picture), h('h2', { class: 'name' }, model.name(i)), this.facts, this.details, this.tables, h('h3', {}, 'History'), this.history);
    }
    this.drawFacts(i);
    this.drawHistory(i);
  }

  drawFacts(i) {
    const { model } = this;
    const suggested = model.predicted?.values[i] ?? -1;
    const chip = (c, text) => {
      const mark = h('span', { class: 'swatch', 'aria-hidden': 'true' });
      mark.style.background = ofClass(c);
      return h('span', {}, mark, text);
    };
    const line = (name, value) => [h('dt', {}, name), h('dd', {}, value)];
    const facts = [
      ...line('label', chip(model.label[i], model.labelText(i))),
      ...line('given label', chip(model.given[i], model.className(model.given[i]))),
      ...line('checked', model.verified[i] < 0 ? 'by nobody' : chip(model.verified[i], model.className(model.verified[i]))),
    ];
    if (model.predicted) facts.push(...line(model.predicted.title, suggested < 0 ? '–' : chip(suggested, model.className(suggested))));
    for (const rule of model.rules) {
      const text = model.proposal(rule, i);
      if (text) facts.push(...line(rule.title, [chip(rule.values[i], text), `, score ${short(rule.score.values[i])}`]));
    }
    if (model.contested.has(i)) facts.push(...line('authors', h('strong', {}, 'disagree on this row')));
    const groups = new Map();
    for (const column of model.columns.filter((c) => c.basis !== 'proposal')) {
      const key = `${column.source}: ${column.basis}`;
      groups.set(key, [...(groups.get(key) ?? []), column]);
    }
    const tables = [...groups].map(([title, columns]) =>
      h(
        'details',
        { open: true },
        h('summary', {}, title),
        h('dl', { class: 'facts' }, columns.flatMap((c) => line(c.name, c.kind === 'class' ? model.className(c.values[i]) : short(c.values[i])))),
      ),
    );
    this.facts.replaceChildren(h('dl', { class: 'facts' }, facts));
    this.tables.replaceChildren(...tables);
  }

  /** Probabilities of the likeliest classes, and the nearest rows with their labels; a click goes there. */
  detail({ source, basis, probs, neighbours }) {
    const { model } = this;
    const likely = [...probs.keys()].sort((a, b) => probs[b] - probs[a]).slice(0, 5);
    const bars = likely.map((c) => [h('dt', {}, model.classes[c]), h('dd', {}, h('meter', { min: 0, max: 1, value: probs[c], 'aria-label': model.classes[c] }), ` ${short(probs[c])}`)]);
    const near = neighbours.map((place) => model.rowOf.get(place)).filter((i) => i !== undefined && i !== this.row).slice(0, 10);
    const tiles = near.map((i) => h('button', { class: 'near', title: model.name(i), onclick: () => model.setFocus(i) }, picture(model.picture(i)), model.labelText(i)));
    return [
      bars.length ? h('h3', {}, `Probabilities: ${source}, ${basis}`) : '',
      h('dl', { class: 'facts' }, bars),
      tiles.length ? h('h3', {}, 'Nearest rows and their labels') : '',
      h('div', { class: 'montage' }, tiles),
    ];
  }

  async drawHistory(i) {
    const asked = ++this.asked;
    await new Promise((resolve) => setTimeout(resolve, 150)); // who runs through the rows asks nothing
    if (asked !== this.asked) return;
    let found;
    try {
      found = await read(`/api/row/${this.model.place[i]}`);
    } catch {
      return;
    }
    if (asked !== this.asked) return;
    this.details.replaceChildren(...found.details.flatMap((each) => this.detail(each)));
    const waiting = found.waiting.map((d) => {
      const what = `${d.action}${d.label ? ` ${d.label}` : ''}`;
      const why = [d.reason, d.evidence].filter(Boolean).join('; ');
      return h('li', { class: d.undone ? 'undone' : '' }, h('b', {}, what), ` ${d.author}, ${d.time.slice(0, 16).replace('T', ' ')}${d.undone ? ' (undone)' : ''}`, why ? h('div', { class: 'why' }, why) : '');
    });
    const committed = found.committed.map((line) => h('li', {}, line));
    this.history.replaceChildren(...waiting.reverse(), ...committed);
  }
}

/** Shows a dialog and returns the value of the button that closed it; '' where it was dismissed. */
export function dialog(title, content, buttons) {
  const root = byId('dialog');
  const form = h(
    'form',
    { method: 'dialog' },
    h('h2', { id: 'dialog-title' }, title),
    h('div', { class: 'content' }, content),
    // Enter in a text field presses the first button that submits: the main one.
    h('menu', {}, buttons.map(([value, text, main]) => h('button', main ? { value, class: 'main', autofocus: true } : { type: 'button', onclick: () => root.close(value) }, text))),
  );
  root.replaceChildren(form);
  root.returnValue = '';
  root.showModal();
  return new Promise((resolve) => root.addEventListener('close', () => resolve(root.returnValue), { once: true }));
}
