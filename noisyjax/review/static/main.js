// Puts the page together: panels, tabs, the bar of decisions, keys, and what others decided in the meantime.

import * as address from './address.js';
import { Blind } from './blind.js';
import { Card } from './card.js';
import { ofClass } from './colours.js';
import { Decider, filterWords } from './decide.js';
import { Duplicates } from './duplicates.js';
import { download } from './export.js';
import { Filters } from './filters.js';
import { Grid } from './grid.js';
import { byId, h, rows } from './html.js';
import { Keys, digitOf, pickClass, shown } from './keys.js';
import { Map2D } from './map.js';
import { Matrix } from './matrix.js';
import { Model, noFilter } from './model.js';
import { Proposals } from './proposals.js';
import { Lost, Queue, read, write } from './server.js';
import { Views } from './views.js';
import { versions } from './versions.js';

const POLL = 1000; // milliseconds between two looks at what others decided
const TABS = { grid: 'Grid', issues: 'Label issues', proposals: 'Proposals', map: 'Map', matrix: 'Matrix', duplicates: 'Duplicates', blind: 'Blind' };

// Commands that need to see more than the image: dead in the blind panel.
const SEEING = ['accept', 'keep', 'reject', 'restore', 'next', 'back', 'down', 'up', 'undecided', 'pageDown', 'pageUp', 'first', 'last', 'select', 'all', 'refresh'];

const model = new Model();
let tab = 'grid';
let said = '';
let order = null; // of the grid, while the label issues have their own

function say(text) {
  said = text;
  drawSaved();
}

const queue = new Queue(model, () => drawSaved());

function drawSaved() {
  const waiting = queue.waiting.length;
  const text = queue.error ? `${queue.error}${waiting ? ` ${rows(waiting).replace('row', 'decision')} not saved.` : ''}` : waiting ? 'Saving…' : said;
  byId('saved').textContent = text;
  byId('saved').classList.toggle('error', Boolean(queue.error));
  byId('retry').hidden = !(queue.error && waiting);
}

