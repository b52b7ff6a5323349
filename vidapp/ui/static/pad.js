const SIDE = 28, WORLD = 64, SPAN = WORLD - SIDE, INNER = 20, TICK_MS = 200, FIRST = { down: 0.06, right: 0.08 };
const pad = element.querySelector('.pad');
const arena = element.querySelector('.arena');
const note = element.querySelector('.pad-note');
const more = element.querySelector('.more');
const pen = pad.getContext('2d', { willReadFrequently: true });
const scene = arena.getContext('2d');
const still = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
let digits = [];      // { levels: Uint8Array of 0..15, top, left, down, right, picture }
let now = -1;         // the digit that is being drawn and flicked
let stroke = null;
let swipe = null;
let began = performance.now();

function clean() { pen.fillStyle = '#000'; pen.fillRect(0, 0, pad.width, pad.height); }

function place(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width * canvas.width, y: (event.clientY - box.top) / box.height * canvas.height, t: performance.now() };
}

// The strokes as MNIST has its digits: the longer side 20 pixels, in the middle of 28, with grey edges.
function digitised() {
  const image = pen.getImageData(0, 0, pad.width, pad.height).data;
  let [left, right, top, bottom] = [pad.width, -1, pad.height, -1];
  for (let y = 0; y < pad.height; y++) for (let x = 0; x < pad.width; x++) {
    if (image[4 * (y * pad.width + x)] > 40) { left = Math.min(left, x); right = Math.max(right, x); top = Math.min(top, y); bottom = Math.max(bottom, y); }
  }
  if (right < 0) return null;
  const size = Math.max(right - left, bottom - top, 60) + 1;
  const [middleX, middleY] = [(left + right) / 2, (top + bottom) / 2];
  let from = pad, area = [middleX - size * SIDE / INNER / 2, middleY - size * SIDE / INNER / 2, size * SIDE / INNER];
  for (const side of [112, 56, SIDE]) {  // in halves: a browser shrinks by more than that without looking at every pixel
    const small = document.createElement('canvas');
    small.width = small.height = side;
    const brush = small.getContext('2d', { willReadFrequently: true });
    brush.fillRect(0, 0, side, side);
    brush.imageSmoothingEnabled = true;
    brush.drawImage(from, area[0], area[1], area[2], area[2], 0, 0, side, side);
    from = small;
    area = [0, 0, side];
  }
  const data = from.getContext('2d').getImageData(0, 0, SIDE, SIDE).data;
  const levels = new Uint8Array(SIDE * SIDE);
  for (let i = 0; i < levels.length; i++) levels[i] = Math.round(data[4 * i] / 17);
  return levels.some((level) => level) ? levels : null;
}

function pictured(levels) {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = SIDE;
  const image = new ImageData(SIDE, SIDE);
  for (let i = 0; i < levels.length; i++) image.data.set([255, 255, 255, levels[i] * 17], 4 * i);
  canvas.getContext('2d').putImageData(image, 0, 0);
  return canvas;
}

function packed(levels) {
  let text = '';
  for (let i = 0; i < levels.length; i += 2) text += String.fromCharCode(levels[i] << 4 | levels[i + 1]);
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_');
}

function unpacked(text) {
  const raw = atob(text.replaceAll('-', '+').replaceAll('_', '/'));
  const levels = new Uint8Array(SIDE * SIDE);
  for (let i = 0; i < raw.length && 2 * i + 1 < levels.length; i++) {
    levels[2 * i] = raw.charCodeAt(i) >> 4;
    levels[2 * i + 1] = raw.charCodeAt(i) & 15;
  }
  return levels;
}

function textOf() {
  return digits.map((one) => [one.top, one.left, one.down, one.right].map((number) => number.toFixed(4)).concat(packed(one.levels)).join(':')).join('~');
}

function read(text) {
  const found = [];
  for (const part of String(text || '').split('~').filter(Boolean)) {
    const [top, left, down, right, pixels] = part.split(':');
    try {
      const levels = unpacked(pixels);
      found.push({ levels, top: Number(top), left: Number(left), down: Number(down), right: Number(right), picture: pictured(levels) });
    } catch { return []; }
  }
  return found;
}

function tell(event) {
  props.value = textOf();
  began = performance.now();
  describe();
  trigger(event === 'flicked' ? 'release' : 'input');
}

function describe() {
  more.disabled = !digits.length || digits.length >= MOST_DIGITS || now === -1;
  const one = digits[now] || digits[digits.length - 1];
  note.textContent = !digits.length ? 'Draw with a finger or the mouse.'
    : now === -1 ? 'Draw the second digit.' : `Speed ${(10 * Math.hypot(one.down, one.right)).toFixed(1)}: 1 is usual.`;
}

const bounced = (start, step, frame) => Math.abs(((start + step * frame + 1) % 2 + 2) % 2 - 1);

