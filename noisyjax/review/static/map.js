// Points at two columns of the evidence, drawn pixel by pixel; a lasso keeps what it encloses.

import { h, picture, rows, short } from './html.js';
import { UNLABELED, ofClass, pixel, scale, theme } from './colours.js';

const CELLS = 64; // a side of the index by which the point under the cursor is found
const PAIRS = [['map_x', 'map_y'], ['pca_x', 'pca_y'], ['mean_confidence', 'mean_loss'], ['confidence', 'loss']]; // axes, the first that there are

export class Map2D {
  constructor(root, model) {
    Object.assign(this, { root, model, frame: 0, view: null, points: null, near: -1 });
    const name = (k) => model.numbers.find((column) => column.name === k)?.title;
    const pair = PAIRS.map((p) => p.map(name)).find((p) => p.every(Boolean)) ?? model.numbers.slice(0, 2).map((c) => c.title);
    const choice = (label, options, value, change) => {
      const list = h('select', { onchange: () => change(list.value) }, options.map((o) => h('option', { value: o }, o)));
      list.value = value;
      return h('label', {}, label, list);
    };
    const titles = model.numbers.map((column) => column.title);
    [this.x, this.y] = pair;
    this.colour = 'label';
    const colours = ['label', 'suggestion', 'label ≠ suggestion', 'decided', 'density', ...titles];
    const again = (key) => (value) => {
      this[key] = value;
      if (key !== 'colour') this.view = null;
      this.index = null;
      this.later();
    };
    this.legend = h('div', { class: 'legend', role: 'group', 'aria-label': 'Classes' });
    this.note = h('span', { class: 'note', role: 'status' });
    const clear = h('button', { onclick: () => model.change({ regions: [] }) }, 'Clear lasso');
    const fit = h('button', { onclick: () => ((this.view = null), this.later()) }, 'Fit');
    this.bar = h('div', { class: 'tools' }, choice('x', titles, this.x, again('x')), choice('y', titles, this.y, again('y')), choice('colour', colours, this.colour, again('colour')), fit, clear, h('span', { class: 'why' }, 'Drag: lasso. Shift adds, Alt takes away; the wheel zooms.'), this.note);
    this.canvas = h('canvas', { tabindex: 0, role: 'img', 'aria-label': 'Map of the rows. Drag: lasso; Shift adds, Alt takes away; wheel zooms. The filters at the left do the same by keyboard.' });
    this.lasso = h('canvas', { class: 'over', 'aria-hidden': 'true' });
    this.hover = h('div', { class: 'hover', hidden: true });
    this.plot = h('div', { class: 'plot' }, this.canvas, this.lasso, this.hover);
    root.append(this.bar, this.plot, this.legend);
    for (const event of ['view', 'rows', 'selection', 'focus']) model.addEventListener(event, () => this.later());
    new ResizeObserver(() => this.later()).observe(this.plot);
    this.canvas.addEventListener('pointerdown', (event) => this.draws(event));
    this.canvas.addEventListener('pointermove', (event) => this.looks(event));
    this.canvas.addEventListener('pointerleave', () => (this.hover.hidden = true));
    this.canvas.addEventListener('wheel', (event) => this.zooms(event), { passive: false });
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.later());
  }

  later() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  get axes() {
    return [this.model.column(this.x)?.values, this.model.column(this.y)?.values];
  }

  /** The part of the plane on the screen: {x0, y0, x1, y1}. */
  fitted() {
    const [xs, ys] = this.axes;
    const range = (values) => {
      const known = Float64Array.from(values).filter((v) => !Number.isNaN(v)).sort();
      const [a, b] = [known[0] ?? 0, known.at(-1) ?? 1];
      const edge = (b - a || 1) * 0.04;
      return [a - edge, b + edge];
    };
    const [[x0, x1], [y0, y1]] = [range(xs), range(ys)];
    return { x0, y0, x1, y1 };
  }

  colourer() {
    const { model } = this;
    if (this.colour === 'label') return (i) => ofClass(model.label[i]);
    if (this.colour === 'suggestion') return (i) => ofClass(model.suggested(i));
    if (this.colour === 'label ≠ suggestion') return (i) => (model.isIssue(i) ? '#d55e00' : '#56b4e9');
    if (this.colour === 'decided') return (i) => (model.by.has(i) ? '#d55e00' : '#9a9a9a');
    const values = this.colour === 'density' ? this.density() : model.column(this.colour).values;
    this.scale = scale(values);
    return (i) => this.scale.of(values[i]);
  }

  /** How many rows in the filters lie near each row, as a logarithm; on the part of the plane that is shown. */
  density() {
    const { model } = this;
    const [xs, ys] = this.axes;
    const { x0, y0, x1, y1 } = this.view;
    const across = Math.round(Math.min(160, Math.max(24, Math.sqrt(model.view.length))));
    const down = Math.round(across * 0.6);
    const cell = (i) => {
      const [x, y] = [Math.floor((across * (xs[i] - x0)) / (x1 - x0)), Math.floor((down * (ys[i] - y0)) / (y1 - y0))];
      return x >= 0 && y >= 0 && x < across && y < down ? y * across + x : -1;
    };
    const counts = new Float32Array(across * down);
    for (const i of model.view) if (cell(i) >= 0) counts[cell(i)]++;
    const near = (c) => {
      let sum = 0;
      for (const at of [c - across - 1, c - across, c - across + 1, c - 1, c, c + 1, c + across - 1, c + across, c + across + 1]) sum += counts[at] ?? 0;
      return Math.log2(sum);
    };
    const smooth = counts.map((n, c) => (n ? near(c) : NaN));
    const out = new Float32Array(model.n).fill(NaN);
    for (const i of model.view) out[i] = smooth[cell(i)] ?? NaN;
    return out;
  }

  draw() {
    this.frame = 0;
    const { model, canvas, plot } = this;
    if (this.root.hidden || !plot.clientWidth) return;
    if (!this.axes.every(Boolean)) {
      this.note.textContent = 'No numbers to draw: open the page with --workdir=RUN.';
      return;
    }
    const [xs, ys] = this.axes;
    const ratio = devicePixelRatio || 1;
    const [w, t] = [Math.round(plot.clientWidth * ratio), Math.round(plot.clientHeight * ratio)];
    for (const each of [canvas, this.lasso]) if (each.width !== w || each.height !== t) Object.assign(each, { width: w, height: t });
    const view = (this.view ??= this.fitted());
    const pen = canvas.getContext('2d');
    const image = pen.createImageData(w, t);
    const pixels = new Uint32Array(image.data.buffer);
    const faint = pixel(theme('faint'));
    const colours = new Map();
    const of = this.colourer();
    const colour = (i) => {
      const c = of(i);
      if (!colours.has(c)) colours.set(c, pixel(c));
      return colours.get(c);
    };
    const [sx, sy] = [w / (view.x1 - view.x0), t / (view.y1 - view.y0)];
    const radius = Math.max(1, Math.round((model.n > 20000 ? 1 : model.n > 3000 ? 2 : 3) * ratio)) - 1;
    const put = (i, c, r) => {
      const [px, py] = [Math.round((xs[i] - view.x0) * sx), Math.round((view.y1 - ys[i]) * sy)];
      for (let y = Math.max(0, py - r); y <= Math.min(t - 1, py + r); y++) {
        for (let x = Math.max(0, px - r); x <= Math.min(w - 1, px + r); x++) pixels[y * w + x] = c;
      }
    };
    for (let i = 0; i < model.n; i++) if (model.position(i) < 0) put(i, faint, radius);
    let without = 0;
    for (const i of model.view) {
      if (Number.isNaN(xs[i]) || Number.isNaN(ys[i])) without++;
      else put(i, colour(i), radius);
    }
    pen.putImageData(image, 0, 0);
    pen.lineWidth = 2 * ratio;
    const ring = (i, style, r) => {
      pen.strokeStyle = style;
      pen.beginPath();
      pen.arc((xs[i] - view.x0) * sx, (view.y1 - ys[i]) * sy, r * ratio, 0, 7);
      pen.stroke();
    };
    const chosen = model.selected();
    if (chosen.length <= 5000) for (const i of chosen) ring(i, theme('accent'), 5);
    if (model.focus !== undefined) ring(model.focus, theme('text'), 8);
    this.drawRegions();
    this.note.textContent = `${rows(model.view.length)} in the filters${without ? `, ${without.toLocaleString('en')} of them without coordinates` : ''}`;
    this.drawLegend();
  }

  drawRegions(open = null) {
    const pen = this.lasso.getContext('2d');
    pen.clearRect(0, 0, this.lasso.width, this.lasso.height);
    const { x0, y0, x1, y1 } = this.view;
    const [sx, sy] = [this.lasso.width / (x1 - x0), this.lasso.height / (y1 - y0)];
    for (const region of [...this.model.filter.regions, ...(open ? [open] : [])]) {
      if (region.x !== this.x || region.y !== this.y) continue;
      pen.beginPath();
      for (let k = 0; k < region.points.length; k += 2) pen.lineTo((region.points[k] - x0) * sx, (y1 - region.points[k + 1]) * sy);
      pen.closePath();
      pen.lineWidth = 2;
      pen.setLineDash(region.add ? [] : [6, 4]);
      pen.strokeStyle = theme('accent');
      pen.stroke();
    }
  }

  drawLegend() {
    const { model } = this;
    const swatch = (c) => {
      const s = h('span', { class: 'swatch', 'aria-hidden': 'true' });
      s.style.background = c;
      return s;
    };
    let parts;
    if (this.colour === 'label' || this.colour === 'suggestion') {
      const key = this.colour === 'label' ? 'labels' : 'suggested';
      const shown = model.filter[key];
      const classes = [...model.classes.keys(), -1].slice(0, 60);
      parts = classes.map((c) => {
        const on = !shown || shown.has(c);
        const toggle = () => {
          const next = new Set(shown ?? [...model.classes.keys(), -1]);
          if (!next.delete(c)) next.add(c);
          model.change({ [key]: next.size > model.classes.length ? null : next });
        };
        return h('button', { class: 'item', 'aria-pressed': String(on), title: 'Hide or show', onclick: toggle }, swatch(ofClass(c)), model.className(c));
      });
    } else if (this.colour === 'label ≠ suggestion') parts = [h('span', { class: 'item' }, swatch('#d55e00'), 'differ'), h('span', { class: 'item' }, swatch('#56b4e9'), 'agree')];
    else if (this.colour === 'decided') parts = [h('span', { class: 'item' }, swatch('#d55e00'), 'decided'), h('span', { class: 'item' }, swatch(UNLABELED), 'undecided')];
    else parts = [this.colour === 'density' ? 'sparse' : short(this.scale.low), ...this.scale.colours.map(swatch), this.colour === 'density' ? 'dense' : short(this.scale.high)].map((part) => h('span', { class: 'item' }, part));
    const content = parts.map((p) => p.outerHTML).join();
    if (content === this.drawn) return; // keeps the focus of the keyboard
    this.drawn = content;
    this.legend.replaceChildren(...parts);
  }

  plane(event) {
    const box = this.canvas.getBoundingClientRect();
    const { x0, y0, x1, y1 } = this.view;
    return [x0 + ((event.clientX - box.left) / box.width) * (x1 - x0), y1 - ((event.clientY - box.top) / box.height) * (y1 - y0)];
  }

  draws(event) {
    if (!this.view || event.button) return;
    const { canvas, model } = this;
    canvas.setPointerCapture(event.pointerId);
    const [add, more] = [!event.altKey, event.shiftKey || event.altKey];
    const points = [...this.plane(event)];
    const region = () => ({ x: this.x, y: this.y, add, points: Float64Array.from(points) });
    const move = (e) => {
      points.push(...this.plane(e));
      this.drawRegions(region());
    };
    canvas.addEventListener('pointermove', move);
    canvas.addEventListener(
      'pointerup',
      (e) => {
        canvas.removeEventListener('pointermove', move);
        if (points.length > 10) model.change({ regions: [...(more ? model.filter.regions : []), region()] });
        else if (this.find(e) >= 0) model.setFocus(this.find(e));
      },
      { once: true },
    );
  }

  /** The row in view nearest to the cursor, within 8 pixels; -1 = none. */
  find(event) {
    const { model } = this;
    const [xs, ys] = this.axes;
    const { x0, y0, x1, y1 } = this.view;
    const key = [x0, y0, x1, y1, model.view.length].join();
    const cell = (i) => {
      const [cx, cy] = [Math.floor((CELLS * (xs[i] - x0)) / (x1 - x0)), Math.floor((CELLS * (ys[i] - y0)) / (y1 - y0))];
      return cx >= 0 && cy >= 0 && cx < CELLS && cy < CELLS ? cy * CELLS + cx : -1;
    };
    if (this.index?.key !== key || this.index.view !== model.view) {
      const cells = new Map();
      for (const i of model.view) {
        const c = cell(i);
        if (c >= 0) cells.has(c) ? cells.get(c).push(i) : cells.set(c, [i]);
      }
      this.index = { key, cells, view: model.view };
    }
    const [x, y] = this.plane(event);
    const [ux, uy] = [(x1 - x0) / this.canvas.clientWidth, (y1 - y0) / this.canvas.clientHeight];
    const [cx, cy] = [Math.floor((CELLS * (x - x0)) / (x1 - x0)), Math.floor((CELLS * (y - y0)) / (y1 - y0))];
    let [best, least] = [-1, 64];
    for (let dy = -1; dy <= 1; dy++) {
      for (let dx = -1; dx <= 1; dx++) {
        for (const i of this.index.cells.get((cy + dy) * CELLS + cx + dx) ?? []) {
          const d = ((xs[i] - x) / ux) ** 2 + ((ys[i] - y) / uy) ** 2;
          if (d < least) [best, least] = [i, d];
        }
      }
    }
    return best;
  }

  looks(event) {
    if (!this.view || event.buttons) return;
    const { model, hover } = this;
    const i = this.find(event);
    hover.hidden = i < 0;
    if (i < 0) return;
    if (this.near !== i) {
      this.near = i;
      hover.replaceChildren(picture(model.picture(i)), h('div', {}, model.labelText(i)));
    }
    const box = this.plot.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    hover.style.left = `${Math.min(x + 14, box.width - 130)}px`;
    hover.style.top = `${Math.min(y + 14, box.height - 150)}px`;
  }

  zooms(event) {
    if (!this.view) return;
    event.preventDefault();
    const [x, y] = this.plane(event);
    const by = Math.exp(event.deltaY * 0.002);
    const { x0, y0, x1, y1 } = this.view;
    this.view = { x0: x + (x0 - x) * by, x1: x + (x1 - x) * by, y0: y + (y0 - y) * by, y1: y + (y1 - y) * by };
    this.later();
  }
}
