// What is shown as one file that needs nothing else: for a paper, or for a colleague without the data. Its pictures are
// data-src until it is text, so that this page does not load them.

import { filterWords } from './decide.js';
import { byId, h, rows, short } from './html.js';

const MOST = 300; // rows of the view that are in the file
const POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

const dataUrl = (blob) =>
  new Promise((resolve) => {
    const reader = new FileReader();
    reader.addEventListener('load', () => resolve(reader.result));
    reader.readAsDataURL(blob);
  });

async function image(model, i) {
  const answer = await fetch(model.picture(i));
  if (!answer.ok) return h('span', { class: 'broken' }, 'no picture');
  const blob = await answer.blob();
  const { width } = await createImageBitmap(blob).catch(() => ({ width: 64 }));
  return h('img', { 'data-src': await dataUrl(blob), class: width < 64 ? 'small' : '', alt: model.labelText(i) });
}

/** Returns the panel that is drawn as one, the map or the matrix; null for lists of rows. */
function whole(tab) {
  if (tab === 'map') return h('img', { class: 'wide', 'data-src': byId('panel-map').querySelector('canvas').toDataURL(), alt: 'map' });
  if (tab !== 'matrix') return null;
  const table = byId('panel-matrix').cloneNode(true);
  table.querySelector('p')?.remove();
  for (const button of table.querySelectorAll('button')) button.replaceWith(button.textContent);
  return table;
}

/** Returns the text of the file. */
export async function exported(model, tab) {
  const shown = [...model.view.subarray(0, MOST)];
  const style = await (await fetch('/static/style.css')).text();
  const pictures = await Promise.all(shown.map((i) => image(model, i)));
  const figures = shown.map((i, k) => {
    const suggestion = model.rule ? model.proposal(model.rule, i) : model.suggested(i) >= 0 ? model.classes[model.suggested(i)] : '';
    const evidence = model.evidence.slice(0, 3).map((column) => `${column.title} ${short(column.values[i])}`).join(', ');
    return h('figure', { class: 'cell' }, pictures[k], h('figcaption', {}, h('b', {}, model.labelText(i)), suggestion && suggestion !== model.labelText(i) ? ` → ${suggestion}` : '', h('div', {}, model.name(i)), h('div', {}, evidence)));
  });
  const left = model.view.length - shown.length;
  const runs = model.head.runs.map((run) => run.name).join(', ');
  const body = h(
    'body',
    { class: 'exported' },
    h('h1', {}, `${model.head.table}@${model.version.slice(0, 12)}`),
    h('p', {}, `${rows(model.view.length)} of ${model.n.toLocaleString('en')}: ${filterWords(model)}. Order: ${model.sort.key || 'as in the table'}.`, runs ? ` Evidence: ${runs}.` : '', model.suggestion ? ` Suggestion: ${model.suggestion.title} (${model.suggestion.basis}).` : '', model.pending ? ` With ${model.pending} decisions that are not committed.` : ''),
    whole(tab),
    h('div', { class: 'cells' }, figures),
    left > 0 ? h('p', {}, `and ${rows(left)} more`) : '',
  );
  const head = h('head', {}, h('meta', { charset: 'utf-8' }), h('meta', { 'http-equiv': 'Content-Security-Policy', content: POLICY }), h('title', {}, model.head.table), h('style', {}, style));
  const text = h('html', { lang: 'en' }, head, body).outerHTML.replaceAll('<img data-src=', '<img src=').replaceAll('<img class="wide" data-src=', '<img class="wide" src=');
  return `<!doctype html>\n${text}\n`;
}

export async function download(model, tab) {
  const url = URL.createObjectURL(new Blob([await exported(model, tab)], { type: 'text/html' }));
  h('a', { href: url, download: `${model.head.table}.html` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
