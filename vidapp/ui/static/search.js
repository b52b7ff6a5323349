// Shows the settings whose name, key or help holds every word that is typed, with the sections that they are in opened.
const input = element.querySelector('input');
const said = element.querySelector('small');
const sheet = document.head.appendChild(document.createElement('style'));  // a rule of its own: the controls may be drawn again
let before = null;  // which sections were open before the search

function plain(text) { return text.toLowerCase().replace(/[^a-z0-9]+/g, ' '); }

function search() {
  const form = element.closest('#configure-form');
  const sections = [...form.querySelectorAll('details.section')];
  const words = plain(input.value).split(' ').filter(Boolean);
  if (!words.length) {
    sheet.textContent = '';
    said.textContent = '';
    if (before) sections.forEach((section, index) => { section.open = before[index]; section.style.display = ''; });
    before = null;
    return;
  }
  before = before || sections.map((section) => section.open);
  const found = [...form.querySelectorAll('.setting')].filter((setting) => {
    const text = plain(`${setting.id} ${setting.textContent}`);
    const close = text.replaceAll(' ', '');  // `warm-up` finds `warmup`
    return words.every((word) => text.includes(word)) || close.includes(words.join(''));
  });
  const kept = found.map((setting) => `:not(#${CSS.escape(setting.id)})`).join('');
  sheet.textContent = `#configure-form .setting${kept} { display: none !important; }`;
  for (const section of sections) {
    section.open = found.some((setting) => section.closest('.settings').contains(setting));
    section.style.display = section.open ? '' : 'none';
  }
  said.textContent = found.length ? `${found.length} found` : 'none found: try another word';
}

input.addEventListener('input', search);
