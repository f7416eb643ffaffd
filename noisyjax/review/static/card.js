// One row: its picture, its labels, what the evidence says, and who decided what when.

import { h, picture, short } from './html.js';
import { ofClass } from './colours.js';
import { read } from './server.js';

export class Card {
  constructor(root, model) {
    Object.assign(this, { root, model, asked: 0, row: null });
    this.large = h('div', { class: 'large' });
    this.title = h('h2', { class: 'name' });
    for (const name of ['facts', 'details', 'tables']) this[name] = h('div', {});
    this.history = h('ol', { class: 'history' });
    for (const name of ['focus', 'rows']) model.addEventListener(name, () => this.later());
  }

  /** The picture comes with the next frame, the rest after the answer to a decision. */
  later() {
    this.frame ??= requestAnimationFrame(() => this.drawPicture());
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.draw(), 50);
  }

  drawPicture() {
    this.frame = undefined;
    const { model, root } = this;
    const i = model.focus;
    if (this.row === i) return;
    this.row = i;
    if (i === undefined) return root.replaceChildren(h('p', { class: 'empty' }, 'No row in focus.'));
    const image = h('img', { src: model.picture(i, 'image'), alt: `picture of ${model.name(i)}` });
    image.addEventListener('load', () => image.classList.toggle('small', image.naturalWidth < 128));
    image.addEventListener('error', () => image.replaceWith(h('p', { class: 'broken' }, 'The picture cannot be read.')));
    this.large.replaceChildren(image);
    this.title.textContent = model.name(i);
    if (!this.large.isConnected) root.replaceChildren(this.large, this.title, this.facts, this.details, this.tables, h('h3', {}, 'History'), this.history);
  }

  draw() {
    const i = this.model.focus;
    if (i === undefined) return;
    if (this.drawn !== i) for (const part of [this.details, this.history]) part.replaceChildren();
    this.drawn = i;
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
    await new Promise((resolve) => setTimeout(resolve, 100)); // who runs through the rows asks nothing
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
  // An element for each: the event "close" comes when the next may be open already.
  const root = h('dialog', { 'aria-label': title });
  const form = h(
    'form',
    { method: 'dialog' },
    h('h2', {}, title),
    h('div', { class: 'content' }, content),
    // Enter in a text field presses the first button that submits: the main one.
    h('menu', {}, buttons.map(([value, text, main]) => h('button', main ? { value, class: 'main', autofocus: true } : { type: 'button', onclick: () => root.close(value) }, text))),
  );
  root.append(form);
  document.body.append(root);
  root.showModal();
  return new Promise((resolve) => root.addEventListener('close', () => (root.remove(), resolve(root.returnValue))));
}
