// The examples in the package's README, run as they stand, one after the other.
export async function examples() {
  const readme = await (await fetch("/package/README.md")).text();
  const blocks = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => code);
  const code = blocks.join("").replace('"sepconv"', `"${location.origin}/package/sepconv.js"`);
  const printed = [];
  const { log } = console;
  console.log = (value) => printed.push(value);
  await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  console.log = log;
  return printed;
}

/** The pixels that the README's example of a network has drawn, some time after it has begun. */
export async function network() {
  const readme = await (await fetch("/package/README.md")).text();
  const [, html] = readme.match(/```html\n(.*?)```/s);
  const [, markup, code] = html.match(/^(.*)<script type="module">(.*)<\/script>/s);
  document.body.innerHTML = markup;
  const module = code.replaceAll('"./', `"${location.origin}/package/`).replace('"selfie', `"${location.origin}/assets/selfie`);
  const drawn = new Promise((resolve) => {
    const { getCurrentTexture } = GPUCanvasContext.prototype;
    GPUCanvasContext.prototype.getCurrentTexture = function () {
      queueMicrotask(() => resolve(this.canvas.toDataURL()));
      return getCurrentTexture.call(this);
    };
  });
  await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
  const image = await createImageBitmap(await (await fetch(await drawn)).blob());
  const copy = new OffscreenCanvas(256, 256).getContext("2d");
  copy.drawImage(image, 0, 0);
  return [[112, 56], [236, 15]].map(([x, y]) => copy.getImageData(x, y, 1, 1).data[0]);
}
