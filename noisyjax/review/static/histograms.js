// A histogram for each number of the evidence; dragging over it keeps the rows in that range.

import { basisMark, h, short } from './html.js';
import { theme } from './colours.js';

const BINS = 48;
const HEIGHT = 44;

export class Histograms {
  constructor(root, model) {
    Object.assign(this, { root, model, charts: [], frame: 0 });
    model.addEventListener('view', () => this.later()); // decisions change no number of the evidence
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.later());
    this.build();
  }

  build() {
    this.charts = this.model.measures.map((column) => new Chart(column, this.model));
    this.root.replaceChildren(...this.charts.map((chart) => chart.element));
  }

  later() {
    if (!this.frame) {
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        for (const chart of this.charts) chart.draw();
      });
    }
  }
}

class Chart {
  constructor(column, model) {
    Object.assign(this, { column, model });
    const known = Float64Array.from(column.values).filter((v) => !Number.isNaN(v)).sort();
    this.low = known[Math.floor(known.length * 0.001)];
    this.high = known[Math.ceil(known.length * 0.999) - 1];
    if (!(this.high > this.low)) [this.low, this.high] = [known[0], known.at(-1)];
    this.bin = Int16Array.from(column.values, (v) => (Number.isNaN(v) ? -1 : this.at(v)));
    this.canvas = h('canvas', { height: HEIGHT, 'aria-hidden': 'true' });
    this.from = this.field('from');
    this.to = this.field('to');
    this.clear = h('button', { class: 'plain', hidden: true, 'aria-label': `All of ${column.title}`, onclick: () => this.set(null) }, '×');
    const range = h('span', { class: 'range' }, this.from, '–', this.to, this.clear);
    this.element = h('div', { class: 'histogram' }, h('div', { class: 'row' }, h('span', { class: 'title', title: column.basis }, column.title, basisMark(column)), range), this.canvas);
    this.canvas.addEventListener('pointerdown', (event) => this.drag(event));
  }

  field(which) {
    return h('input', {
      type: 'text',
      inputmode: 'decimal',
      size: 5,
      'aria-label': `${this.column.title}: ${which}`,
      onchange: () => {
        const [a, b] = [this.from.value, this.to.value].map((text) => (text.trim() === '' ? NaN : Number(text)));
        this.set(Number.isNaN(a) && Number.isNaN(b) ? null : [Number.isNaN(a) ? -Infinity : a, Number.isNaN(b) ? Infinity : b]);
      },
    });
  }

  at(value) {
    return Math.min(BINS - 1, Math.max(0, Math.floor((BINS * (value - this.low)) / (this.high - this.low || 1))));
  }

  set(range) {
    const ranges = new Map(this.model.filter.ranges);
    if (range) ranges.set(this.column.title, range);
    else ranges.delete(this.column.title);
    this.model.change({ ranges });
  }

  drag(event) {
    const box = this.canvas.getBoundingClientRect();
    const value = (e) => this.low + (Math.min(1, Math.max(0, (e.clientX - box.left) / box.width)) * (this.high - this.low));
    const start = value(event);
    this.canvas.setPointerCapture(event.pointerId);
    const move = (e) => {
      const now = value(e);
      const [a, b] = [Math.min(start, now), Math.max(start, now)];
      if (b > a) this.set([a <= this.low ? -Infinity : a, b >= this.high ? Infinity : b]);
    };
    this.canvas.addEventListener('pointermove', move);
    const end = (e) => {
      this.canvas.removeEventListener('pointermove', move);
      if (Math.abs(value(e) - start) < (this.high - this.low) / 200) this.set(null); // a click
    };
    this.canvas.addEventListener('pointerup', end, { once: true });
  }

  draw() {
    const { model, canvas } = this;
    const range = model.filter.ranges.get(this.column.title);
    const text = (v) => (v === undefined || !Number.isFinite(v) ? '' : short(v));
    if (document.activeElement !== this.from) this.from.value = text(range?.[0]);
    if (document.activeElement !== this.to) this.to.value = text(range?.[1]);
    this.from.placeholder = short(this.low);
    this.to.placeholder = short(this.high);
    this.clear.hidden = !range;
    const all = new Uint32Array(BINS);
    const shown = new Uint32Array(BINS);
    for (const b of this.bin) if (b >= 0) all[b]++;
    for (const i of model.view) if (this.bin[i] >= 0) shown[this.bin[i]]++;
    const ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth;
    if (!width) return;
    canvas.width = width * ratio;
    canvas.height = HEIGHT * ratio;
    const pen = canvas.getContext('2d');
    pen.scale(ratio, ratio);
    const most = Math.sqrt(Math.max(...all, 1)); // the square root: small bins stay visible
    const step = width / BINS;
    for (const [counts, colour] of [[all, theme('faint')], [shown, theme('accent')]]) {
      pen.fillStyle = colour;
      counts.forEach((count, b) => {
        const tall = (HEIGHT * Math.sqrt(count)) / most;
        pen.fillRect(b * step, HEIGHT - tall, Math.max(1, step - 1), tall);
      });
    }
    if (range) {
      const x = (v) => Math.min(width, Math.max(0, (width * (v - this.low)) / (this.high - this.low)));
      pen.fillStyle = theme('brush');
      pen.fillRect(x(range[0]), 0, Math.max(2, x(range[1]) - x(range[0])), HEIGHT);
    }
  }
}
