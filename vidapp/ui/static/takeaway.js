// The command to copy, and the config as a file that the browser makes itself: nothing is written on the server.
const root = element.querySelector('.takeaway');
const find = (selector) => root.querySelector(selector);

function draw() {
  const { command, launch, json } = props.value || {};
  for (const name of ['.save', '[data-copies=command]']) find(name).disabled = !json;  // of settings that cannot be there is neither
  find('.command').textContent = command || '';
  find('.launch').textContent = launch || '';
}

function select(place) {
  const range = document.createRange();
  range.selectNodeContents(place);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}

for (const button of root.querySelectorAll('.copy')) {
  button.addEventListener('click', async () => {
    const place = find(`.${button.dataset.copies}`);
    select(place);
    let done = false;
    try { await navigator.clipboard.writeText(place.textContent); done = true; } catch (error) { done = false; }  // not allowed over plain http
    button.textContent = done ? 'Copied' : 'Selected: press Ctrl+C';
    setTimeout(() => { button.textContent = 'Copy'; }, 2500);
  });
}

find('.save').addEventListener('click', () => {
  const url = URL.createObjectURL(new Blob([props.value.json], { type: 'application/json' }));
  const link = Object.assign(document.createElement('a'), { href: url, download: props.value.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
});

watch('value', draw);
draw();
