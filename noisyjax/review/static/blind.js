// Blind: a person decides by the image alone, and sees afterwards what the label and the suggestion are. Some images
// come again, so that a person's agreement with themselves is known.

import { h, picture, rows } from './html.js';
import { read } from './server.js';

const AGAIN = 20; // after so many decisions, an image comes again …
const APART = 10; // … that was decided at least so many decisions ago

export class Blind {
  constructor(root, model) {
    Object.assign(this, { root, model, done: [], asked: new Set(), count: 0, repeat: false, last: null, found: null });
    this.image = h('div', { class: 'large' });
    this.told = h('div', { class: 'told', role: 'status' });
    this.agreement = h('div', { class: 'agreement' });
    const intro = `What is it? Set the class by its key. ${model.head.curates ? 'S' : 'Label, file name and suggestion are shown after your decision; s'}ome images come again.`;
    root.append(h('p', {}, intro), this.image, this.told, this.agreement);
    model.addEventListener('focus', () => !root.hidden && model.focus !== this.at && this.back());
    model.addEventListener('rows', () => {
      if (root.hidden) return;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.agree(), 200);
    });
  }

  show() {
    const { model } = this;
    this.done = [...model.by].filter(([, author]) => author === model.head.author).map(([i]) => i);
    model.selectAll(false);
    this.next();
    this.agree();
  }

  /** What the server is told beside a decision. */
  about = () => ({ blind: true, ...(this.repeat ? { repeat: true } : {}) });

  /** Remembers what a decision is about, before it is made, and shows the next image. */
  decided(said) {
    const { model } = this;
    const i = model.focus;
    if (i === undefined) return;
    const suggestion = model.suggestion ? model.rule ? model.proposal(model.rule, i) || 'nothing' : model.className(model.suggested(i)) : '';
    this.last = { i, said, label: this.repeat ? this.labels.get(i) : model.labelText(i), suggestion, before: this.repeat ? model.labelText(i) : '' };
    (this.labels ??= new Map()).set(i, this.last.label ?? model.labelText(i));
    if (this.repeat) this.asked.add(i);
    else this.done.push(i);
    this.count++;
    this.next();
  }

  /** Shows the row in focus once more: its decision was taken back. */
  back() {
    this.at = this.model.focus;
    this.repeat = false;
    this.done = this.done.filter((i) => i !== this.at);
    this.last = null;
    this.draw();
  }

  next() {
    const { model } = this;
    const old = this.done.slice(0, -APART).filter((i) => !this.asked.has(i) && this.labels?.has(i));
    this.repeat = this.count > 0 && this.count % AGAIN === 0 && old.length > 0;
    let to;
    if (this.repeat) to = old[0];
    else {
      const done = new Set(this.done);
      for (const i of model.view) if (!done.has(i) && (to === undefined || model.random[i] < model.random[to])) to = i;
    }
    this.at = to;
    model.focus = to; // undefined, when all are decided: a key then decides on nothing
    model.emit('focus');
    this.draw();
  }

  draw() {
    const { model, at, last } = this;
    if (this.shown !== at || at === undefined) {
      this.shown = at;
      this.image.replaceChildren(at === undefined ? h('p', { class: 'empty' }, 'You decided all rows in the filters.') : picture(model.picture(at, 'image'), 'picture to decide on'));
    }
    if (!last) return this.told.replaceChildren();
    const said = last.said || 'something else';
    const parts = [h('b', {}, `You said ${said}.`), ` The label was ${last.label}.`];
    if (last.suggestion) parts.push(` ${model.suggestion.title}: ${last.suggestion}.`);
    if (last.before) parts.push(` You were asked before, and said ${last.before} then.`);
    this.told.replaceChildren(picture(model.picture(last.i)), h('div', {}, h('div', { class: 'name' }, model.name(last.i)), parts));
  }

  async agree() {
    try {
      this.found = await read('/api/answers');
    } catch {
      return;
    }
    const { model, found } = this;
    const told = [];
    const own = found.oneself[model.head.author];
    const percent = (share) => Math.round(100 * share);
    const say = (s, what) => `the same answer for ${s.right} of ${s.count} images that ${what} (95 % interval ${percent(s.low)}–${percent(s.high)} %)`;
    told.push(h('p', {}, own ? `You and yourself: ${say(own, 'were asked twice')}.` : 'You and yourself: no image was asked twice yet.'));
    for (const { authors, all, blind, differ } of found.pairs) {
      const names = authors.map((author) => author.replace('person:', ''));
      told.push(h('p', {}, `${names.join(' and ')}: ${say(all, 'both decided')}`, blind.count ? `; ${say(blind, 'both decided blind')}.` : '; none blind by both.'));
      const lines = differ.map(({ place, said }) => {
        const i = model.rowOf.get(place);
        return h('tr', {}, h('td', {}, h('button', { class: 'near', title: 'Look at it in the grid', onclick: () => this.open(i) }, picture(model.picture(i)))), h('td', {}, model.name(i)), said.map((text) => h('td', {}, text)));
      });
      if (differ.length) told.push(h('details', {}, h('summary', {}, `${rows(differ.length)} on which they differ`), h('table', { class: 'rows' }, h('tr', {}, ['', 'file', ...names].map((text) => h('th', {}, text))), lines)));
    }
    this.agreement.replaceChildren(...told);
  }
}
