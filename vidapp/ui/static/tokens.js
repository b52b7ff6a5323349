const root = element.querySelector('.tokens');
const find = (selector) => root.querySelector(selector);
const panels = {};
for (const figure of root.querySelectorAll('.panels > figure')) {
  panels[figure.dataset.panel] = {
    box: figure.querySelector('.box'), canvas: figure.querySelector('canvas'), note: figure.querySelector('.note'),
    empty: figure.querySelector('.empty'), cursor: figure.querySelector('.cursor'), chosen: figure.querySelector('.chosen'),
  };
}
const [grid, mode, scrubber, play] = ['.panels', '.mode', '.scrubber', '.play'].map(find);
const [track, readout, scope] = ['.track', '.readout', '.scope'].map(find);
const MODES = {
  ids: 'ids', true: 'ids of the true frame', differ: 'predicted and true, where they differ', flicker: 'flicker: changed id, unchanged pixels',
};
const EMPTY = { key: '', frames: [], drawn: [], ids: [], true_ids: null, replay: null, flicker: [], grid: [1, 1], kinds: [], errors: [], psnr: [], palette: ['#888'], atlas: null, start: 0, codebook: 0, said: 'loading…' };

let clip = EMPTY;
let now = 0;
let cursor = { row: 0, column: 0 };  // under the mouse, or moved by the arrow keys
let chosen = null;                   // { frame, row, column }: under the microscope
let playing = false;
let turns = 0;
let edits = [];                      // what-ifs, the newest last: { frame, row, column, id }
let redrawn = new Map();             // frame -> { uri, error, psnr } with the edits
let looked = null;                   // the answer that is shown
const followers = [];                // what else is to be drawn again when the cursor or the time has moved

// ---- ids and their colours
const rows = () => clip.grid[0];
const columns = () => clip.grid[1];
const colourOf = (id) => clip.palette[(id * 19) % clip.palette.length];  // 19 and the palette's length share no factor: neighbours differ
function inkOn(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return 0.299 * r + 0.587 * g + 0.114 * b > 140 ? '#000' : '#fff';
}
function editAt(frame, row, column) {
  return edits.findLast((edit) => edit.frame === frame && edit.row === row && edit.column === column);
}
function idAt(frame, row, column) {
  const edit = editAt(frame, row, column);
  return edit ? edit.id : clip.ids[frame][row * columns() + column];
}
const trueAt = (frame, row, column) => clip.true_ids?.[frame]?.[row * columns() + column];

// ---- drawing
const picture = (frame) => pixels.get(clip.frames[frame]);
const drawing = (frame) => pixels.get(redrawn.get(frame)?.uri ?? clip.drawn[frame]);

function fill(panel, data, otherwise) {
  panel.box.dataset.empty = data ? 'no' : 'yes';
  panel.empty.textContent = data ? '' : otherwise;
  if (data) paint(panel.canvas, data);
}

function paintIds() {
  const { canvas } = panels.ids;
  const side = Math.round(canvas.clientWidth * (window.devicePixelRatio || 1));
  if (!side || !clip.ids.length) return;
  canvas.width = side;
  canvas.height = Math.round(side * rows() / columns());
  const pen = canvas.getContext('2d');
  const cell = side / columns();
  const size = cell * (canvas.clientWidth / columns() < 24 ? 0.52 : 0.42);  // for three digits; more are drawn narrower
  const marked = idAt(now, cursor.row, cursor.column);
  pen.textAlign = 'center';
  pen.textBaseline = 'middle';
  for (let row = 0; row < rows(); row++) {
    for (let column = 0; column < columns(); column++) paintCell(pen, row, column, cell, size, marked);
  }
}

