// The section that runs whole networks: on a picture or on the camera, picture in, canvas out.
import { takeDropped } from "./drop.js";
import { Network } from "./sepconv.js";
import { OwnScene, Scene, tasks } from "./scene.js";

const find = (selector) => document.querySelector(selector);

/** How often the parts of a frame are timed, in milliseconds: for that, each of them is waited for. */
const measuredEvery = 1000;

const kinds = ["depthwise", "pointwise", "normal", "other"];
const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const megabytes = (bytes) => `${number.format(bytes / 1e6)} MB`;

/** A network of the page's own, or of the visitor's. */
async function load(choice, own) {
  if (choice === "own") return { network: Network.fromOnnx(own.bytes), name: own.name };
  const { file } = tasks[choice];
  const response = await fetch(file);
  if (!response.ok) throw new Error(`${file} did not come: ${response.status}`);
  return { network: Network.fromOnnx(await response.arrayBuffer()), name: file };
}

/** The shape that a visitor's network is planned for: the file's, and 256 where it leaves a size open. */
function pictureShape(network) {
  const [name, ...others] = network.inputNames;
  const shape = network.inputShape(name);
  if (others.length > 0 || shape.length !== 4 || ![1, 3, null].includes(shape[1])) {
    throw new RangeError("this page runs networks that take one picture, [1, 3, height, width]");
  }
  const [, channels, height, width] = shape;
  return { [name]: [1, channels ?? 3, height ?? 256, width ?? 256] };
}

/** What a plan is made of, in numbers and as a bar. */
function describe(plan) {
  const layers = plan.layers;
  const sums = Object.fromEntries(kinds.map((kind) => [kind, layers.reduce((sum, layer) => sum + layer.multiplyAdds[kind], 0)]));
  const all = kinds.reduce((sum, kind) => sum + sums[kind], 0);
  const parameters = layers.reduce((sum, layer) => sum + layer.parameters, 0);
  find("#network-parameters").textContent = new Intl.NumberFormat("en").format(parameters);
  find("#network-work").textContent = `${number.format(all / 1e6)} million`;
  find("#network-memory").textContent = `${megabytes(plan.weightBytes)} of weights, ${megabytes(plan.workspaceBytes)} between layers`;
  find("#network-layers").textContent = `${layers.length}, in ${plan.steps} dispatches`;
  const shares = kinds.map((kind) => [kind, (100 * sums[kind]) / all]);
  for (const [kind, share] of shares) {
    find(`#share-${kind}`).style.flexGrow = share;
    find(`#share-${kind}-text`).textContent = `${number.format(share)} %`;
  }
}

