const root = element.querySelector('.wall');
const [play, scrubber, place, clips] = ['.play', '.scrubber', '.place', '.clips'].map((selector) => root.querySelector(selector));
const still = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
root.setAttribute('aria-label', props.title);

let shown = [];   // { frames, given, pictures, canvas, frame }
let longest = 0;
let now = 0;
let playing = !still;
let holdUntil = 0;
let turns = 0;

async function sliced(clip) {
  const pen = await unpacked(clip.sprite);
  const { width, height } = pen.canvas, high = height / clip.frames;
  return Array.from({ length: clip.frames }, (_, index) => pen.getImageData(0, index * high, width, high));
}

function show(frame) {
  now = longest ? ((frame % longest) + longest) % longest : 0;
  for (const one of shown) {
    const at = Math.min(now, one.frames - 1);  // a shorter clip rests on its last frame
    paint(one.canvas, one.pictures[at]);
    one.frame.dataset.kind = !one.given ? 'plain' : at < one.given ? 'given' : 'future';
    one.frame.classList.toggle('over', now >= one.frames);
  }
  scrubber.value = String(now);
  place.textContent = longest ? `frame ${now + 1} of ${longest}` : '';
  scrubber.setAttribute('aria-valuetext', place.textContent);
  root.dataset.frame = String(now);
}

async function take(value) {
  const turn = ++turns;
  const wanted = value?.clips || [];
  const pictures = await Promise.all(wanted.map((clip) => sliced(clip).catch(() => [])));
  if (turn !== turns) return;
  clips.replaceChildren();
  clips.classList.toggle('pairs', Boolean(value?.pairs));
  shown = wanted.map((clip, index) => ({ ...clip, pictures: pictures[index] })).filter((clip) => clip.pictures.length);
  for (const clip of shown) {
    const figure = document.createElement('figure');
    clip.canvas = document.createElement('canvas');
    clip.canvas.setAttribute('role', 'img');
    clip.canvas.setAttribute('aria-label', clip.caption);
    clip.frame = document.createElement('div');
    clip.frame.className = 'frame';
    clip.frame.append(clip.canvas);
    figure.append(clip.frame, Object.assign(document.createElement('figcaption'), { textContent: clip.caption }));
    clips.append(figure);
  }
  longest = Math.max(0, ...shown.map((clip) => clip.frames));
  scrubber.max = String(Math.max(0, longest - 1));
  root.hidden = !shown.length;
  show(0);
  root.dataset.clips = String(shown.length);
  root.dataset.key = value?.key || '';
}

function setPlaying(value) {
  playing = value;
  play.textContent = playing ? '❚❚' : '▶';
  play.setAttribute('aria-label', playing ? 'Pause' : 'Play');
}

play.addEventListener('click', () => setPlaying(!playing));
scrubber.addEventListener('input', () => { setPlaying(false); show(Number(scrubber.value)); });

function tick() {
  if (!element.isConnected) return;
  if (playing && longest > 1 && !document.hidden && root.offsetParent !== null && performance.now() >= holdUntil) {
    show(now + 1);
    if (now === longest - 1) holdUntil = performance.now() + 700;
  }
  setTimeout(tick, 200);
}

watch('value', () => take(props.value));
setPlaying(playing);
take(props.value);
tick();
