// The rows in view as tiles, or as a ranked list. Only what is on the screen has elements.

import { h, picture, short } from './html.js';
import { ofClass } from './colours.js';

const GAP = 6;
const CAPTION = 34;
const LINE = 76;

export class Grid {
  /**
   * @param {'tiles' | 'list'} kind
   * @param {(action: string, i: number) => void} act
   * @param {string[][]} buttons of a line: action and text
   */
  constructor(root, model, kind, act = () => {}, buttons = []) {
    Object.assign(this, { root, model, kind, act, buttons, size: 96, tiles: new Map(), frame: 0, anchor: undefined, width: 0, height: 0, top: 0 });
    this.space = h('div', { class: 'space', role: 'presentation' });
    this.empty = h('p', { class: 'empty', hidden: true }, 'No row passes the filters.');
    root.append(this.space, this.empty);
    root.addEventListener('scroll', () => {
      this.top = root.scrollTop;
      this.later();
    });
    root.addEventListener('click', (event) => this.clicked(event));
    new ResizeObserver(() => this.measure()).observe(root);
    model.addEventListener('view', () => {
      this.forget();
      this.later();
    });
    for (const name of ['rows', 'selection']) model.addEventListener(name, () => this.later());
    model.addEventListener('focus', () => this.reveal());
  }

  get columns() {
    return this.kind === 'list' ? 1 : Math.max(1, Math.floor((this.width - GAP) / (this.size + GAP)));
  }

  get lineHeight() {
    return this.kind === 'list' ? LINE : this.size + CAPTION + GAP;
  }

  get page() {
    return Math.max(1, Math.floor(this.height / this.lineHeight)) * this.columns;
  }

  resize(size) {
    this.size = size;
    this.forget();
    this.reveal();
  }

  forget() {
    for (const tile of this.tiles.values()) tile.remove();
    this.tiles.clear();
  }

  later() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  /** Reads size and place of the panel: costs a layout, so never for a key. */
  measure() {
    [this.width, this.height, this.top] = [this.root.clientWidth, this.root.clientHeight, this.root.scrollTop];
    this.later();
  }

  reveal() {
    const line = Math.floor(this.model.position(this.model.focus) / this.columns);
    const top = line * this.lineHeight;
    if (line >= 0 && this.height) {
      if (top < this.top) this.scroll(top);
      else if (top + this.lineHeight > this.top + this.height) this.scroll(top + this.lineHeight + GAP - this.height);
    }
    this.later();
  }

  scroll(top) {
    this.root.scrollTop = top;
    this.top = this.root.scrollTop;
  }

  draw() {
    this.frame = 0;
    const { model, root, columns, lineHeight } = this;
    if (!this.height) return; // hidden
    this.empty.hidden = model.view.length > 0;
    this.space.style.height = `${Math.ceil(model.view.length / columns) * lineHeight + GAP}px`;
    const first = Math.max(0, Math.floor(this.top / lineHeight) - 1) * columns;
    const last = Math.min(model.view.length, (Math.ceil((this.top + this.height) / lineHeight) + 1) * columns);
    for (const [at, tile] of this.tiles) {
      if (at < first || at >= last) {
        tile.remove();
        this.tiles.delete(at);
      }
    }
    for (let at = first; at < last; at++) {
      let tile = this.tiles.get(at);
      if (!tile) {
        tile = this.kind === 'list' ? this.line(model.view[at]) : this.tile(model.view[at]);
        tile.id = `${this.root.id}-${model.view[at]}`;
        tile.row = model.view[at];
        tile.setAttribute('aria-setsize', model.view.length);
        tile.setAttribute('aria-posinset', at + 1);
        this.tiles.set(at, tile);
        this.space.append(tile);
      }
      tile.style.top = `${Math.floor(at / columns) * lineHeight + GAP}px`;
      if (this.kind === 'tiles') {
        tile.style.left = `${(at % columns) * (this.size + GAP) + GAP}px`;
        tile.style.width = `${this.size}px`;
        tile.picture.style.height = `${this.size}px`;
      }
      this.mark(tile);
    }
    if (model.focus !== undefined) root.setAttribute('aria-activedescendant', `${root.id}-${model.focus}`);
  }

