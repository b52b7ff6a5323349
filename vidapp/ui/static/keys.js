// What Gradio leaves to the mouse, done by the keyboard too.

// A slider's number box takes effect when it is left: on Enter it is left for a moment. It keeps the focus, as any other box does.
document.addEventListener('keydown', (event) => {
  const box = event.target;
  if (event.key !== 'Enter' || event.isComposing || !box.matches?.('input[data-testid="number-input"]')) return;
  box.blur();
  box.focus();
});

// A slider that was moved by keys is released with the key, as it is with the mouse.
let taken = null;  // the slider that has the focus, and its value when it was released the last time
document.addEventListener('focusin', (event) => {
  const slider = event.target;
  taken = slider.matches?.('input[type="range"][aria-label^="range slider for"]') ? { slider, value: slider.value } : null;
});
document.addEventListener('keyup', (event) => {
  if (event.target !== taken?.slider || taken.value === taken.slider.value) return;
  taken.value = taken.slider.value;
  taken.slider.dispatchEvent(new PointerEvent('pointerup', { bubbles: true }));
});

// The choices of a radio are one group: arrows go from one to the next, and Tab goes past them. Gradio names each of them apart, and anew
// where another one is chosen.
function regroup() {
  for (const set of document.querySelectorAll('fieldset')) {
    const choices = set.querySelectorAll('input[type="radio"]');
    for (const choice of choices) if (choice.name !== choices[0].name) choice.name = choices[0].name;
  }
}
document.addEventListener('focusin', regroup);
document.addEventListener('change', () => { for (const wait of [0, 100]) setTimeout(regroup, wait); });
