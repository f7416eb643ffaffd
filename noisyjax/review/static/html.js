// Makes elements. Text is always text, never markup: names of files and classes may hold anything.

/** Returns an element: h('button', {class: 'wide', onclick: f, 'aria-label': 'x'}, 'text', child). */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked' || name === 'disabled') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Returns a number for a reader: at most three significant digits. */
export function short(value) {
  if (Number.isNaN(value)) return '–';
  if (Number.isInteger(value)) return value.toLocaleString('en');
  return Math.abs(value) >= 1e-3 && Math.abs(value) < 1e5 ? String(Number(value.toPrecision(3))) : value.toExponential(1);
}

/** Returns "1 row", "2 rows". */
export const rows = (count) => `${count.toLocaleString('en')} ${count === 1 ? 'row' : 'rows'}`;

/** Returns a share as a bar: its interval, and a mark where the share is. */
export function bar(share, low, high) {
  const root = h('span', { class: 'bar', 'aria-hidden': 'true' }, h('span', { class: 'within' }), h('span', { class: 'at' }));
  for (const [name, value] of Object.entries({ share, low, high })) root.style.setProperty(`--${name}`, value);
  return root;
}

/** Returns a mark for evidence of networks that were trained on the rows; null for other evidence. */
export const basisMark = (column) =>
  column.basis === 'in-sample' ? h('span', { class: 'mark', title: 'In-sample: networks that were trained on this row and its label made these numbers; they tend to agree with it.' }, 'in-sample') : null;

/** Returns a picture; a small one is shown pixel by pixel. */
export function picture(src, alt = '') {
  const image = h('img', { src, alt, draggable: 'false' });
  image.addEventListener('load', () => image.classList.toggle('small', image.naturalWidth < 64));
  return image;
}
