(...values) => {  // whether the settings, in the order of NAMES, are still those that the grid was made with, or those of one of its films
  const grid = document.querySelector('#variants-grid');
  const line = grid?.querySelector('[data-of]');
  if (!line) return;
  const now = Object.fromEntries(NAMES.map((name, index) => [name, values[index]]));
  const made = JSON.parse(line.dataset.of);
  const films = [...grid.querySelectorAll('[data-pick]')].map((film) => ({ ...made, ...JSON.parse(film.dataset.pick) }));
  line.hidden = [made, ...films].some((one) => NAMES.every((name) => one[name] === now[name]));
}
