// Runs a network on a device of its own and answers with its output.
import init, { Context, Network } from "/package/sepconv.js";

addEventListener("message", async ({ data: { bytes, input } }) => {
  try {
    await init();
    const plan = await Network.fromOnnx(bytes).plan(await Context.create());
    const bound = plan.bind();
    bound.input().write(input);
    bound.run();
    postMessage(await bound.output().read());
  } catch (error) {
    postMessage(error.message);
  }
});