function paintCell(pen, row, column, cell, size, marked) {
  const [id, truth] = [idAt(now, row, column), trueAt(now, row, column)];
  const [x, y] = [column * cell, row * cell];
  const shown = mode.value === 'true' ? truth : id;
  const write = (text, at, scale) => {
    pen.font = `600 ${size * scale}px ui-sans-serif, system-ui, sans-serif`;
    pen.fillText(text, x + cell / 2, y + cell * at, cell - 2);
  };
  if (shown === undefined || shown === null) {
    pen.fillStyle = '#1f2937';
    pen.fillRect(x, y, cell, cell);
    pen.fillStyle = '#cbd5e1';
    write('?', 0.54, 1);
    return;
  }
  const striking = mode.value === 'differ' ? truth !== undefined && truth !== id
    : mode.value === 'flicker' ? clip.flicker[now][row * columns() + column] : true;
  const colour = striking ? colourOf(shown) : '#1f2937';
  pen.fillStyle = colour;
  pen.fillRect(x, y, cell, cell);
  if (id === marked && mode.value !== 'true') {  // below the number, and thin where there is little room
    const thick = cell > 28 * (window.devicePixelRatio || 1) ? 1 : 0.5;
    for (const [ink, inset, width] of [['#000', 1.5, 3], ['#fff', 3, 1.5]]) {
      pen.strokeStyle = ink;
      pen.lineWidth = width * thick;
      pen.strokeRect(x + inset * thick, y + inset * thick, cell - 2 * inset * thick, cell - 2 * inset * thick);
    }
  }
  pen.fillStyle = striking ? inkOn(colour) : '#94a3b8';
  if (mode.value === 'differ' && striking) {
    write(String(id), 0.32, 0.9);
    write(String(truth), 0.74, 0.9);
    pen.fillRect(x + cell * 0.15, y + cell * 0.53, cell * 0.7, Math.max(1, cell * 0.03));
  } else {
    write(String(shown), 0.54, 1);
  }
  pen.strokeStyle = 'rgba(15, 23, 42, 0.55)';
  pen.lineWidth = 1;
  pen.strokeRect(x + 0.5, y + 0.5, cell - 1, cell - 1);
  if (editAt(now, row, column)) {  // a corner, for what is not the clip's own
    pen.fillStyle = '#fff';
    pen.strokeStyle = '#000';
    pen.beginPath();
    pen.moveTo(x + cell, y);
    pen.lineTo(x + cell, y + cell * 0.35);
    pen.lineTo(x + cell * 0.65, y);
    pen.closePath();
    pen.fill();
    pen.stroke();
  }
}

function put(mark, cell) {
  mark.hidden = !cell;
  if (!cell) return;
  mark.style.left = `${100 * cell.column / columns()}%`;
  mark.style.top = `${100 * cell.row / rows()}%`;
  mark.style.width = `${100 / columns()}%`;
  mark.style.height = `${100 / rows()}%`;
}

function short(value) {
  if (value === null || value === undefined) return '–';
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value >= 0.01 ? value.toPrecision(2) : value > 0 ? '< 0.01' : '0';
}

// ---- one cursor, one time
function point() {
  for (const panel of Object.values(panels)) {
    put(panel.cursor, clip.ids.length ? cursor : null);
    put(panel.chosen, chosen && chosen.frame === now ? chosen : null);
  }
  if (!clip.ids.length) { readout.textContent = ''; for (const follow of followers) follow(); return; }
  const id = idAt(now, cursor.row, cursor.column);
  const was = clip.ids[now][cursor.row * columns() + cursor.column];
  const truth = trueAt(now, cursor.row, cursor.column);
  const parts = [`row ${cursor.row + 1}, column ${cursor.column + 1}: id ${id}`];
  if (id !== was) parts[0] += ` (put there; it was ${was})`;
  if (truth !== undefined) parts.push(truth === id ? 'as in the true frame' : `the true frame has ${truth}`);
  const places = occurrences(id);
  parts.push(places.total === 1 ? 'only here' : `${places.total} times, in ${places.frames} of ${clip.ids.length} frames`);
  const error = patchError(cursor.row, cursor.column);
  if (error !== null) parts.push(`squared error of the patch ${short(error)}`);
  if (clip.flicker[now]?.[cursor.row * columns() + cursor.column]) parts.push('changed though its pixels did not');
  readout.textContent = parts.join(' · ');
  root.dataset.cell = `${cursor.row},${cursor.column}`;
  for (const bar of track.children) bar.classList.toggle('has', clip.ids[Number(bar.dataset.frame)].includes(id));
  paintIds();
  for (const follow of followers) follow();
}

