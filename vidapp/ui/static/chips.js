// One button for each setting that differs from the preset; pressing it asks the page to reset that setting.
const root = element.querySelector('.chips');

function part(tag, text, name) {
  return Object.assign(document.createElement(tag), { textContent: text, className: name || '' });
}

function chip(one) {
  const button = document.createElement('button');
  button.type = 'button';
  button.dataset.key = one.key;
  button.title = `${one.key}: press to go back to ${one.before}`;
  const cannot = one.refused ? ', which cannot be' : '';
  button.setAttribute('aria-label', `${one.label} is ${one.after}${cannot}, the preset has ${one.before}: reset`);
  button.classList.toggle('refused', one.refused);
  button.append(part('span', one.label), part('s', one.before), part('b', one.after), ...(one.refused ? [part('span', 'cannot be')] : []), part('span', '×', 'x'));
  button.addEventListener('click', () => trigger('reset', { key: one.key }));
  return button;
}

function draw() {
  const { preset, chips } = props.value || { preset: '', chips: [] };
  const parts = chips.map(chip);
  if (!parts.length) parts.push(part('span', `Exactly the preset ${preset}: nothing is changed.`, 'none'));
  if (parts.length > 1) {
    const all = part('button', 'Reset all', 'all');
    all.type = 'button';
    all.addEventListener('click', () => trigger('reset_all', {}));
    parts.push(all);
  }
  const focused = document.activeElement;
  const place = [...root.children].indexOf(focused);
  root.replaceChildren(...parts);
  if (place < 0) return;
  // The keyboard stays where it was: at that chip, at the one that has taken the place of a chip that is gone, or here where none is left.
  const same = parts.find((one) => one.dataset.key === focused.dataset.key);
  (chips.length ? same || parts[Math.min(place, chips.length - 1)] : root).focus();
}

watch('value', draw);
draw();
