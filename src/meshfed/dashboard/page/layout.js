// Where each mesh of the picture is drawn, and along which way each arrow goes. Pure: numbers in, numbers out.

export const BOX = { width: 224, height: 92 };
const GAP = { x: 262, y: 66 };
const MARGIN = 12;
const BULGE = 150;
export const MOST = 24;
// More neighbours than this stand on both sides.
const ONE_SIDE = 5;

// Columns by how many links a mesh is away from the one that has the most, so that every arrow goes to the next column or
// stays in its own. Of `nodes` the first `MOST` are drawn.
export function layout(nodes, links) {
  const shown = nodes.slice(0, MOST).map((one) => one.name);
  const names = new Set(shown);
  const drawn = links.filter((one) => names.has(one.exporter) && names.has(one.importer) && one.exporter !== one.importer);
  const near = new Map(shown.map((name) => [name, new Set()]));
  for (const { exporter, importer } of drawn) {
    near.get(exporter).add(importer);
    near.get(importer).add(exporter);
  }
  const at = new Map();
  let top = MARGIN;
  for (const hub of [...shown].sort((a, b) => near.get(b).size - near.get(a).size)) {
    if (at.has(hub)) continue;
    const columns = columnsOf(hub, near);
    const most = Math.max(...columns.map((column) => column.names.length));
    const height = most * (BOX.height + GAP.y) - GAP.y;
    for (const { number, names: those } of columns) {
      const used = those.length * (BOX.height + GAP.y) - GAP.y;
      those.forEach((name, row) => at.set(name, { column: number, y: top + (height - used) / 2 + row * (BOX.height + GAP.y) }));
    }
    top += height + GAP.y;
  }
  const first = Math.min(...[...at.values()].map((one) => one.column));
  for (const place of at.values()) place.x = MARGIN + (place.column - first) * (BOX.width + GAP.x);
  const isBulging = (one) => at.get(one.exporter).column === at.get(one.importer).column;
  const right = Math.max(...[...at.values()].map((one) => one.x + BOX.width + (drawn.some((l) => isBulging(l) && at.get(l.exporter).column === one.column) ? BULGE + 60 : 0)));
  return { at, drawn, width: right + MARGIN, height: top - GAP.y + MARGIN, left: nodes.length - shown.length };
}

function columnsOf(hub, near) {
  const column = new Map([[hub, 0]]);
  const queue = [hub];
  const neighbours = [...near.get(hub)];
  const others = (name) => [...near.get(name)].filter((one) => one !== hub);
  const isSplit = neighbours.length > ONE_SIDE && neighbours.every((name) => !others(name).length);
  for (const name of queue) {
    for (const [order, next] of [...near.get(name)].entries()) {
      if (column.has(next)) continue;
      column.set(next, isSplit && order % 2 ? -1 : column.get(name) + 1);
      queue.push(next);
    }
  }
  const numbers = [...new Set(column.values())];
  return numbers.map((number) => ({ number, names: [...column.keys()].filter((name) => column.get(name) === number) }));
}

// From the importer's edge to the exporter's gateway, which goes through the middle of its box: the path, where the middle
// of its words is, and where these begin at the least. `bow` is -1 above, 1 below.
export function way(one, { at, drawn }) {
  const [from, to] = [at.get(one.importer), at.get(one.exporter)];
  const isTwoWay = drawn.some((other) => other.exporter === one.importer && other.importer === one.exporter);
  const isForth = from.x < to.x || (from.x === to.x && from.y < to.y);
  const bow = isTwoWay && !isForth ? 1 : -1;
  const middle = (place) => place.y + BOX.height / 2;
  if (from.x === to.x) {
    const edge = from.x + BOX.width;
    const reach = bow < 0 ? BULGE : BULGE * 0.55;
    const [y1, y2] = [middle(from) + (isForth ? 22 : -22), middle(to) + (isForth ? -3 : 3)];
    return { ...cubic([edge, y1], [edge + reach, y1], [edge + reach + 10, y2], [edge + 5, y2], 0.3), least: edge + 10 };
  }
  const side = from.x < to.x ? 1 : -1;
  const start = [from.x + (side > 0 ? BOX.width : 0), middle(from) + bow * 27];
  const end = [to.x + (side > 0 ? -5 : BOX.width + 5), middle(to) + bow * 4];
  const reach = GAP.x * 0.42;
  // The word stands nearer to the outer end: there the ways of one mesh are farther apart.
  const t = Math.abs(to.column) >= Math.abs(from.column) ? 0.56 : 0.44;
  return cubic(start, [start[0] + side * reach, start[1] + bow * 14], [end[0] - side * reach, end[1] + bow * 36], end, t);
}

function cubic(a, b, c, d, t) {
  const at = [0, 1].map((axis) => (1 - t) ** 3 * a[axis] + 3 * (1 - t) ** 2 * t * b[axis] + 3 * (1 - t) * t ** 2 * c[axis] + t ** 3 * d[axis]);
  return { path: `M${a}C${b} ${c} ${d}`, at, least: 0 };
}