  image(i) {
    const image = picture(this.model.picture(i));
    image.addEventListener('error', () => image.replaceWith(h('span', { class: 'broken' }, 'no picture')));
    return h('div', { class: 'picture' }, image);
  }

  tile(i) {
    const tile = h('div', { class: 'tile', role: 'option' });
    tile.picture = this.image(i);
    tile.caption = h('div', { class: 'caption' });
    tile.append(tile.picture, h('span', { class: 'badge', 'aria-hidden': 'true' }), tile.caption);
    return tile;
  }

  line(i) {
    const { model } = this;
    const tile = h('div', { class: 'line', role: 'option' });
    tile.caption = h('div', { class: 'change' });
    const { rule } = model;
    const chip = (text) => h('span', { class: 'chip' }, text);
    const others = model.rules.filter((other) => other !== rule && model.proposal(other, i));
    const chips = [
      rule ? chip(`${rule.title} ${short(rule.score.values[i])}`) : '',
      ...others.map((other) => chip(`${other.title}: ${model.proposal(other, i)}`)),
      ...model.evidence.slice(0, 4).map((column) => chip(`${column.title} ${short(column.values[i])}`)),
    ];
    tile.append(
      h('span', { class: 'rank' }, String(model.position(i) + 1)),
      (tile.picture = this.image(i)),
      h('span', { class: 'badge', 'aria-hidden': 'true' }),
      h('div', { class: 'about' }, tile.caption, h('div', { class: 'name' }, model.name(i)), h('div', { class: 'chips' }, chips)),
      ...this.buttons.map(([action, text]) => h('button', { 'data-act': action, tabindex: -1 }, text)),
    );
    return tile;
  }

  /** Brings a tile up to date: label, suggestion, marks. */
  mark(tile) {
    const { model } = this;
    const i = tile.row;
    const suggested = model.suggested(i);
    const decided = model.by.has(i);
    const state = [model.label[i], model.status[i], suggested, decided, model.contested.has(i), model.isSelected(i), model.focus === i];
    if (String(state) === tile.state) return;
    tile.state = String(state);
    const text = model.labelText(i);
    const proposal = model.rule ? model.proposal(model.rule, i) : suggested >= 0 && suggested !== model.label[i] ? model.classes[suggested] : '';
    const differs = proposal && !(model.rule && decided);
    tile.caption.replaceChildren(
      h('span', { class: 'label' }, text),
      differs ? h('span', { class: 'suggestion' }, `${this.kind === 'list' ? ' → ' : '? '}${proposal}`) : '',
    );
    tile.style.setProperty('--class', ofClass(model.label[i]));
    tile.classList.toggle('selected', model.isSelected(i));
    tile.classList.toggle('focused', model.focus === i);
    tile.classList.toggle('decided', decided);
    tile.classList.toggle('away', model.status[i] > 1);
    tile.querySelector('.badge').textContent = model.contested.has(i) ? '≠' : decided ? '✓' : '';
    tile.setAttribute('aria-selected', model.isSelected(i));
    const words = [model.name(i), `label ${text}`, differs && `suggestion ${proposal}`, decided && 'decided'];
    tile.setAttribute('aria-label', words.filter(Boolean).join(', '));
  }

  clicked(event) {
    const tile = event.target.closest('[role=option]');
    if (!tile) return;
    const act = event.target.dataset.act;
    const { model } = this;
    if (act) {
      this.root.focus({ preventScroll: true }); // the keys stay those of the rows
      this.act(act, tile.row);
      return;
    }
    if (event.shiftKey && model.focus !== undefined) model.selectRange(this.anchor ?? model.focus, tile.row);
    else if (event.ctrlKey || event.metaKey) model.select(tile.row);
    else if (model.selectedCount) model.selectAll(false);
    if (!event.shiftKey) this.anchor = tile.row;
    model.setFocus(tile.row);
    this.root.focus({ preventScroll: true });
  }

  /** Moves the focus by rows; with `extend` the selection grows along. */
  move(by, extend) {
    const { model } = this;
    const at = Math.min(model.view.length - 1, Math.max(0, model.position(model.focus) + by));
    const to = model.view[at];
    if (to === undefined) return;
    if (extend) model.selectRange((this.anchor ??= model.focus), to);
    else this.anchor = undefined;
    model.setFocus(to);
  }
}
