// One rank of our ring: answers each round that the bench asks for on stdin with the seconds of every all-reduce.
import { DataPlane } from '@weft/collectives';
import type { RankAddresses, RankHello, RankRound, RankSeconds } from './all-reduce.js';
import { receive, send } from './candidate-loop.js';

const rank = Number(process.argv[2]);
const plane = await DataPlane.listen();
send<RankHello>({ address: plane.address });
const addresses = (await receive<RankAddresses>())?.addresses ?? [];
const group = await plane.joinRing({ runId: 'bench', generation: 1, rank, addresses, token: 'b', timeoutMs: 20_000 });
const sumOfRanks = (addresses.length * (addresses.length + 1)) / 2;

for (let round = await receive<RankRound>(); round?.mib !== undefined; round = await receive<RankRound>()) {
  const values = new Float32Array(round.mib * 2 ** 18).fill(rank + 1);
  await group.allReduceSum(values);
  if (!values.every((value) => value === sumOfRanks)) throw new Error(`the sum is not ${sumOfRanks}`);
  values.fill(0);
  const seconds: number[] = [];
  for (let i = 0; i < (round.repeats ?? 0); i++) {
    await group.barrier();
    const start = performance.now();
    await group.allReduceSum(values);
    seconds.push((performance.now() - start) / 1000);
  }
  send<RankSeconds>({ seconds });
}
await plane.close();
process.stdin.destroy();
