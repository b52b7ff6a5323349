const box = element.querySelector('.thumbs');
let drawn = '';  // which pictures the buttons show

function draw() {
  const { pictures = [], chosen } = props.value || {};
  if (drawn !== pictures.join()) {
    drawn = pictures.join();
    box.replaceChildren(...pictures.map((uri, index) => {
      const button = Object.assign(document.createElement('button'), { type: 'button' });
      button.setAttribute('aria-label', `Test clip ${index}`);
      button.append(Object.assign(document.createElement('img'), { src: uri, alt: '' }));
      button.addEventListener('click', () => { props.value = { ...props.value, chosen: index }; draw(); trigger('input'); });
      return button;
    }));
  }
  [...box.children].forEach((button, index) => button.setAttribute('aria-pressed', String(index === chosen)));
}

watch('value', draw);
draw();
