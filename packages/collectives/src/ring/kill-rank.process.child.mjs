// One rank of `kill-rank.process.test.ts`: prints its address, reads everybody's, and all-reduces until it fails.
import { createInterface } from 'node:readline';
import { DataPlane } from '@weft/collectives';

const rank = Number(process.argv[2]);
const send = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
const plane = await DataPlane.listen();
send({ address: plane.address });
const [line] = await new Promise((resolve) => createInterface(process.stdin).once('line', (text) => resolve([text])));
const addresses = JSON.parse(line);
const group = await plane.joinRing({ runId: 'kill', generation: 1, rank, addresses, token: 't', timeoutMs: 20_000 });
const values = new Float32Array(4 << 20);
try {
  for (let round = 1; ; round++) {
    values.fill(1);
    await group.allReduceSum(values);
    send({ round, wrong: values.findIndex((value) => value !== addresses.length) });
  }
} catch (error) {
  send({ code: error.code, message: error.message });
}
const later = await group.barrier().catch((error) => error);
send({ later: later.message });
await plane.close();
process.stdin.destroy();
