// The page as a whole: what is chosen, what is loaded for that, and how live it is.

import { Component, age, aheadOf, here, html, link, mayAsk, render, route, still, timeIn } from './base.js';
import { Federation } from './federation.js';
import { Host } from './host.js';
import { Hosts } from './hosts.js';
import { Loaded, follow } from './live.js';
import { Empty, Waiting } from './parts.js';
import { Plan } from './plan.js';
import { Remote, Remotes } from './remote.js';
import { Timeline, timelinePath, timelineTopics } from './timeline.js';

const VIEWS = [['federation', 'Federation'], ['hosts', 'Hosts'], ['remote', 'Remotes'], ['timeline', 'What happened'], ['plan', 'What if']].filter(([view]) => view !== 'plan' || mayAsk('plan'));
const TICK = 10000;

class Page extends Component {
  constructor() {
    super();
    this.state = { route: route(), versions: { status: 0, objects: 0, events: 0 }, now: here(), there: true, why: '', heard: here() };
  }

  componentDidMount() {
    addEventListener('hashchange', () => this.turn());
    follow((topics) => this.changed(topics), (there, why = '') => this.setState({ there, why, heard: there || this.state.there ? here() : this.state.heard }));
    // A page that nobody sees asks for nothing as time goes by, and at once when it is seen again.
    const tick = () => document.hidden || this.setState({ now: here() });
    setInterval(tick, TICK);
    document.addEventListener('visibilitychange', tick);
    this.name();
  }

  turn() {
    const before = this.state.route;
    const after = route();
    this.setState({ route: after, now: here() }, () => {
      this.name();
      if (before.view !== after.view || before.query.name !== after.query.name) {
        scrollTo(0, 0);
        document.querySelector('h1')?.focus({ preventScroll: true });
      }
    });
  }

  name() {
    const { view, query } = this.state.route;
    const word = VIEWS.find(([one]) => one === view)?.[1] || 'Meshfed';
    document.title = `${query.name || word} · Meshfed`;
    // Where the screen is narrow, the views do not all fit.
    document.querySelector('nav [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  }

  changed(topics) {
    this.setState(({ versions }) => ({
      versions: { ...versions, ...Object.fromEntries(topics.map((topic) => [topic, versions[topic] + 1])) },
      heard: here(),
    }));
  }

  render(_, { route: { view, query }, versions: told, now: time, there, why, heard }) {
    const versions = { ...told, minute: Math.floor(time / 60e3), moment: time };
    const now = (loaded) => ({ at: time, ahead: aheadOf(loaded.document?.clocks, loaded.at) });
    const at = view === 'host' ? 'hosts' : view;
    return html`<a class="skip" href="#main" onClick=${(event) => { event.preventDefault(); document.querySelector('h1')?.focus(); }}>Skip to what is shown</a>
      <${Loaded} path="/api/federation" topics=${['status']} versions=${versions} show=${(loaded) => html`
        <header><a class="brand" href=${link('federation')}><svg width="22" height="22" viewBox="0 0 32 32" aria-hidden="true"><path d="M9 10.5C16 5 16 5 23 10.5M9 21.5C16 27 16 27 23 21.5"/><circle cx="7" cy="16" r="5.5"/><circle cx="25" cy="16" r="5.5"/></svg>Meshfed</a>
          <nav aria-label="Views">${VIEWS.map(([one, word]) => html`<a key=${one} href=${link(one)} aria-current=${one === at ? 'page' : undefined}>${word}</a>`)}</nav>
          <${Live} loaded=${loaded} there=${there} why=${why} heard=${heard} now=${now(loaded)}/></header>
        <main id="main">${this.view(view, query, loaded, versions, now(loaded))}</main>`}/>`;
  }

  view(view, query, loaded, versions, now) {
    const federation = loaded.document;
    if (!federation) return html`<h1 tabindex="-1">Meshfed</h1><${Waiting} error=${loaded.error} what="the meshes"/>`;
    const { meshes, nodes } = federation;
    switch (view) {
      case 'hosts': {
        const asked = new URLSearchParams(Object.entries(query).filter(([name, value]) => value && ['q', 'state', 'mesh', 'namespace', 'start'].includes(name)));
        return html`<${Loaded} key="hosts" path="/api/hosts?${asked}" topics=${['status', 'objects']} versions=${versions}
          show=${(found) => html`<${Hosts} loaded=${found} query=${query} meshes=${nodes.map((one) => one.name)} now=${now}/>`}/>`;
      }
      case 'host':
        return html`<${Loaded} key="host ${query.name}" path="/api/explanation?${new URLSearchParams({ name: query.name || '' })}" topics=${['status', 'objects']} versions=${versions}
          show=${(found) => html`<${Host} loaded=${found} query=${query}/>`}/>`;
      case 'remote':
        if (!query.name) {
          return html`<${Loaded} key="remotes" path="/api/propagations" topics=${['moment']} versions=${versions}
            show=${(found) => html`<${Remotes} meshes=${meshes} now=${now} propagations=${found}/>`}/>`;
        }
        return html`<${Loaded} key="remote ${query.mesh} ${query.name}" path=${timelinePath({ mesh: query.mesh, remote: query.name })} topics=${['status', 'events']} versions=${versions}
          show=${(found) => html`<${Remote} meshes=${meshes} query=${query} now=${now} timeline=${found} versions=${versions}/>`}/>`;
      case 'timeline':
        return html`<${Loaded} key="timeline" path=${timelinePath(query)} topics=${timelineTopics(query)} versions=${versions}
          show=${(found) => html`<${Timeline} loaded=${found} query=${query} meshes=${meshes} now=${now}/>`}/>`;
      case 'plan':
        if (!mayAsk('plan')) return html`<h1 tabindex="-1">What would happen</h1><${Empty}>This page cannot work it out. <code>meshfed plan --diff</code> can.<//>`;
        return html`<${Plan} key="plan" meshes=${meshes} query=${query}/>`;
      default:
        return html`<${Federation} federation=${federation} unreached=${federation.unreached || []} now=${now}/>`;
    }
  }
}

// How old what is shown may be; a word only where it is not of now.
function Live({ loaded, there, why, heard, now }) {
  const silent = loaded.document?.unreached || [];
  const sources = new Map((loaded.document?.nodes || []).map((one) => [one.source, one]));
  const words = silent.map(({ source }) => {
    const node = sources.get(source);
    return node ? `${node.name} not reached, shown as it was ${age(node.taken, timeIn(now, node.name))} ago` : `${source} not reached`;
  });
  if (!there) words.unshift(`${why || 'the dashboard does not answer'}: all is as ${age(new Date(heard).toISOString(), now.at)} ago`);
  else if (loaded.error) words.unshift(loaded.error);
  if (still) words.unshift(`as it was at ${still.replace('T', ' ').replace('Z', ' UTC')}; this does not change`);
  return html`<p class="live ${words.length ? 'late' : ''}" role="status">${words.length ? words.join('; ') : html`<span class="dot" aria-hidden="true"></span>live`}</p>`;
}

render(html`<${Page}/>`, document.getElementById('app'));
