// Views saved by name: filters, order, selection and panel, as the address holds them.

import { h } from './html.js';
import { dialog } from './card.js';

export class Views {
  /**
   * @param {Object<string, string>} views name → address
   * @param {() => string} now the address of what is shown
   * @param {(address: string) => void} show
   * @param {(views: object) => void} keep saves them
   */
  constructor(root, views, now, show, keep) {
    Object.assign(this, { root, views, now, show, keep });
    this.draw();
  }

  draw() {
    const names = Object.keys(this.views).sort();
    const list = h('select', { 'aria-label': 'Saved views', disabled: !names.length, onchange: () => list.value && this.show(this.views[list.value]) }, h('option', { value: '' }, names.length ? 'saved views' : 'no saved view'), names.map((name) => h('option', { value: name }, name)));
    this.root.replaceChildren(list, h('button', { onclick: () => this.save() }, 'Save view'), h('button', { disabled: !names.length, onclick: () => this.remove() }, 'Delete views'));
  }

  set(views) {
    this.views = views;
    this.keep(views);
    this.draw();
  }

  async save() {
    const name = h('input', { type: 'text', autofocus: true, 'aria-label': 'Name of the view', placeholder: 'doubtful cats', maxlength: 80 });
    const found = await dialog('Save this view', [h('p', {}, 'Keeps the filters, the order, the selection and the panel under a name, on this machine.'), name], [['', 'Cancel'], ['save', 'Save', true]]);
    if (found === 'save' && name.value.trim()) this.set({ ...this.views, [name.value.trim()]: this.now() });
  }

  async remove() {
    const boxes = Object.keys(this.views).map((name) => [name, h('input', { type: 'checkbox' })]);
    const found = await dialog('Delete saved views', boxes.map(([name, box]) => h('label', { class: 'check' }, box, name)), [['', 'Cancel'], ['delete', 'Delete', true]]);
    if (found === 'delete') this.set(Object.fromEntries(Object.entries(this.views).filter(([name]) => !boxes.find(([n, box]) => n === name && box.checked))));
  }
}
