// One place for all keys. They are dead in text fields, lists and dialogs. A person may change them; the server keeps it.

import { h } from './html.js';
import { dialog } from './card.js';
import { codesOf } from './codes.js';

/** name → [default key, what it does]; digits set the first ten classes and cannot be changed. */
export const COMMANDS = {
  accept: ['a', 'Accept the suggestion'],
  keep: ['k', 'The label is right (a person checked it)'],
  reject: ['w', 'Reject what the rule proposes (the row stays as it is)'],
  unlabel: ['n', 'No label'],
  hold: ['u', 'Hold: unsure, set aside'],
  drop: ['d', 'Drop from the data'],
  restore: ['r', 'Restore the given label'],
  pick: ['/', 'Choose a class by its name'],
  undo: ['z', 'Undo'],
  redo: ['Shift+Z', 'Redo'],
  next: ['ArrowRight', 'Next row'],
  back: ['ArrowLeft', 'Row before'],
  down: ['ArrowDown', 'Row below'],
  up: ['ArrowUp', 'Row above'],
  undecided: ['f', 'Next undecided row'],
  pageDown: ['PageDown', 'Page down'],
  pageUp: ['PageUp', 'Page up'],
  first: ['Home', 'First row'],
  last: ['End', 'Last row'],
  select: [' ', 'Select or unselect the row in focus'],
  all: ['Ctrl+a', 'Select all rows in the filters'],
  clear: ['Escape', 'Clear the selection, then the lasso'],
  refresh: ['.', 'Apply the filters again'],
  grid: ['g', 'Grid'],
  issues: ['i', 'Label issues'],
  map: ['m', 'Map'],
  matrix: ['x', 'Matrix'],
  duplicates: ['c', 'Duplicates (copies)'],
  proposals: ['p', 'Proposals of rules'],
  blind: ['b', 'Blind: decide by the image alone'],
  commit: ['Ctrl+Enter', 'Versions and commit'],
  help: ['?', 'This sheet'],
};

const NAMES = { ' ': 'Space', ArrowRight: '→', ArrowLeft: '←', ArrowDown: '↓', ArrowUp: '↑', Escape: 'Esc' };
export const shown = (key) => key.split('+').map((part) => NAMES[part] ?? part).join('+');

function pressed(event) {
  const letter = event.key.length === 1 && event.shiftKey && event.key !== event.key.toLowerCase();
  return (event.ctrlKey || event.metaKey ? 'Ctrl+' : '') + (event.altKey ? 'Alt+' : '') + (letter ? 'Shift+' : '') + event.key;
}

/** Returns the digit that sets class c: its own name where the classes are digits, else 1 for the first, 0 for the tenth. */
export const digitOf = (classes, c) => (classes.slice(0, 10).every((name) => /^[0-9]$/.test(name)) ? classes[c] : String((c + 1) % 10));

export class Keys {
  /**
   * @param {Object<string, (event: KeyboardEvent) => void>} commands
   * @param {(c: number) => void} setClass
   * @param {(name: string) => boolean} allowed whether a command is alive at the moment
   * @param {Object<string, string>} own changed keys
   * @param {(own: object) => void} keep saves changed keys
   */
  constructor(commands, classes, setClass, allowed, own, keep) {
    Object.assign(this, { commands, classes, setClass, allowed, own, keep, begun: '' });
    document.addEventListener('keydown', (event) => this.press(event));
  }

  of = (name) => this.own[name] ?? COMMANDS[name][0];

