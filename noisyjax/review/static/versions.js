// The versions of the table: what waits to be committed, what each version changed and why, and commit.

import { h, picture, rows } from './html.js';
import { dialog } from './card.js';
import { read } from './server.js';

const day = (time) => time.slice(0, 16).replace('T', ' ');
const change = (c) => `${c.rows.toLocaleString('en')} ${c.action} ${c.from} → ${c.to}`;

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
  const items = list.map((v, k) => {
    const status = Object.entries(v.status).filter(([, n]) => n).map(([name, n]) => `${n.toLocaleString('en')} ${name}`).join(', ');
    const button = v.parents.length ? h('button', { type: 'button', onclick: () => show(v.parents[0], v.version) }, 'Changes') : '';
    return h('li', {}, h('code', {}, v.version.slice(0, 12)), k ? '' : h('span', { class: 'mark' }, 'now'), ` ${v.message} `, h('div', { class: 'why' }, `${v.author}, ${day(v.time)}: ${status} `, button));
  });
  const show = async (old, now) => {
    const found = await read(`/api/difference?old=${old}&new=${now}`);
    const lines = found.rows.map((row) => {
      const i = model.rowOf.get(row.place);
      const image = i === undefined ? '' : picture(model.picture(i));
      return h('tr', {}, h('td', {}, image), h('td', {}, row.name), h('td', {}, `${row.from} → ${row.to}`), h('td', {}, row.by), h('td', {}, [row.reason, row.evidence].filter(Boolean).join('; ')));
    });
    const head = h('tr', {}, ['', 'file', 'change', 'by', 'why'].map((text) => h('th', {}, text)));
    shown.replaceChildren(h('h3', {}, `Changes of ${now.slice(0, 12)}: ${rows(found.total)}`), h('p', {}, found.counts.slice(0, 8).map(change).join(', ')), h('table', { class: 'rows' }, head, lines));
  };
  const buttons = [['', 'Close', !waits]];
  if (waits && !model.head.read_only) buttons.push(['commit', 'Commit a new version', true]);
  const value = await dialog('Versions', [first, h('h3', {}, `Branch ${model.head.branch}`), h('ol', { class: 'versions' }, items), shown], buttons);
  if (value !== 'commit') return;
  const made = await queue.send('commit', { message: message.value });
  if (!made) return;
  say('Committed.');
  const place = `${model.head.folder}@${made.made.slice(0, 12)}`;
  await dialog(`Version ${made.made.slice(0, 12)}`, [h('p', {}, 'Train on it by adding this to the command of a run:'), h('pre', {}, `--config.data.table=${place}`)], [['', 'Close', true]]);
}
