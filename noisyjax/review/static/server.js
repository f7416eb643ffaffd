// Talks to the server: columns as raw arrays, decisions one after another, and what others decided.

const TYPES = { float32: Float32Array, int32: Int32Array, uint32: Uint32Array, uint8: Uint8Array };

export class Lost extends Error {} // the server does not answer, or no longer knows this page

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: 'same-origin', ...options });
  } catch {
    throw new Lost('The server does not answer.');
  }
  if (answer.status === 403) throw new Lost('The server was restarted: open the address that it prints.');
  return answer;
}

/** Returns {head, arrays}. */
export async function columns() {
  const answer = await ask('/api/columns');
  const buffer = await answer.arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  for (const [name, at] of Object.entries(head.arrays)) {
    arrays[name] = new TYPES[at.type](buffer, 4 + length + at.offset, at.length);
  }
  return { head, arrays };
}

/** Returns the JSON of a path; throws an Error with the server's sentence if it refuses. */
export async function read(path) {
  const answer = await ask(path);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error);
  return content;
}

export async function write(what, content) {
  const answer = await ask(`/api/${what}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(content),
  });
  const found = await answer.json().catch(() => ({ error: `The server refuses (${answer.status}).` }));
  if (!answer.ok) throw new Error(found.error);
  return found;
}

/** Sends decisions in order, one request at a time; those that could not be sent stay until `retry`. */
export class Queue {
  constructor(model, changed) {
    this.model = model;
    this.changed = changed; // called with {waiting, error} whenever one of them changes
    this.waiting = [];
    this.running = false;
    this.error = '';
  }

  /** Resolves to the server's answer once it is on the disk, or to null if it was refused. */
  send(what, content = {}) {
    return new Promise((resolve) => {
      this.waiting.push({ what, content, resolve });
      this.run();
    });
  }

  retry() {
    this.error = '';
    this.run();
  }

  async run() {
    if (this.running || !this.waiting.length) return;
    this.running = true;
    this.error = '';
    while (this.waiting.length) {
      const { what, content, resolve } = this.waiting[0];
      this.changed(this);
      try {
        const { version, seq } = this.model;
        const found = await write(what, { version, seq, ...content });
        this.waiting.shift();
        await this.model.follow(found);
        resolve(found);
      } catch (error) {
        this.error = error.message;
        if (error instanceof Lost) break;
        this.waiting.shift();
        resolve(null);
      }
    }
    this.running = false;
    this.changed(this);
  }
}
