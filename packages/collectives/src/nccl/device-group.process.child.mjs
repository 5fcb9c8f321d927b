// One rank of `device-group.process.test.ts`. Prints its address, then obeys one JSON line after the other.
import { createInterface } from 'node:readline';
import { DataPlane, NcclLibrary, openDeviceGroup } from '@weft/collectives';
import { koffi } from '@weft/native';

const [rankText, standIn, devicesText] = process.argv.slice(2);
const rank = Number(rankText);
const devices = Number(devicesText);
const library = standIn === '' ? undefined : new NcclLibrary({ collectives: standIn, runtime: standIn });
const plane = await DataPlane.listen();
const send = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
let ring;
let group;

// What lies in a device's memory, here in this process's.
const memory = (elements, valueAt) =>
  Array.from({ length: devices }, (_, device) => {
    const values = Float32Array.from({ length: elements }, (_, i) => valueAt(device, i));
    return { values, span: { device, elements, address: koffi().address(values) } };
  });

const commands = {
  async join({ addresses, generation, lengths = [1, 7, 10, 1000, 50_001], shards = lengths }) {
    ring = await plane.joinRing({ runId: 'nccl', generation, rank, addresses, token: 't', timeoutMs: 20_000 });
    const outcome = await openDeviceGroup({
      ring,
      library,
      devices,
      sums: lengths.map((n, i) => ({ name: `of ${n}`, spec: { shape: [n], dtype: 'float32' }, shard: shards[i] })),
    });
    group = outcome.group;
    return { description: group?.description ?? '', reason: outcome.reason ?? '' };
  },
  async sum({ elements }) {
    const arrays = memory(elements, (device, i) => Math.sin(i + 1) * (rank + 1) + device);
    const overRing = arrays.map(({ values }) => values.slice());
    for (const values of overRing) await ring.allReduceSum(values);
    await group.allReduceSum(
      `of ${elements}`,
      arrays.map(({ span }) => span),
    );
    const differences = arrays.map(({ values }, device) =>
      values.reduce((most, value, i) => Math.max(most, Math.abs(value - overRing[device][i])), 0),
    );
    return { difference: Math.max(...differences) };
  },
  // Every rank sends to the next one and receives from the one before.
  async shift({ elements }) {
    const worldSize = ring.worldSize;
    const out = memory(elements, (device, i) => rank * 1000 + device * 100 + (i % 100));
    const into = memory(elements, () => -1);
    const to = (rank + 1) % worldSize;
    const from = (rank + worldSize - 1) % worldSize;
    await group.exchange(
      out.map(({ span }) => ({ ...span, peer: to })),
      into.map(({ span }) => ({ ...span, peer: from })),
    );
    const wrong = into.findIndex(({ values }, device) =>
      values.some((value, i) => value !== from * 1000 + device * 100 + (i % 100)),
    );
    return { wrong, ...group.stats };
  },
  // The last rank never comes: the others hang inside the operation until it is dead.
  async hang() {
    send({ hanging: true });
    if (rank === ring.worldSize - 1) return new Promise(() => {});
    const [{ span }] = memory(1000, () => 1);
    const started = performance.now();
    const error = await group.allReduceSum('of 1000', [span]).then(
      () => undefined,
      (thrown) => thrown,
    );
    const later = await group.allReduceSum('of 1000', [span]).catch((thrown) => thrown);
    return {
      code: error?.code,
      message: error?.message,
      later: later?.message,
      milliseconds: performance.now() - started,
    };
  },
  async leave() {
    await group?.close();
    await ring.close();
    return {};
  },
  async resources() {
    const { readFileSync, readdirSync } = await import('node:fs');
    const maps = readFileSync('/proc/self/maps', 'utf8').split('\n');
    return {
      meetings: maps.filter((line) => line.includes('/dev/shm/stand-in-')).length,
      threads: readdirSync('/proc/self/task').length,
      files: readdirSync('/dev/shm').filter((name) => name.startsWith('stand-in-')).length,
    };
  },
};

send({ address: plane.address });
for await (const line of createInterface(process.stdin)) {
  const { command, ...options } = JSON.parse(line);
  try {
    send({ done: command, ...(await commands[command](options)) });
  } catch (error) {
    send({ done: command, code: error.code, message: error.message });
  }
}
process.exit(0);
