// The versions of the table: what waits to be committed, a graph, what each version changed and why, and commit.

import { bar, h, picture, rows } from './html.js';
import { dialog } from './card.js';
import { lanes, line, picture as graph, roving } from './graph.js';
import { read } from './server.js';
import { Training } from './training.js';

const day = (time) => time.slice(0, 16).replace('T', ' ');
const change = (c) => `${c.action} ${c.from} → ${c.to}: ${rows(c.rows)}`;
const short = (version) => version.slice(0, 12);

export async function versions(model, queue, say) {
  const [list, proposal] = await Promise.all([read('/api/versions'), read('/api/proposal')]);
  const message = h('textarea', { rows: 2, 'aria-label': 'Why the labels change', placeholder: 'Why the labels change' });
  message.value = proposal.counts.slice(0, 3).map(change).join(', ') + (proposal.counts.length > 3 ? ', …' : '');
  const waits = proposal.counts.length > 0;
  const first = [
    h('h3', {}, 'Not committed'),
    proposal.refused ? h('p', { class: 'error' }, proposal.refused) : '',
    waits ? h('ul', {}, proposal.counts.slice(0, 20).map((c) => h('li', {}, change(c)))) : h('p', {}, proposal.refused ? '' : 'Nothing waits: no decision changes a row.'),
    waits && !model.head.read_only ? message : '',
  ];
  const shown = h('div', { class: 'difference', 'aria-live': 'polite' });
  let asked = null; // what a button of a version asked for
  const close = (what, v) => {
    asked = { what, v };
    document.querySelector('dialog[open]').close('asked');
  };
  const percent = (value) => `${(100 * value).toFixed(1)}`;
  const score = (s) => h('div', { class: 'score' }, bar(s.accuracy, s.low, s.high), ` ${s.run}: ${percent(s.accuracy)} % right of ${s.rows.toLocaleString('en')} ${s.of}, 95 % interval ${percent(s.low)}–${percent(s.high)}`);
  const laid = lanes(list, model.version);
  const width = 1 + Math.max(...laid.flatMap(({ at, past, below }) => [at, ...past, ...below]));
  const item = (v, k) => {
    const [now, merges] = [v.version === model.version, v.parents.length > 1];
    const status = Object.entries(v.status).filter(([, n]) => n).map(([name, n]) => `${n.toLocaleString('en')} ${name}`).join(', ');
    const marks = [...v.branches.map((name) => `branch ${name}`), ...(now ? ['now'] : [])];
    const says = [`Version ${short(v.version)}`, ...marks, v.message, v.parents.length ? `${merges ? 'merge of' : 'from'} ${v.parents.map(short).join(' and ')}` : 'first version'].join(', ');
    const name = h('button', { type: 'button', class: 'node', 'aria-label': says, 'aria-pressed': 'false', title: 'Mark what it comes from', onclick: () => mark(v.version) }, h('code', {}, short(v.version)));
    const from = (parent) => h('button', { type: 'button', class: 'plain', 'aria-label': `Go to ${short(parent)}, from which ${short(v.version)} comes`, onclick: () => go(list.findIndex((each) => each.version === parent)) }, h('code', {}, short(parent)));
    const differs = v.parents.map((parent) => h('button', { type: 'button', onclick: () => show(parent, v.version) }, merges ? `Changes to ${short(parent)}` : 'Changes'));
    const back = !now && !model.head.read_only ? h('button', { type: 'button', onclick: () => close('revert', v) }, 'Go back to this') : '';
    const train = h('button', { type: 'button', onclick: () => close('train', v) }, 'Train on this');
    const origin = v.parents.length ? h('span', { class: 'why' }, merges ? ' merge of ' : ' from ', v.parents.flatMap((parent, p) => [p ? ' and ' : '', from(parent)])) : '';
    const about = h('div', { class: 'about' }, name, marks.map((text) => h('span', { class: 'mark' }, text)), ` ${v.message}`, origin, h('div', { class: 'why' }, `${v.author}, ${day(v.time)}: ${status} `), v.scores.map(score), h('div', { class: 'tools' }, differs, train, back));
    return h('li', {}, h('div', { class: 'lanes' }, graph(laid[k], width)), about);
  };
  const items = list.map(item);
  const nodes = items.map((each) => each.querySelector('.node'));
  const go = roving(nodes);
  const mark = (version) => {
    const on = nodes[list.findIndex((v) => v.version === version)].ariaPressed === 'false';
    const kept = line(list, version);
    list.forEach((v, k) => {
      nodes[k].ariaPressed = String(on && v.version === version);
      items[k].classList.toggle('aside', on && !kept.has(v.version));
    });
  };
  const show = async (old, now) => {
    const found = await read(`/api/difference?old=${old}&new=${now}`);
    const lines = found.rows.map((row) => {
      const i = model.rowOf.get(row.place);
      const image = i === undefined ? '' : picture(model.picture(i));
      return h('tr', {}, h('td', {}, image), h('td', {}, row.name), h('td', {}, `${row.from} → ${row.to}`), h('td', {}, row.by), h('td', {}, [row.reason, row.evidence].filter(Boolean).join('; ')));
    });
    const head = h('tr', {}, ['', 'file', 'change', 'by', 'why'].map((text) => h('th', {}, text)));
    shown.replaceChildren(h('h3', {}, `Changes of ${short(now)}: ${rows(found.total)}`), h('p', {}, found.counts.slice(0, 8).map(change).join(', ')), h('table', { class: 'rows' }, head, lines));
  };
  const buttons = [['', 'Close', !waits]];
  if (waits && !model.head.read_only) buttons.push(['commit', 'Commit a new version', true]);
  const training = new Training(() => say('The training has ended: see Versions.'));
  training.follow();
  const scored = list.some((v) => v.scores.length) ? '' : h('p', { class: 'why' }, 'No run of --workdir was trained on a version of this table: nothing is known of their accuracy.');
  const value = await dialog('Versions', [first, h('h3', {}, 'Versions of all branches, newest first'), scored, h('ol', { class: 'versions', 'aria-label': 'Versions' }, items), training.element, shown], buttons);
  if (value === 'asked') return asked.what === 'train' ? train(asked.v, model, queue, say) : revert(asked.v, queue, say);
  if (value !== 'commit') return;
  const made = await queue.send('commit', { message: message.value });
  if (!made) return;
  say('Committed.');
  const place = `${model.head.folder}@${short(made.made)}`;
  const next = await dialog(`Version ${short(made.made)}`, [h('p', {}, 'Train on it by adding this to the command of a run:'), h('pre', {}, `--config.data.table=${place}`)], [['versions', 'Versions'], ['', 'Close', true]]);
  if (next) await versions(model, queue, say);
}

/** Shows the command that trains on a version, and starts it if asked. */
async function train(v, model, queue, say) {
  const can = !v.command.includes('--config=CONFIG') && !model.head.read_only;
  const text = can ? 'This server can start it; it ends with the server, and the same command goes on later.' : 'Run it in a terminal. The page can start it if a run of the command “train” is among --workdir.';
  const value = await dialog(`Train on ${short(v.version)}`, [h('pre', {}, v.command), h('p', {}, text)], can ? [['', 'Close'], ['start', 'Start the training', true]] : [['', 'Close', true]]);
  if (value !== 'start' || !(await queue.send('train', { on: v.version }))) return;
  say('Training …');
  await versions(model, queue, say);
}

async function revert(v, queue, say) {
  const name = short(v.version);
  const text = `A new version gets the labels of ${name} (“${v.message}”). No version is lost.`;
  if (await dialog(`Go back to ${name}`, [h('p', {}, text)], [['', 'Cancel'], ['yes', 'Go back', true]])) {
    if (await queue.send('revert', { to: v.version })) say(`Back to ${name}.`);
  }
}
