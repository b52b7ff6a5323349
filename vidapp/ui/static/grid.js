element.addEventListener('click', (event) => {
  const cell = event.target.closest('[data-pick]');
  if (cell) trigger('pick', JSON.parse(cell.dataset.pick));
});
