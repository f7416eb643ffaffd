// The filters at the left: text, decided or not, status, classes, and a histogram for each number.

import { h } from './html.js';
import { ofClass } from './colours.js';
import { Histograms } from './histograms.js';
import { NONE, noFilter } from './model.js';

export class Filters {
  constructor(root, model) {
    Object.assign(this, { root, model, codes: [] });
    this.text = h('input', { type: 'search', placeholder: 'name contains', 'aria-label': 'Name contains', oninput: () => this.typed() });
    this.decided = h('select', { 'aria-label': 'Decided since the last commit', onchange: () => model.change({ decided: this.decided.value }) }, [['all', 'decided or not'], ['undecided', 'undecided'], ['decided', 'decided since the last commit'], ['contested', 'authors disagree']].map(([value, text]) => h('option', { value }, text)));
    this.rule = h('select', { 'aria-label': 'Proposed by', hidden: !model.rules.length, onchange: () => model.change({ rule: this.rule.value }) }, [['', 'proposed by a rule or not'], ...model.rules.map((rule) => [rule.title, `proposed by ${rule.title}`])].map(([value, text]) => h('option', { value }, text)));
    this.issues = h('input', { type: 'checkbox', onchange: () => model.change({ issues: this.issues.checked }) });
    this.status = h('fieldset', {});
    this.labels = h('fieldset', { class: model.classes.every((name) => name.length < 4) ? 'narrow' : '' });
    this.clear = h('button', { onclick: () => model.change(noFilter()) }, 'Clear all filters');
    const histograms = h('div', { class: 'histograms' });
    root.replaceChildren(this.clear, this.text, this.decided, this.rule, h('label', { class: 'check' }, this.issues, 'suggestion differs from the label'), this.status, this.labels, histograms);
    new Histograms(histograms, model);
    model.addEventListener('view', () => this.draw());
    model.addEventListener('rows', () => (this.frame ??= requestAnimationFrame(() => this.draw())));
    this.draw();
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.model.change({ text: this.text.value }), 150);
  }

  draw() {
    this.frame = undefined;
    const { model } = this;
    const f = model.filter;
    if (document.activeElement !== this.text) this.text.value = f.text;
    this.decided.value = f.decided;
    this.rule.value = f.rule;
    this.issues.checked = f.issues;
    this.clear.disabled = !model.filtered;
    const { statuses, labels } = model.counts;
    this.list(this.status, 'Status', 'statuses', [...model.statuses.keys()].map((s) => [s, model.statuses[s], statuses[s]]));
    const classes = [...model.classes.keys(), NONE].slice(0, 201);
    this.list(this.labels, 'Label', 'labels', classes.map((c) => [c, model.className(c), labels[c < 0 ? model.classes.length : c]]), true);
  }

  list(root, title, key, options, colours = false) {
    const { model } = this;
    const state = JSON.stringify([this.codes, model.filter[key] && [...model.filter[key]]]);
    if (root.state !== state) {
      root.state = state;
      const held = root.contains(document.activeElement) ? document.activeElement.value : null;
      const boxes = options.map(([value, text]) => {
        const box = h('input', { type: 'checkbox', value, checked: model.filter[key]?.has(value) ?? false, onchange: () => this.toggle(key, value) });
        const swatch = h('span', { class: 'swatch', 'aria-hidden': 'true' });
        if (colours) swatch.style.background = ofClass(value);
        return h('label', { class: 'check' }, box, colours ? swatch : '', h('span', { class: 'grow' }, text, colours && this.codes[value] ? h('kbd', { title: 'Type it with Shift to set this class' }, this.codes[value]) : ''), h('span', { class: 'count' }));
      });
      root.replaceChildren(h('legend', {}, title), ...boxes);
      if (held !== null) root.querySelector(`input[value="${held}"]`)?.focus();
    }
    root.querySelectorAll('.count').forEach((count, k) => {
      const text = options[k][2].toLocaleString('en');
      if (count.textContent !== text) count.textContent = text;
    });
  }

  toggle(key, value) {
    const next = new Set(this.model.filter[key] ?? []);
    if (!next.delete(value)) next.add(value);
    this.model.change({ [key]: next.size ? next : null });
  }
}
