// Timing two engines turn by turn.

/** The milliseconds of one run, waited for. */
export async function once({ run, wait }) {
  const start = performance.now();
  await run();
  await wait();
  return performance.now() - start;
}

export const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];
