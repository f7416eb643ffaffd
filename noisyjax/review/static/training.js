// Training on a version: the command, the start of it as a process of the server, and live curves.

import { h, short } from './html.js';
import { theme } from './colours.js';
import { read } from './server.js';

const COLOURS = ['#0072b2', '#e69f00', '#009e73', '#d55e00', '#cc79a7', '#56b4e9'];
const CURVES = { val_accuracy: 'accuracy on labels that validate', loss: 'training loss' };
const [WIDTH, HEIGHT] = [360, 150];

export class Training {
  /** @param {() => void} ended called when a training ends */
  constructor(ended) {
    Object.assign(this, { ended, running: false });
    this.note = h('p', { role: 'status' });
    this.charts = Object.keys(CURVES).map((name) => h('canvas', { width: WIDTH * 2, height: HEIGHT * 2, role: 'img', 'aria-label': CURVES[name] }));
    this.legend = h('div', { class: 'legend' });
    this.element = h('div', { class: 'training', hidden: true }, this.note, h('div', { class: 'two' }, Object.values(CURVES).map((text, k) => h('figure', {}, h('figcaption', {}, `${text}, by epoch`), this.charts[k]))), this.legend);
  }

  /** Draws until the training ends or the dialog is closed. */
  async follow() {
    let found;
    try {
      found = await read('/api/training');
    } catch {
      return;
    }
    const shown = found.curves.filter((run) => Object.keys(CURVES).some((name) => run[name].length));
    this.element.hidden = !shown.length && !found.running && found.code === null;
    this.note.textContent = found.running ? 'A training runs; it ends with this server, and the same command goes on later.' : found.code === null ? '' : found.code ? `The training ended with an error: ${found.said}` : 'The training is done: open Versions again to see its accuracy.';
    this.note.classList.toggle('error', Boolean(!found.running && found.code));
    Object.keys(CURVES).forEach((name, k) => draw(this.charts[k], shown.map((run) => run[name])));
    this.legend.replaceChildren(...shown.map((run, k) => {
      const swatch = h('span', { class: 'swatch' });
      swatch.style.background = COLOURS[k % COLOURS.length];
      return h('span', { class: 'item' }, swatch, run.name);
    }));
    if (this.running && !found.running) this.ended();
    this.running = found.running;
    if (found.running && this.element.isConnected) setTimeout(() => this.follow(), 1000);
  }
}

/** Draws lines, one for each run, with the lowest and the highest value at the left. */
function draw(canvas, lines) {
  const pen = canvas.getContext('2d');
  pen.setTransform(2, 0, 0, 2, 0, 0);
  pen.clearRect(0, 0, WIDTH, HEIGHT);
  const values = lines.flat();
  if (!values.length) return;
  const [low, high, most] = [Math.min(...values), Math.max(...values), Math.max(...lines.map((line) => line.length))];
  const x = (k) => 44 + ((WIDTH - 52) * k) / Math.max(1, most - 1);
  const y = (v) => HEIGHT - 18 - ((HEIGHT - 30) * (v - low)) / (high - low || 1);
  pen.font = '11px system-ui, sans-serif';
  pen.fillStyle = theme('soft');
  pen.fillText(short(high), 2, y(high) + 4);
  pen.fillText(short(low), 2, y(low) + 4);
  pen.fillText(String(most), WIDTH - 20, HEIGHT - 3);
  lines.forEach((line, k) => {
    pen.strokeStyle = pen.fillStyle = COLOURS[k % COLOURS.length];
    pen.lineWidth = 1.6;
    pen.beginPath();
    line.forEach((v, at) => pen.lineTo(x(at), y(v)));
    pen.stroke();
    if (line.length) pen.fillRect(x(line.length - 1) - 2, y(line.at(-1)) - 2, 4, 4);
  });
}