async function start() {
  history.replaceState(null, '', location.pathname + location.hash); // the token is no longer needed
  let settings;
  try {
    await model.load();
    settings = await read('/api/settings');
  } catch (error) {
    byId('title').textContent = error.message;
    return;
  }
  const asked = address.read(location.hash);
  const act = (what, i) => {
    if (model.selectedCount) model.selectAll(false);
    model.setFocus(i);
    decider[what]();
  };
  const grid = new Grid(byId('panel-grid'), model, 'tiles');
  const issues = new Grid(byId('panel-issues'), model, 'list', act, [['accept', 'Accept'], ['keep', 'Label is right']]);
  const current = () => (tab === 'issues' ? issues : tab === 'proposals' ? proposals.grid : grid);
  const advance = (said) => (tab === 'blind' ? blind.decided(said) : current().move(1));
  const about = () => ({ ...(model.rule ? { rule: model.rules.indexOf(model.rule) } : {}), ...(tab === 'blind' ? blind.about() : {}) });
  const decider = new Decider(model, queue, advance, say, about);
  const proposals = new Proposals(byId('panel-proposals'), model, decider, act);
  const blind = new Blind(byId('panel-blind'), model);
  const look = (i) => {
    open('grid');
    if (model.position(i) < 0) model.change(noFilter());
    model.setFocus(i);
  };
  const duplicates = new Duplicates(byId('panel-duplicates'), model, decider, look);
  const keep = (content) => write('settings', content).catch(fail);
  new Views(byId('views'), settings.views, () => address.written(model, tab), (hash) => show(address.read(hash)), (views) => keep({ views }));
  blind.open = (i) => {
    open('grid');
    model.change({ decided: 'contested' });
    model.setFocus(i);
  };
  const filters = new Filters(byId('filters'), model);
  new Card(byId('card'), model);
  const map = new Map2D(byId('panel-map'), model);
  const matrix = new Matrix(byId('panel-matrix'), model, () => open('grid'));

  function open(name) {
    if (!tabs.some(([each]) => each === name)) return;
    if (name === 'issues' && tab !== 'issues') {
      order = model.sort;
      model.change({ issues: true, rule: '' }, model.doubt ?? model.sort);
    } else if (tab === 'issues' && name !== 'issues') model.change({ issues: false }, order ?? model.sort);
    tab = name;
    for (const [each] of tabs) {
      byId(`panel-${each}`).hidden = each !== name;
      byId(`tab-${each}`).setAttribute('aria-selected', each === name);
      byId(`tab-${each}`).tabIndex = each === name ? 0 : -1;
    }
    byId('size').parentElement.hidden = name !== 'grid';
    byId('sort-label').hidden = name !== 'grid' && name !== 'issues';
    document.body.classList.toggle('blind', name === 'blind');
    if (name === 'matrix') matrix.draw();
    if (name === 'map') map.later();
    if (name === 'proposals') proposals.show();
    if (name === 'duplicates') duplicates.draw();
    if (name === 'blind') blind.show();
    redraw();
    current().measure();
    current().reveal();
    if (document.activeElement === document.body) byId(`panel-${name}`).focus({ preventScroll: true });
  }

  const tabs = Object.entries(TABS).filter(([name]) => !model.head.curates || ['grid', 'blind'].includes(name));
  byId('tabs').append(...tabs.map(([name, text]) => h('button', { id: `tab-${name}`, role: 'tab', 'aria-controls': `panel-${name}`, onclick: () => open(name) }, text)));
  byId('size').addEventListener('input', (event) => grid.resize(Number(event.target.value)));
  byId('size').setAttribute('aria-label', 'Size of the tiles');
  drawSort();
  byId('sort').addEventListener('change', (event) => model.change({}, { key: event.target.value.slice(1), down: event.target.value[0] === '-' }));
  byId('undo').addEventListener('click', () => decider.step('undo'));
  byId('redo').addEventListener('click', () => decider.step('redo'));
  byId('export').addEventListener('click', () => download(model, tab).then(() => say('Exported.'), fail));
  byId('retry').addEventListener('click', () => queue.retry());
  byId('versions').addEventListener('click', () => versions(model, queue, say).catch(fail));

  const move = (by) => (event) => current().move(by(), event.shiftKey);
  const keys = new Keys(
    {
      accept: () => decider.accept(),
      keep: () => decider.keep(),
      reject: () => decider.reject(),
      unlabel: () => decider.plain('unlabel'),
      hold: () => decider.plain('hold'),
      drop: () => decider.plain('drop'),
      restore: () => decider.plain('restore'),
      pick: async () => decider.setClass(await pickClass(model.classes, keys.codes)),
      undo: () => decider.step('undo'),
      redo: () => decider.step('redo'),
      next: move(() => 1),
      back: move(() => -1),
      down: move(() => current().columns),
      up: move(() => -current().columns),
      pageDown: move(() => current().page),
      pageUp: move(() => -current().page),
      first: move(() => -model.n),
      last: move(() => model.n),
      undecided: () => nextUndecided(),
      select: () => model.focus !== undefined && model.select(model.focus),
      all: () => model.selectAll(true),
      clear: () => (model.selectedCount ? model.selectAll(false) : model.filter.regions.length && model.change({ regions: [] })),
      refresh: () => model.refresh(),
      grid: () => open('grid'),
      issues: () => open('issues'),
      map: () => open('map'),
      matrix: () => open('matrix'),
      proposals: () => open('proposals'),
      duplicates: () => open('duplicates'),
      blind: () => open('blind'),
      commit: () => versions(model, queue, say).catch(fail),
      help: () => keys.sheet(),
    },
    model.classes,
    (c) => decider.setClass(c),
    (name) => tab !== 'blind' || !SEEING.includes(name),
    settings.keys,
    (own) => keep({ keys: own }),
  );
  byId('keys').addEventListener('click', () => keys.sheet());
  filters.codes = keys.codes;
  filters.draw();

  function nextUndecided() {
    const from = model.position(model.focus);
    const count = model.view.length;
    for (let step = 1; step <= count; step++) {
      const i = model.view[(from + step) % count];
      if (!model.by.has(i)) return model.setFocus(i);
    }
    say('All rows in the filters are decided.');
  }

  function drawSort() {
    const options = [['+', 'as in the table'], ['+random', 'random'], ['+label', 'label'], ...model.measures.flatMap((c) => [[`-${c.title}`, `${c.title}, highest first`], [`+${c.title}`, `${c.title}, lowest first`]])];
    byId('sort').replaceChildren(...options.map(([value, text]) => h('option', { value }, text)));
  }

  function drawBar() {
    const { targets } = decider.planned('label', () => 0);
    const isBlind = tab === 'blind';
    const about = isBlind ? h('b', {}, 'this picture') : model.selectedCount ? h('b', {}, `${rows(targets.length)} selected`) : targets.length ? h('b', { title: model.name(targets[0]) }, model.name(targets[0])) : 'nothing';
    const press = (name, text, f, disabled = false) => h('button', { onclick: f, disabled: disabled || model.head.read_only || !targets.length }, text, h('kbd', {}, shown(keys.of(name))));
    const { rule } = model;
    const offered = (i) => (rule ? model.proposal(rule, i) : model.suggested(i) >= 0 ? model.classes[model.suggested(i)] : '');
    const none = !targets.some(offered);
    const suggestions = model.selectedCount ? 'Accept suggestions' : none ? 'Accept suggestion' : `Accept ${offered(targets[0])}`;
    const bare = [model.head.curates ? '' : press('unlabel', 'No label', () => decider.plain('unlabel')), press('hold', 'Hold', () => decider.plain('hold')), press('drop', 'Drop', () => decider.plain('drop'))];
    const classes = model.classes.slice(0, 10).map((name, c) => {
      const button = h('button', { class: 'class', disabled: model.head.read_only || !targets.length, onclick: () => decider.setClass(c) }, digitOf(model.classes, c) === name ? '' : h('kbd', {}, digitOf(model.classes, c)), name);
      button.style.setProperty('--class', ofClass(c));
      return button;
    });
    const more = model.classes.length > 10 ? press('pick', `${model.classes.length - 10} more…`, async () => decider.setClass(await pickClass(model.classes, keys.codes))) : '';
    const held = byId('bar').contains(document.activeElement) ? [...byId('bar').querySelectorAll('button')].indexOf(document.activeElement) : -1;
    byId('bar').replaceChildren(
      h('span', { class: 'about' }, model.head.read_only ? 'Read only. ' : 'Decide on: ', model.head.read_only ? '' : about),
      h('span', { class: 'classes' }, classes, more),
      h('span', { class: 'actions' }, isBlind ? bare : [press('accept', suggestions, () => decider.accept(), none), rule ? press('reject', 'Reject', () => decider.reject(), none) : '', press('keep', 'Label is right', () => decider.keep()), bare, press('restore', 'Restore', () => decider.plain('restore'))]),
    );
    if (held >= 0) byId('bar').querySelectorAll('button')[held]?.focus();
  }

  function drawHead() {
    byId('title').textContent = `${model.head.table}@${model.version.slice(0, 12)} · ${model.head.author.replace('person:', '')}`;
    document.title = `${model.head.table}: review`;
    const chosen = model.selectedCount;
    byId('counts').textContent = `${rows(model.n)} · ${model.view.length.toLocaleString('en')} in the filters${chosen ? ` · ${chosen.toLocaleString('en')} selected` : ''} · ${model.pending.toLocaleString('en')} ${model.pending === 1 ? 'decision' : 'decisions'} not committed`;
    byId('undo').disabled = !model.undo || model.head.read_only;
    byId('redo').disabled = !model.redo || model.head.read_only;
    byId('words').replaceChildren(
      h('span', {}, filterWords(model)),
      h('span', { class: 'grow' }),
      model.stale.size ? h('button', { class: 'plain', onclick: () => model.refresh() }, `${rows(model.stale.size)} no longer ${model.stale.size === 1 ? 'passes' : 'pass'} the filters: apply again`) : '',
      tab === 'grid' ? h('span', {}, model.suggestion ? '▂ label · ? suggestion · ✓ decided · ≠ authors disagree' : '▂ label · ✓ decided') : '',
    );
    byId('sort').value = (model.sort.down ? '-' : '+') + model.sort.key;
  }

  function drawBanner() {
    const lines = [];
    for (const run of model.head.runs) {
      if (run.stale > 0) lines.push(`${run.name} was trained on version ${run.version.slice(0, 12)}; ${rows(run.stale)} changed since.`);
      else if (run.stale < 0) lines.push(`${run.name}: the version of the table that it was trained on is not known.`);
    }
    if (model.columns.some((column) => column.basis === 'in-sample')) lines.push('Evidence marked in-sample is of networks that were trained on these rows and their labels: it tends to agree with wrong labels.');
    if (model.head.curates) lines.push('Curate: a label that you set here makes the row validate, from the next version on. Labels and predictions are not shown.');
    else if (!model.head.runs.length) lines.push('No evidence: open the page with --workdir=RUN for predictions, losses and a map.');
    if (model.head.hidden && !model.head.curates) lines.push(`${rows(model.head.hidden)} that validate or test ${model.head.hidden === 1 ? 'is' : 'are'} not shown.`);
    byId('banner').hidden = !lines.length;
    byId('banner').replaceChildren(...lines.map((line) => h('span', {}, line)));
  }

  let timer = 0;
  function remember() {
    clearTimeout(timer);
    timer = setTimeout(() => history.replaceState(null, '', location.pathname + address.written(model, tab)), 100);
  }

  let pending = false;
  const redraw = () => {
    if (pending) return;
    pending = true;
    requestAnimationFrame(() => {
      pending = false;
      drawHead();
      drawBar();
      remember();
    });
  };
  for (const name of ['view', 'rows', 'selection', 'focus']) model.addEventListener(name, redraw);
  drawBanner();

  /** Shows filters, order, selection and panel of an address. */
  function show(asked) {
    tab = asked.tab === 'issues' ? 'issues' : 'grid';
    order = { key: '', down: false };
    model.sort = asked.sort;
    model.filter = asked.filter;
    model.refresh();
    model.selection = { all: asked.all, rows: new Set(asked.places.map((place) => model.rowOf.get(place)).filter((i) => i !== undefined)) };
    model.emit('selection');
    model.setFocus(model.rowOf.get(asked.at));
    open(asked.tab in TABS ? asked.tab : model.head.curates ? 'blind' : 'grid');
  }
  show(asked);
  document.body.dataset.ready = 'yes';

  window.addEventListener('beforeunload', (event) => queue.waiting.length && event.preventDefault());
  let version = model.version;
  const poll = async () => {
    if (!document.hidden && !queue.running && !queue.error) {
      try {
        const found = await read(`/api/changes?version=${model.version}&seq=${model.seq}`);
        if (!queue.running) await model.follow(found);
        const [made, total] = found.thumbnails;
        document.body.dataset.thumbnails = `${made}/${total}`;
        if (made < total && !said) say(`Thumbnails: ${made.toLocaleString('en')} of ${total.toLocaleString('en')}`);
        else if (made >= total && said.startsWith('Thumbnails')) say('');
      } catch (error) {
        if (error instanceof Lost) say(error.message);
        else throw error;
      }
      if (version !== model.version) {
        version = model.version;
        drawBanner();
      }
    }
    setTimeout(poll, POLL);
  };
  setTimeout(poll, POLL);
}

function fail(error) {
  say(error.message);
}

start();