function occurrences(id) {
  const counts = clip.ids.map((frame) => frame.reduce((count, one) => count + (one === id), 0));
  return { total: counts.reduce((sum, count) => sum + count, 0), frames: counts.filter(Boolean).length };
}

function patchError(row, column) {
  const [truth, drawn] = [picture(now), drawing(now)];
  if (!truth || !drawn) return null;
  const [wide, high] = [truth.width / columns(), truth.height / rows()];
  const channels = clip.channels;
  let sum = 0;
  for (let y = row * high; y < (row + 1) * high; y++) {
    for (let x = column * wide; x < (column + 1) * wide; x++) {
      const at = 4 * (y * truth.width + x);
      for (let channel = 0; channel < channels; channel++) sum += ((drawn.data[at + channel] - truth.data[at + channel]) / 255) ** 2;
    }
  }
  return sum;
}

function show(frame) {
  const total = clip.ids.length;
  now = total ? Math.max(0, Math.min(frame, total - 1)) : 0;
  const [truth, drawn] = [picture(now), drawing(now)];
  const waiting = total ? 'the true frame is not known' : clip.said;
  fill(panels.frame, truth, waiting);
  fill(panels.drawn, drawn, waiting);
  fill(panels.error, truth && drawn ? difference(truth, drawn) : null, waiting);
  const own = redrawn.get(now) || { error: clip.errors[now], psnr: clip.psnr[now] };
  panels.frame.note.textContent = total ? clip.kinds[now] : '';
  panels.drawn.note.textContent = redrawn.has(now) ? 'with your ids' : total ? clip.drawn_kinds[now] : '';
  panels.error.note.textContent = total && truth ? `${short(own.error)} · ${short(own.psnr)} dB` : '';
  scrubber.value = String(now);
  const where = total ? `frame ${now + 1} of ${total}` : '';
  find('.place').textContent = where;
  scrubber.setAttribute('aria-valuetext', where);
  root.dataset.frame = String(now);
  for (const bar of track.children) bar.classList.toggle('now', Number(bar.dataset.frame) === now);
  const left = chosen && total && chosen.frame !== now;  // the microscope is of the frame that is shown, never of another
  if (left && playing) { chosen = null; scope.hidden = true; }
  point();
  if (left && chosen) aim({ ...chosen, frame: now });
}

function buildTrack() {
  const highest = Math.max(1e-9, ...clip.errors.filter((error) => error !== null));
  track.replaceChildren(...clip.ids.map((_, frame) => {
    const bar = document.createElement('span');
    bar.dataset.frame = String(frame);
    bar.style.setProperty('--height', `${8 + 92 * (clip.errors[frame] ?? 0) / highest}%`);
    bar.append(document.createElement('i'));
    return bar;
  }));
}

// Opening the tab and picking a frame in it may both ask for the same view: the second answer must not take back where one has gone since.
const TWICE_MS = 20000;
let came = -Infinity;
function repeats(fresh) {
  const soon = performance.now() - came < TWICE_MS;
  const same = soon && fresh.start === clip.start && fresh.frames.length && JSON.stringify([fresh.ids, fresh.frames]) === JSON.stringify([clip.ids, clip.frames]);
  came = same ? came : performance.now();
  return same;
}
new IntersectionObserver(() => { if (root.offsetParent === null) came = -Infinity; }).observe(root);  // after a visit elsewhere it is a new wish

