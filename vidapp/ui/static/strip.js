// What trains now, asked for about every two seconds and only while the page can be seen. It also keeps the address true:
// the tab that is looked at is in it, so that a reload, or a link that is handed on, opens the same.
const root = element.querySelector('.now-training');
const find = (selector) => root.querySelector(selector);
let timer = null;
let busy = false;
let run = '';
let stopping = '';
let told = { at: '', text: '' };  // what Stop was answered: it stands until the run or its state is another

function show(answer) {
  run = answer.run;
  root.dataset.state = run ? answer.state : 'idle';
  root.dataset.run = run;
  const text = run ? answer.state : answer.text;
  if (told.at !== here()) told = { at: '', text: '' };
  say(find('.text'), told.text || text);
  find('.details').hidden = !run;
  if (run !== stopping) stopping = '';
  if (!run) return;
  find('.run').textContent = run;
  find('.step').textContent = `${answer.phase === 'tokenizer' ? 'tokenizer ' : ''}step ${answer.step}`;
  find('.score').textContent = answer.score;
  find('.left').textContent = answer.left;
  find('.where').textContent = answer.where;
  find('.waits').textContent = answer.waiting ? `${answer.waiting} in the queue` : '';
  find('.bar i').style.width = `${100 * answer.share}%`;
  showStop();
}

function here() { return `${run}/${root.dataset.state}`; }

function showStop() {
  const button = find('.stop');
  button.hidden = !props.can_stop;
  button.disabled = stopping === run;
  button.textContent = stopping === run ? 'Stopping…' : 'Stop';
}

async function poll() {
  clearTimeout(timer);
  if (!element.isConnected || busy) return;
  let wait = 1000;
  if (!document.hidden) {
    busy = true;
    try {
      const answer = await server.glance({});
      if (answer) { show(answer); wait = answer.every_ms; } else { say(find('.text'), 'the app does not answer'); wait = 3000; }
    } catch (error) { wait = 5000; }
    busy = false;
  }
  timer = setTimeout(poll, wait);
}

find('.run').addEventListener('click', (event) => { event.preventDefault(); if (run) trigger('open', { run }); });
find('.stop').addEventListener('click', async () => {
  stopping = run;
  showStop();
  const at = here();
  const answer = await server.stop({ run }).catch(() => null);
  if (!answer || !answer.stops) stopping = '';
  showStop();
  if (answer) told = { at, text: answer.said };
  say(find('.text'), answer ? answer.said : 'the app does not answer');
});
document.addEventListener('visibilitychange', () => { if (!document.hidden) poll(); });
poll();

// ---- the address
const HOME = 'generate';  // the tab of a plain address
let tab = null;
function tabShown() {
  const chosen = document.querySelector('#tabs [role="tab"][aria-selected="true"]');
  return chosen ? chosen.dataset.tabId : null;
}
function note() {
  const now = tabShown();
  if (!now || now === tab) return;
  const first = tab === null;
  tab = now;
  const old = new URLSearchParams(location.search);
  if (first && !old.has('tab')) return;   // a plain address stays one until somebody goes elsewhere
  if (first || old.get('tab') === now) return;
  history.pushState(history.state, '', `${location.pathname}?${new URLSearchParams({ tab: now })}`);  // Back goes to the tab before
  dispatchEvent(new CustomEvent('tabshown', { detail: now }));  // a tab that shows a run puts its own into the address
  for (const wait of [100, 500, 1500]) setTimeout(() => held(now), wait);
}
function held(now) {  // whoever came by a button of the tab before is at one that can no longer be seen
  const at = document.activeElement;
  if (now === tab && (at === document.body || !at.checkVisibility())) tabOf(now)?.focus({ preventScroll: true });
}
function tabOf(id) {
  const all = [...document.querySelectorAll(`#tabs [role="tab"][data-tab-id="${CSS.escape(id)}"]`)];
  return all.find((button) => button.offsetParent !== null) || all[0];
}
addEventListener('popstate', () => {
  tab = new URLSearchParams(location.search).get('tab') || HOME;
  tabOf(tab)?.click();
});
function follow() {
  const tabs = document.querySelector('#tabs');
  if (!tabs) { setTimeout(follow, 200); return; }
  new MutationObserver(note).observe(tabs, { subtree: true, attributes: true, attributeFilter: ['aria-selected'] });
  const query = new URLSearchParams(location.search);
  const asked = query.get('tab') || (query.get('run') ? 'train' : HOME);
  if (asked !== tabShown()) tabOf(asked)?.click();
  note();
}
follow();
