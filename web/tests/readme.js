// The example in the package's README, run as it stands.
export async function example() {
  const readme = await (await fetch("/package/README.md")).text();
  const code = readme.split("```js\n")[1].split("```")[0].replace('"sepconv"', `"${location.origin}/package/sepconv.js"`);
  const printed = [];
  const { log } = console;
  console.log = (value) => printed.push(value);
  await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  console.log = log;
  return printed;
}