async function take(value) {
  const turn = ++turns;
  const fresh = { ...EMPTY, ...(value || {}) };
  const uris = [...fresh.frames, ...fresh.drawn, fresh.atlas?.sprite].filter(Boolean);
  await Promise.all(uris.map((uri) => decode(uri).catch(() => null)));
  if (turn !== turns) return;
  const another = fresh.key !== clip.key && !repeats(fresh);
  clip = fresh;
  for (const uri of pixels.keys()) if (!uris.includes(uri)) pixels.delete(uri);
  if (another) {
    edits = [];
    redrawn = new Map();
    stale.clear();
    chosen = null;
    looked = null;
    scope.hidden = true;
    const modes = Object.keys(MODES).filter((name) => fresh.true_ids || (name !== 'true' && name !== 'differ'));
    mode.replaceChildren(...modes.map((name) => new Option(name === 'ids' && fresh.true_ids ? 'predicted ids' : MODES[name], name)));
    now = clip.start;
    cursor = worst();
  }
  scrubber.max = String(Math.max(0, clip.ids.length - 1));
  find('.bars').hidden = !clip.ids.length;
  buildTrack();
  buildAtlas();
  show(another ? clip.start : now);
  root.dataset.key = clip.key;
  root.dataset.frames = String(clip.ids.length);
}

// Where a first look is worth most: where the frame that is shown first is drawn worst.
function worst() {
  let [most, found] = [-1, { row: 0, column: 0 }];
  for (let row = 0; row < rows(); row++) {
    for (let column = 0; column < columns(); column++) {
      const error = patchError(row, column) ?? 0;
      if (error > most) [most, found] = [error, { row, column }];
    }
  }
  return found;
}

function setPlaying(value) {
  playing = value;
  play.textContent = playing ? '❚❚' : '▶';
  play.setAttribute('aria-label', playing ? 'Pause' : 'Play');
  readout.setAttribute('aria-live', playing ? 'off' : 'polite');  // frames that go by are not to be read out one by one
}

function cellUnder(event) {
  const box = event.target.closest?.('.box');
  if (!box || !clip.ids.length) return null;
  const area = box.querySelector('canvas').getBoundingClientRect();
  const row = Math.floor((event.clientY - area.top) / area.height * rows());
  const column = Math.floor((event.clientX - area.left) / area.width * columns());
  return row >= 0 && column >= 0 && row < rows() && column < columns() ? { row, column } : null;
}

grid.addEventListener('pointermove', (event) => {
  const cell = cellUnder(event);
  if (cell && (cell.row !== cursor.row || cell.column !== cursor.column)) { cursor = cell; point(); }
});
grid.addEventListener('pointerleave', () => { if (chosen) { cursor = { row: chosen.row, column: chosen.column }; point(); } });
grid.addEventListener('click', (event) => {
  const cell = cellUnder(event);
  if (cell) { cursor = cell; choose({ frame: now, ...cell }); }
});
grid.addEventListener('keydown', (event) => {
  if (event.target !== grid || !clip.ids.length) return;
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  const time = { ',': -1, '.': 1, PageUp: -1, PageDown: 1 }[event.key];
  if (step) {
    cursor = { row: (cursor.row + step[0] + rows()) % rows(), column: (cursor.column + step[1] + columns()) % columns() };
    point();
  } else if (time) {
    setPlaying(false);
    show(now + time);
  } else if (event.key === 'Enter' || event.key === ' ') {
    choose({ frame: now, ...cursor });
  } else return;
  event.preventDefault();
});
mode.addEventListener('change', paintIds);
play.addEventListener('click', () => setPlaying(!playing));
scrubber.addEventListener('input', () => { setPlaying(false); show(Number(scrubber.value)); });
track.addEventListener('click', (event) => {
  const bar = event.target.closest('span');
  if (bar) { setPlaying(false); show(Number(bar.dataset.frame)); }
});
function tick() {
  if (!element.isConnected) return;
  if (playing && clip.ids.length > 1 && !document.hidden && root.offsetParent !== null) show((now + 1) % clip.ids.length);
  setTimeout(tick, 250);
}
new ResizeObserver(paintIds).observe(panels.ids.box);
