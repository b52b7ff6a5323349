const root = element.querySelector('.player');
const screens = {};
for (const figure of root.querySelectorAll('.screen')) {
  screens[figure.dataset.screen] = {
    frame: figure.querySelector('.frame'), canvas: figure.querySelector('canvas'),
    note: figure.querySelector('.note'), empty: figure.querySelector('.empty'),
  };
}
const play = root.querySelector('.play');
const scrubber = root.querySelector('.scrubber');
const place = root.querySelector('.place');
const speed = root.querySelector('.speed');
const strip = root.querySelector('.strip');
const rows = root.querySelector('.rows');
const still = window.matchMedia('(prefers-reduced-motion: reduce)').matches;

const EMPTY = { given: [], truth: [], prediction: [], total: 0, key: '', making: false, width: 64, height: 64 };
let clip = EMPTY;
let now = 0;
let playing = !still;
let holdUntil = 0;
let turns = 0;

function frames() { return clip.given.length + Math.max(clip.total, clip.truth.length, clip.prediction.length); }

function picture(screen, index) {
  const given = clip.given.length;
  const truth = index < given ? clip.given[index] : clip.truth[index - given];
  const guess = index < given ? clip.given[index] : clip.prediction[index - given];
  if (screen === 'truth') return truth && pixels.get(truth);
  if (screen === 'prediction') return guess && pixels.get(guess);
  const a = truth && pixels.get(truth);
  const b = guess && pixels.get(guess);
  return a && b && a.width === b.width ? difference(a, b) : null;
}

function kindOf(screen, index) {
  if (index < clip.given.length) return 'given';
  return screen === 'truth' ? 'truth' : 'prediction';
}

function missing(screen) {
  if (screen === 'truth') return 'what really followed is not known';
  if (!clip.prediction.length) return clip.making ? 'generating…' : 'press Generate';
  if (screen === 'prediction') return clip.making ? 'generating…' : 'not generated';
  return now - clip.given.length < clip.truth.length ? 'not generated' : 'needs the true frames';
}

function show(index) {
  const total = frames();
  now = total ? Math.max(0, Math.min(index, total - 1)) : 0;
  const given = clip.given.length;
  for (const [screen, parts] of Object.entries(screens)) {
    const data = total ? picture(screen, now) : null;
    parts.frame.dataset.empty = data ? 'no' : 'yes';
    parts.frame.dataset.kind = kindOf(screen, now);
    parts.empty.textContent = total ? missing(screen) : 'no clip yet';
    if (data) paint(parts.canvas, data);
    parts.note.textContent = now < given ? 'given' : (screen === 'truth' ? 'true future' : screen === 'prediction' ? 'predicted' : 'error');
  }
  const future = now - given + 1;
  const where = !total ? '' : `frame ${now + 1} of ${total}` + (future > 0 ? ` · future ${future}` : ' · given');
  place.textContent = where;
  scrubber.value = String(now);
  scrubber.setAttribute('aria-valuetext', where);
  root.dataset.frame = String(now);
  let marked = null;
  for (const cell of rows.querySelectorAll('.cell')) {
    const here = Number(cell.dataset.index) === now;
    cell.classList.toggle('now', here);
    if (here) marked = cell;
  }
  if (marked && strip.scrollWidth > strip.clientWidth) keepInView(marked);
}

// Scrolls the strip alone: scrollIntoView would move the page as well.
function keepInView(cell) {
  const left = cell.offsetLeft - rows.querySelector('.title').offsetWidth - 8;
  const right = cell.offsetLeft + cell.offsetWidth + 8;
  if (left < strip.scrollLeft) strip.scrollLeft = Math.max(0, left);
  else if (right > strip.scrollLeft + strip.clientWidth) strip.scrollLeft = right - strip.clientWidth;
}

// Of a generation that grows only the frames that are new are drawn: all of them at each would take the page's breath away.
function grownSince(before) {
  const kept = before.prediction.length;
  return kept > 0 && rows.childElementCount > 0 && before.key === clip.key && before.total === clip.total && before.width === clip.width
    && before.given.length === clip.given.length && before.truth.length === clip.truth.length && kept <= clip.prediction.length
    && before.prediction.every((uri, i) => uri === clip.prediction[i]);
}

