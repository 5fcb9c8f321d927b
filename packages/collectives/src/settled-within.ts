/** Waits for `promise`, but not longer than `patienceMs`. */
export async function settledWithin(promise: Promise<unknown>, patienceMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, patienceMs);
  });
  await Promise.race([promise, patience]);
  clearTimeout(timer);
}
