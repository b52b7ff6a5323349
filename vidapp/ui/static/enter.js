// A slider's number box takes effect when it is left: on Enter it is left for a moment. It keeps the focus, as any other box does.
document.addEventListener('keydown', (event) => {
  const box = event.target;
  if (event.key !== 'Enter' || event.isComposing || !box.matches?.('input[data-testid="number-input"]')) return;
  box.blur();
  box.focus();
});