function growStrip(from) {
  for (const cell of rows.querySelectorAll('.cell.none')) {
    const index = Number(cell.dataset.index);
    const data = index >= from && picture(cell.dataset.screen, index);
    if (!data) continue;
    paint(cell.firstElementChild, data);
    cell.classList.remove('none');
  }
}

function buildStrip() {
  const total = frames();
  rows.replaceChildren();
  strip.style.setProperty('--frames', String(Math.max(total, 1)));
  const head = document.createElement('div');
  head.className = 'row';
  head.append(Object.assign(document.createElement('span'), { className: 'title' }));
  for (let i = 0; i < total; i++) {
    const number = Object.assign(document.createElement('span'), { className: 'number' });
    number.textContent = i < clip.given.length ? String(i + 1) : `+${i - clip.given.length + 1}`;
    head.append(number);
  }
  rows.append(head);
  for (const screen of ['truth', 'prediction', 'difference']) {
    const row = document.createElement('div');
    row.className = 'row';
    const title = Object.assign(document.createElement('span'), { className: 'title' });
    title.textContent = screen[0].toUpperCase() + screen.slice(1);
    row.append(title);
    let drawn = 0;
    for (let i = 0; i < total; i++) {
      const data = picture(screen, i);
      const cell = document.createElement('button');
      cell.type = 'button';
      cell.className = 'cell';
      cell.tabIndex = -1;
      cell.dataset.index = String(i);
      cell.dataset.kind = kindOf(screen, i);
      cell.dataset.screen = screen;
      cell.setAttribute('aria-label', `${screen}, frame ${i + 1}`);
      cell.title = 'Open in Tokens';
      const canvas = document.createElement('canvas');
      canvas.width = clip.width;
      canvas.height = clip.height;
      if (data) { paint(canvas, data); drawn += screen === 'difference' && i < clip.given.length ? 0 : 1; }
      cell.classList.toggle('none', !data);
      cell.append(canvas);
      row.append(cell);
    }
    if (drawn) rows.append(row);
  }
}

async function take(value) {
  const turn = ++turns;
  const fresh = { ...EMPTY, ...(value || {}) };
  const uris = [...fresh.given, ...fresh.truth, ...fresh.prediction];
  await Promise.all(uris.map((uri) => decode(uri).catch(() => null)));
  if (turn !== turns) return;  // something newer has come meanwhile
  const restart = fresh.key !== clip.key;
  const before = clip;
  clip = fresh;
  for (const uri of pixels.keys()) if (!uris.includes(uri)) pixels.delete(uri);
  root.dataset.predicted = String(clip.prediction.length);
  root.dataset.frames = String(frames());
  root.dataset.key = clip.key;
  root.dataset.making = clip.making ? 'yes' : 'no';
  scrubber.max = String(Math.max(0, frames() - 1));
  if (grownSince(before)) growStrip(clip.given.length + before.prediction.length);
  else buildStrip();
  show(restart ? (clip.making ? Math.max(0, clip.given.length - 1) : 0) : now);
}

function setPlaying(value) {
  playing = value;
  play.textContent = playing ? '❚❚' : '▶';
  play.setAttribute('aria-label', playing ? 'Pause' : 'Play');
}

play.addEventListener('click', () => setPlaying(!playing));
scrubber.addEventListener('input', () => { setPlaying(false); show(Number(scrubber.value)); });
rows.addEventListener('click', (event) => {
  const cell = event.target.closest('.cell');
  if (!cell) return;
  setPlaying(false);
  show(Number(cell.dataset.index));
  trigger('frame', { frame: Number(cell.dataset.index) });
});
strip.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && frames()) { setPlaying(false); trigger('frame', { frame: now }); }
  const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!move) return;
  event.preventDefault();
  setPlaying(false);
  show(now + move);
});

function tick() {
  if (!element.isConnected) return;
  const wait = 1000 / Number(speed.value || 5);
  if (playing && frames() > 1 && !document.hidden && root.offsetParent !== null && performance.now() >= holdUntil) {
    const end = (clip.making ? clip.given.length + clip.prediction.length : frames()) - 1;
    if (now < end) show(now + 1);
    else if (!clip.making) show(0);  // else: wait here for the next frame
    if (now === frames() - 1) holdUntil = performance.now() + 700;  // rest on the last frame before starting over
  }
  setTimeout(tick, wait);
}

watch('value', () => take(props.value));
setPlaying(playing);
take(props.value);
tick();