function draw() {
  const scale = arena.width / WORLD;
  scene.fillStyle = '#05070c';
  scene.fillRect(0, 0, arena.width, arena.height);
  scene.imageSmoothingEnabled = false;
  scene.globalCompositeOperation = 'lighten';
  const frame = swipe || still ? 0 : Math.floor((performance.now() - began) / TICK_MS) % 20;
  for (const one of digits) {
    const [x, y] = [Math.floor(bounced(one.left, one.right, frame) * SPAN), Math.floor(bounced(one.top, one.down, frame) * SPAN)];
    scene.drawImage(one.picture, x * scale, y * scale, SIDE * scale, SIDE * scale);
  }
  scene.globalCompositeOperation = 'source-over';
  const one = digits[now];
  if (one && (swipe || frame === 0)) arrow(one, scale);
}

function arrow(one, scale) {
  const x = (one.left * SPAN + SIDE / 2) * scale, y = (one.top * SPAN + SIDE / 2) * scale;
  const toX = x + one.right * 5 * SPAN * scale, toY = y + one.down * 5 * SPAN * scale;
  const angle = Math.atan2(toY - y, toX - x);
  scene.strokeStyle = scene.fillStyle = '#818cf8';
  scene.lineWidth = 4;
  scene.beginPath(); scene.moveTo(x, y); scene.lineTo(toX, toY); scene.stroke();
  scene.beginPath(); scene.moveTo(toX + 8 * Math.cos(angle), toY + 8 * Math.sin(angle));
  for (const turn of [2.4, -2.4]) scene.lineTo(toX + 12 * Math.cos(angle + turn), toY + 12 * Math.sin(angle + turn));
  scene.fill();
}

pad.addEventListener('pointerdown', (event) => {
  event.preventDefault();
  if (digits.length && now >= 0 && !stroke && pad.dataset.done === 'yes') clean();  // another try at the digit
  pad.dataset.done = 'no';
  pad.setPointerCapture(event.pointerId);
  stroke = place(pad, event);
  dot(stroke, stroke);
});
pad.addEventListener('pointermove', (event) => {
  if (!stroke) return;
  const next = place(pad, event);
  dot(stroke, next);
  stroke = next;
});
function dot(from, to) {
  pen.strokeStyle = '#fff';
  pen.lineWidth = 30;
  pen.lineCap = pen.lineJoin = 'round';
  pen.beginPath(); pen.moveTo(from.x, from.y); pen.lineTo(to.x + 0.01, to.y); pen.stroke();
}
for (const end of ['pointerup', 'pointercancel']) pad.addEventListener(end, () => {
  if (!stroke) return;
  stroke = null;
  const levels = digitised();
  if (!levels) return;
  const side = digits.length % 2 ? 0.7 : 0.25;
  const one = { top: side, left: side, ...FIRST, ...(digits[now] || {}), levels, picture: pictured(levels) };
  if (now === -1) { digits.push(one); now = digits.length - 1; } else digits[now] = one;
  tell('drawn');
});

arena.addEventListener('pointerdown', (event) => {
  if (!digits[now]) return;
  event.preventDefault();
  arena.setPointerCapture(event.pointerId);
  swipe = [place(arena, event)];
  digits[now].left = share(swipe[0].x);
  digits[now].top = share(swipe[0].y);
  digits[now].down = digits[now].right = 0;
});
arena.addEventListener('pointermove', (event) => {
  if (!swipe) return;
  swipe.push(place(arena, event));
  aim();
});
for (const end of ['pointerup', 'pointercancel']) arena.addEventListener(end, () => {
  if (!swipe) return;
  aim();
  swipe = null;
  pad.dataset.done = 'yes';
  tell('flicked');
});
const share = (pixel) => Math.min(1, Math.max(0, (pixel / arena.width * WORLD - SIDE / 2) / SPAN));
const limited = (speed) => Math.min(FASTEST, Math.max(-FASTEST, speed));
// The last tenth of a second counts, as with a finger on glass; a slow drag still points the way.
function aim() {
  const last = swipe[swipe.length - 1];
  const first = swipe.find((point) => last.t - point.t < 150) || swipe[0];
  const seconds = Math.max(0.03, (last.t - first.t) / 1000);
  const speed = (to, from) => (to - from) / arena.width / seconds * 0.1;
  digits[now].right = limited(speed(last.x, first.x));
  digits[now].down = limited(speed(last.y, first.y));
}

arena.addEventListener('keydown', (event) => {
  const one = digits[now];
  const turn = { ArrowLeft: [0, -0.02], ArrowRight: [0, 0.02], ArrowUp: [-0.02, 0], ArrowDown: [0.02, 0] }[event.key];
  if (!one || (!turn && event.key !== 'Enter')) return;
  event.preventDefault();
  if (turn) { one.down = limited(one.down + turn[0]); one.right = limited(one.right + turn[1]); describe(); began = performance.now(); }
  else tell('flicked');
});

more.addEventListener('click', () => { now = -1; clean(); describe(); });
element.querySelector('.clear').addEventListener('click', () => { digits = []; now = -1; clean(); tell('drawn'); });

function take() {
  if (props.value === textOf()) return;
  digits = read(props.value);
  now = digits.length - 1;
  pad.dataset.done = 'yes';
  began = performance.now();
  describe();
}

function tick() {
  if (!element.isConnected) return;
  if (element.offsetParent !== null && !document.hidden) draw();
  setTimeout(tick, swipe ? 30 : TICK_MS / 2);
}

clean();
watch('value', take);
take();
describe();
tick();
