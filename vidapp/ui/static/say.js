// A screen reader reads a line out whenever it is written: it is written only where it is another.
function say(line, text) {
  if (line.textContent !== text) line.textContent = text;
}