  press(event) {
    const at = event.target;
    if (event.defaultPrevented || event.isComposing || document.querySelector('dialog[open]')) return;
    if (at.closest('input, textarea, select, [contenteditable]')) {
      if (event.key === 'Escape') at.blur();
      return;
    }
    if (at.closest('button, summary, a') && ['Enter', ' '].includes(event.key) && !event.ctrlKey && !event.metaKey) return;
    if (/^[0-9]$/.test(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      this.setClass(this.classes.slice(0, 10).findIndex((_, c) => digitOf(this.classes, c) === event.key));
      return;
    }
    if (this.coded(event)) return;
    const key = pressed(event);
    const bare = key.replace('Shift+', '');
    const name = Object.keys(COMMANDS).find((n) => this.of(n) === key) ?? Object.keys(COMMANDS).find((n) => event.shiftKey && this.of(n) === bare && bare.length > 1);
    if (!name || !this.commands[name]) return;
    event.preventDefault();
    if (!this.allowed(name)) return;
    this.commands[name](event);
  }

  /** Codes of the classes where there are more than ten, else []. */
  get codes() {
    const taken = Object.keys(COMMANDS).map((name) => /^Shift\+([A-Z])$/.exec(this.of(name))?.[1] ?? '').join('');
    return this.classes.length > 10 ? codesOf(this.classes, taken) : [];
  }

  /** Whether a capital letter begins or ends a code; the code of a class sets it. */
  coded(event) {
    const { begun } = this;
    if (event.key === 'Shift') return false;
    this.begun = '';
    if (!/^[A-Z]$/.test(event.key) || event.ctrlKey || event.metaKey || event.altKey) return false;
    const code = begun + event.key;
    const c = this.codes.indexOf(code);
    if (c >= 0) this.setClass(c);
    else if (!begun && this.codes.some((each) => each.startsWith(code))) this.begun = code;
    else return false;
    event.preventDefault();
    return true;
  }

  async sheet() {
    const { classes } = this;
    const digits = classes.slice(0, 10).map((name, c) => h('tr', {}, h('td', {}, h('kbd', {}, digitOf(classes, c))), h('td', {}, name), h('td', {})));
    const { codes } = this;
    const coded = codes.length ? h('p', {}, `Two capital letters set a class: ${codes.slice(0, 200).map((code, c) => `${code} ${classes[c]}`).join(', ')}.`) : '';
    const lines = Object.entries(COMMANDS).map(([name, [, text]]) => {
      const kbd = h('kbd', {}, shown(this.of(name)));
      const change = h('button', { type: 'button', class: 'plain', 'aria-label': `Change the key of: ${text}`, onclick: () => this.change(name, kbd) }, 'change');
      return h('tr', {}, h('td', {}, kbd), h('td', {}, text), h('td', {}, change));
    });
    const note = 'Keys are dead while a text field, a list or a dialog has the focus. Shift and an arrow select a range; so does a click with Shift.';
    const found = await dialog('Keys', [h('p', {}, note), coded, h('div', { class: 'two' }, h('table', { class: 'keys' }, digits), h('table', { class: 'keys' }, lines))], [['reset', 'Default keys'], ['', 'Close', true]]);
    if (found === 'reset') this.save({});
  }

  change(name, kbd) {
    kbd.textContent = 'press a key';
    const listen = (event) => {
      if (['Shift', 'Control', 'Alt', 'Meta'].includes(event.key)) return;
      event.preventDefault();
      event.stopPropagation();
      document.removeEventListener('keydown', listen, true);
      const key = pressed(event);
      const taken = Object.keys(COMMANDS).find((n) => n !== name && this.of(n) === key);
      if (!taken && !/^[0-9]$/.test(key)) this.save({ ...this.own, [name]: key });
      kbd.textContent = taken ? `${shown(key)} is taken` : shown(this.of(name));
    };
    document.addEventListener('keydown', listen, true);
  }

  save(own) {
    this.own = own;
    this.keep(own);
  }
}

/** Asks for a class by the first letters of its name; returns its number, or -1. */
export async function pickClass(classes, codes = []) {
  const list = h('ol', { class: 'choices', role: 'listbox', 'aria-label': 'Classes' });
  let found = [];
  const draw = () => {
    const wanted = input.value.trim().toLowerCase();
    const begins = (c) => classes[c].toLowerCase().startsWith(wanted);
    found = [...classes.keys()].filter((c) => classes[c].toLowerCase().includes(wanted)).sort((a, b) => begins(b) - begins(a) || a - b);
    list.replaceChildren(...found.slice(0, 12).map((c, k) => h('li', {}, h('button', { value: `c${c}`, class: k ? '' : 'first' }, classes[c], codes[c] ? h('kbd', {}, codes[c]) : ''))));
  };
  const input = h('input', { type: 'text', autofocus: true, 'aria-label': 'Class', autocomplete: 'off', oninput: draw });
  input.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    if (found.length) input.closest('dialog').close(`c${found[0]}`);
  });
  draw();
  const value = await dialog('Choose a class', [input, list], [['', 'Cancel']]);
  return value.startsWith('c') ? Number(value.slice(1)) : -1;
}
