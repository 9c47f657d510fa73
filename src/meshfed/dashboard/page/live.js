// What comes from the server: documents, and word that they changed.

import { Component, here } from './base.js';
import { answer, held } from './still.js';

export async function get(path, { signal } = {}) {
  if (held) return answer(held, path);
  return read(path, await fetch(path, { signal }));
}

export async function post(path, body) {
  const headers = { 'Content-Type': 'application/json' };
  return read(path, await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) }));
}

async function read(path, response) {
  if (!response.ok) throw new Error((await response.text()).trim() || `${path}: ${response.status}`);
  return response.json();
}

const FINISHED = 2;

// Why nothing is told of changes, in the server's words; an EventSource does not show them.
async function refusal() {
  const abort = new AbortController();
  try {
    const response = await fetch('/api/changes', { signal: abort.signal });
    return response.ok ? '' : (await response.text()).trim();
  } catch {
    return '';
  } finally {
    abort.abort();
  }
}

// Calls onChange with the topics that changed, and onState with whether the server is there, and what it said if it
// refused. Ends never: the browser connects again by itself, and where it gave up for good (another server has the port,
// or there are too many pages), this does.
export function follow(onChange, onState) {
  if (held) return;
  const source = new EventSource('/api/changes');
  source.addEventListener('hello', () => {
    onState(true);
    onChange(['status', 'objects', 'events']);
  });
  source.addEventListener('change', (event) => onChange(JSON.parse(event.data)));
  source.addEventListener('error', () => {
    onState(false);
    if (source.readyState !== FINISHED) return;
    refusal().then((words) => words && onState(false, words));
    setTimeout(() => follow(onChange, onState), 3000);
  });
}

// Shows what `show` makes of the document at `path`, asked for anew when one of `topics` changed. While a newer one is on
// its way, the last one stays.
export class Loaded extends Component {
  constructor(props) {
    super(props);
    this.state = { document: null, at: 0, of: '', error: '' };
  }

  componentDidMount() {
    this.load();
  }

  componentDidUpdate(before) {
    const { path, topics, versions } = this.props;
    if (before.path !== path) this.load();
    else if (topics.some((topic) => versions[topic] !== before.versions[topic])) this.loadSoon();
  }

  componentWillUnmount() {
    this.gone = true;
    this.abort?.abort();
  }

  // One request at a time: what changes meanwhile is asked for once, afterwards.
  loadSoon() {
    if (this.busy) this.again = true;
    else this.load();
  }

  async load() {
    this.abort?.abort();
    const abort = new AbortController();
    const { path } = this.props;
    this.abort = abort;
    this.busy = true;
    this.again = false;
    try {
      const document = await get(path, { signal: abort.signal });
      if (!this.gone && this.abort === abort) this.setState({ document, at: here(), of: path, error: '' });
    } catch (error) {
      if (!this.gone && this.abort === abort && error.name !== 'AbortError') this.setState({ error: error.message });
    }
    if (this.gone || this.abort !== abort) return;
    this.busy = false;
    if (this.again) this.load();
  }

  render({ path, show }, { document, at, of, error }) {
    return show({ document, at, error, isOld: of !== path });
  }
}