/** Wires the section. `use` takes a new device, at the start and after one was lost. */
export function networkSection() {
  const canvas = find("#scene");
  let context;
  let shader;
  let own;
  let source;
  let scene;
  /** Counts what was asked for, so that what is late does nothing. */
  let asked = 0;
  let isRunning = false;

  const status = (text, trouble = false) => {
    find("#network-status").textContent = text;
    find("#network-status").classList.toggle("trouble", trouble);
  };
  const choice = () => find("[name=task]:checked").value;
  const words = (count) => (count === undefined ? "" : count === 1 ? "1 face. " : `${count} faces. `);

  /** One frame; where it is timed, each part is waited for. */
  const frame = async (current, isTimed) => {
    const parts = [];
    for (const part of [() => current.load(source), () => current.run(), () => current.draw()]) {
      const start = performance.now();
      part();
      if (isTimed) await context.wait();
      parts.push(performance.now() - start);
    }
    if (!isTimed) {
      await context.wait();
      return;
    }
    const [load, run, draw] = parts.map((ms) => number.format(ms));
    find("#network-parts").textContent = `picture in ${load}, network ${run}, drawing ${draw}`;
    const count = await current.count();
    // What went wrong stays to be read.
    if (count !== undefined && !find("#network-status.trouble")) status(`Running. ${words(count)}`);
  };

  const failed = (error) => {
    // A lost device is started again by the section above, which brings a new one.
    if (context?.lost) status("The device was lost; waiting for a new one …", true);
    else status(error.message, true);
  };

  /** Frames for as long as the source moves, and this is what was asked for last. */
  const live = async (turn) => {
    let [frames, since, measured] = [0, performance.now(), -Infinity];
    while (turn === asked && scene && source?.srcObject) {
      await new Promise(requestAnimationFrame);
      const now = performance.now();
      const isTimed = now - measured > measuredEvery;
      if (isTimed) measured = now;
      await frame(scene, isTimed);
      frames += 1;
      canvas.dataset.frames = Number(canvas.dataset.frames ?? 0) + 1;
      const seconds = (performance.now() - since) / 1e3;
      if (seconds > 1) {
        find("#network-rate").textContent = number.format(frames / seconds);
        [frames, since] = [0, performance.now()];
      }
    }
  };

  /** Plans what is chosen and draws its first frame. */
  const prepare = async (turn) => {
    const isLate = () => turn !== asked;
    if (!context) return;
    source ??= await createImageBitmap(await (await fetch("astronaut.jpg")).blob());
    shader ??= await (await fetch("scene.wgsl")).text();
    status("Reading the network …");
    const task = choice();
    const loaded = await load(task, own);
    if (isLate()) return;
    const network = find("#folded").checked ? loaded.network.folded() : loaded.network;
    const progress = find("#network-progress");
    Object.assign(progress, { hidden: false, value: 0 });
    const plan = await network.plan(context, task === "own" ? pictureShape(network) : undefined, (done, of) => {
      if (isLate()) return;
      Object.assign(progress, { max: of, value: done });
      status(`Compiling: ${done} of ${of} …`);
    });
    if (isLate()) return;
    progress.hidden = true;
    describe(plan);
    const bound = plan.bind();
    scene = task === "own" ? new OwnScene(context, canvas, plan, bound) : new Scene(context, shader, canvas, tasks[task], bound);
    find("#network-figures").hidden = false;
    find("#network-rate").textContent = "–";
    // The first frame also does what a driver puts off until then.
    await frame(scene, false);
    if (isLate()) return;
    status(`Running ${loaded.name}.`);
    if (source.srcObject) return;
    const start = performance.now();
    await frame(scene, true);
    find("#network-rate").textContent = `${number.format(1000 / (performance.now() - start))} if it moved`;
    const count = await scene.count();
    status(`Done: ${loaded.name}. ${words(count)}`);
    canvas.dataset.frames = Number(canvas.dataset.frames ?? 0) + 1;
  };

  const run = async () => {
    const turn = (asked += 1);
    isRunning = true;
    // Where what is chosen cannot run, the camera goes on with what ran before.
    for (const part of [prepare, live]) {
      try {
        if (turn === asked) await part(turn);
      } catch (error) {
        if (turn === asked) failed(error);
      }
      if (turn === asked) find("#network-progress").hidden = true;
    }
  };

  const camera = find("#network-camera");
  const stopCamera = () => {
    source?.srcObject?.getTracks().forEach((track) => track.stop());
    if (source?.srcObject) source = undefined;
    camera.setAttribute("aria-pressed", "false");
    camera.textContent = "Use the camera";
  };
  const take = async (file) => {
    if (!file) return;
    if (file.name.endsWith(".onnx")) {
      own = { bytes: await file.arrayBuffer(), name: file.name };
      const radio = find("[name=task][value=own]");
      radio.disabled = false;
      radio.checked = true;
      run();
      return;
    }
    try {
      const picture = await createImageBitmap(file);
      stopCamera();
      source = picture;
      run();
    } catch {
      status(`${file.name || "That"} is neither a picture that this browser can read nor an .onnx file.`, true);
    }
  };
  find("#network-run").addEventListener("click", run);
  find("#network-file").addEventListener("change", ({ target }) => take(target.files[0]));
  for (const element of document.querySelectorAll("[name=task], #folded")) {
    element.addEventListener("change", () => isRunning && run());
  }
  takeDropped(canvas, take);
  camera.addEventListener("click", async () => {
    if (source?.srcObject) {
      const last = await createImageBitmap(source);
      stopCamera();
      source = last;
      run();
      return;
    }
    try {
      const video = document.createElement("video");
      video.muted = true;
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { width: 512, height: 512 } });
      await video.play();
      source = video;
      camera.setAttribute("aria-pressed", "true");
      camera.textContent = "Stop the camera";
      run();
    } catch (error) {
      status(`The camera cannot be used: ${error.message}`, true);
    }
  });

  return (opened) => {
    [context, scene] = [opened, undefined];
    if (isRunning) run();
  };
}
