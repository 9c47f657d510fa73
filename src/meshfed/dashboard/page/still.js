// What a page has that is one file: the documents are in it, and it answers of them as the server does.

const PAGE_SIZE = 100;
const UNITS = { s: 1e3, m: 60e3, h: 3600e3 };

// What is in the file; null where a server answers.
export const held = JSON.parse(document.getElementById('documents')?.textContent || 'null');

export function answer(documents, path) {
  const [place, query] = path.split('?');
  const asked = Object.fromEntries(new URLSearchParams(query));
  switch (place) {
    case '/api/federation':
      return documents.federation;
    case '/api/hosts':
      return hosts(documents.hosts, asked);
    case '/api/timeline':
      return timeline(documents.timeline, documents.federation.clocks, asked);
    case '/api/propagation':
      return documents.propagation[asked.source][asked.remote];
    case '/api/propagations':
      return { items: Object.values(documents.propagation).flatMap((remotes) => Object.values(remotes)) };
    default:
      return Object.hasOwn(documents.explanations, asked.name) ? documents.explanations[asked.name] : unknown(asked.name);
  }
}

const unknown = (name) => {
  throw new Error(`The chain of this host is not in this file. The report that the file is of has it: \`meshfed explain ${name} -f REPORT\`.`);
};

const has = (words, texts) => {
  const text = texts.join(' ').toLowerCase();
  return words.every((word) => text.includes(word));
};
const split = (q = '') => q.toLowerCase().split(/\s+/).filter(Boolean);

function some(page, found, start = 0) {
  const last = Math.max(0, Math.floor((found.length - 1) / PAGE_SIZE) * PAGE_SIZE);
  const from = Math.max(0, Math.min(Number(start) || 0, last));
  return { ...page, items: found.slice(from, from + PAGE_SIZE), start: from, total: found.length };
}

function hosts(page, { q, state = '', mesh = '', namespace = '', start }) {
  const words = split(q);
  const order = [...new Set(page.items.map((one) => one.state))]; // the worst are first
  const asked = page.items.filter((one) =>
    (!namespace || one.namespace === namespace)
    && (!mesh || one.exporter === mesh || one.usedBy.some((use) => use.mesh === mesh))
    && has(words, [one.host, one.service, one.exporter, one.state, one.reason, ...one.usedBy.flatMap((use) => [use.mesh, use.importedAs, use.reason])]));
  const shown = asked.filter((one) => !state || one.state === state);
  return { ...some(page, shown, start), states: counted(asked), groups: groups(shown, order) };
}

function counted(found) {
  const states = {};
  for (const { state } of found) states[state] = (states[state] || 0) + 1;
  return states;
}

function groups(shown, order) {
  const by = new Map();
  for (const one of shown) {
    const key = JSON.stringify([one.exporter, one.namespace]);
    by.set(key, [...(by.get(key) || []), one]);
  }
  const found = [...by.values()].map((those) => ({ exporter: those[0].exporter, namespace: those[0].namespace, total: those.length, states: counted(those) }));
  const key = (one) => [order.indexOf(Object.keys(one.states)[0]), one.exporter, one.namespace];
  return found.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    const at = x.findIndex((value, place) => value !== y[place]);
    return at < 0 ? 0 : x[at] < y[at] ? -1 : 1;
  });
}

function timeline(page, clocks, { q, mesh = '', remote = '', bad, since, start }) {
  const words = split(q);
  const span = /^(\d+)([smh])$/.exec(since || '');
  const found = page.items.filter((one) =>
    (!mesh || one.mesh === mesh) && (!remote || one.remote === remote) && (one.bad || bad !== 'true')
    && (!span || Date.parse(one.at) >= Date.parse(clocks[one.mesh]) - span[1] * UNITS[span[2]])
    && has(words, [one.kind, ...one.objects, one.remote, one.mesh, one.what, one.reason, one.message]));
  return some(page, found, start);
}
