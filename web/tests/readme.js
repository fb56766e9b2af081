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
