// Frames as a component draws them: placed before the script that needs them.
const pixels = new Map();  // data URI -> ImageData, of the clip shown

// A pen over a canvas of the picture's own size, which holds it.
async function unpacked(uri) {
  const image = new Image();
  image.src = uri;
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = image.naturalWidth;
  canvas.height = image.naturalHeight;
  const pen = canvas.getContext('2d', { willReadFrequently: true });
  pen.drawImage(image, 0, 0);
  return pen;
}

async function decode(uri) {
  if (!uri || pixels.has(uri)) return pixels.get(uri);
  const pen = await unpacked(uri);
  pixels.set(uri, pen.getImageData(0, 0, pen.canvas.width, pen.canvas.height));
  return pixels.get(uri);
}

function paint(canvas, data) {
  if (canvas.width !== data.width || canvas.height !== data.height) {
    canvas.width = data.width;
    canvas.height = data.height;
  }
  canvas.getContext('2d').putImageData(data, 0, 0);
}

// Orange where what is drawn is too bright, blue where something is missing, black where they agree.
function difference(truth, drawn) {
  const result = new ImageData(truth.width, truth.height);
  for (let i = 0; i < truth.data.length; i += 4) {
    const delta = (drawn.data[i] + drawn.data[i + 1] + drawn.data[i + 2] - truth.data[i] - truth.data[i + 1] - truth.data[i + 2]) / 3;
    const share = Math.min(1, Math.abs(delta) / 255);
    const [r, g, b] = delta > 0 ? [251, 146, 60] : [56, 189, 248];
    result.data[i] = 5 + (r - 5) * share;
    result.data[i + 1] = 7 + (g - 7) * share;
    result.data[i + 2] = 12 + (b - 12) * share;
    result.data[i + 3] = 255;
  }
  return result;
}

