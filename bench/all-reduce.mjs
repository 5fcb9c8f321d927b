#!/usr/bin/env node
// How fast the ring all-reduces float32 values between processes of this machine:
//
//     npm run build && node bench/all-reduce.mjs [--peers] [--json] [--mib 1,16,64,256] [--processes 2,4]
//
// Prints the algorithm bandwidth in GB/s: bytes of the vector / seconds of one all-reduce, median over the rounds.
// With --peers, PyTorch's gloo (bench/peers/all_reduce.py) takes turns with ours on the same vectors; PYTHON names the
// interpreter that has torch (default python3).

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    mib: { type: 'string', default: '1,16,64,256' },
    processes: { type: 'string', default: '2,4' },
    /** How often the contestants take turns. */
    turns: { type: 'string', default: '5' },
    peers: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    rank: { type: 'string' },
  },
});

/** One process: answers each line `{ mib, rounds }` of its input with the seconds of every round. */
async function serveAsRank(rank) {
  const { DataPlane } = await import('@weft/collectives');
  const lines = createInterface(process.stdin)[Symbol.asyncIterator]();
  const read = async () => JSON.parse((await lines.next()).value);
  const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);
  const plane = await DataPlane.listen();
  say({ address: plane.address });
  const { addresses } = await read();
  const group = await plane.joinRing({ runId: 'bench', generation: 1, rank, addresses, token: 'b', timeoutMs: 20_000 });
  for (;;) {
    const { mib, rounds } = await read();
    if (mib === undefined) break;
    const values = new Float32Array(mib * 2 ** 18).fill(rank + 1);
    await group.allReduceSum(values);
    const expected = (addresses.length * (addresses.length + 1)) / 2;
    if (!values.every((value) => value === expected)) throw new Error(`the sum is not ${expected}`);
    values.fill(0);
    const seconds = [];
    for (let round = 0; round < rounds; round++) {
      await group.barrier();
      const start = performance.now();
      await group.allReduceSum(values);
      seconds.push((performance.now() - start) / 1000);
    }
    say({ seconds });
  }
  await plane.close();
  process.stdin.destroy();
}

async function measure() {
  const [processCounts, sizes] = [numbers(options.processes), numbers(options.mib)];
  const results = [];
  for (const processes of processCounts) {
    const contestants = { weft: await startWeft(processes) };
    if (options.peers) contestants.gloo = await startGloo(processes);
    for (const mib of sizes) {
      const seconds = Object.fromEntries(Object.keys(contestants).map((name) => [name, []]));
      for (let turn = 0; turn < Number(options.turns); turn++)
        for (const [name, team] of Object.entries(contestants))
          seconds[name].push(...(await team.run({ mib, rounds: Math.max(3, Math.min(20, Math.round(256 / mib))) })));
      const gigabytesPerSecond = Object.fromEntries(
        Object.entries(seconds).map(([name, all]) => [name, (mib * 2 ** 20) / median(all) / 1e9]),
      );
      results.push({ processes, mib, gigabytesPerSecond });
      if (!options.json) printRow(results.at(-1), results.length === 1);
    }
    for (const team of Object.values(contestants)) await team.stop();
  }
  if (options.json) console.log(JSON.stringify({ cores: availableParallelism(), results }, null, 2));
}

function printRow({ processes, mib, gigabytesPerSecond: { weft, gloo } }, first) {
  const cells = (row) => row.map((cell) => String(cell).padStart(10)).join('');
  if (first) console.log(cells(['processes', 'MiB', 'weft GB/s', ...(gloo ? ['gloo GB/s', 'ratio'] : [])]));
  console.log(cells([processes, mib, weft.toFixed(2), ...(gloo ? [gloo.toFixed(2), (weft / gloo).toFixed(2)] : [])]));
}

async function startWeft(processes) {
  const self = fileURLToPath(import.meta.url);
  const team = new Team(processes, (rank) => [process.execPath, [self, '--rank', String(rank)], {}]);
  const addresses = (await team.hear()).map(({ address }) => address);
  team.tell({ addresses });
  return team;
}

async function startGloo(processes) {
  const script = fileURLToPath(new URL('./peers/all_reduce.py', import.meta.url));
  const port = await freePort();
  const team = new Team(processes, (rank) => [
    process.env.PYTHON ?? 'python3',
    [script],
    { RANK: String(rank), WORLD_SIZE: String(processes), MASTER_ADDR: '127.0.0.1', MASTER_PORT: String(port) },
  ]);
  await team.hear();
  return team;
}

/** The processes of one contestant. */
class Team {
  #members;

  constructor(processes, command) {
    this.#members = Array.from({ length: processes }, (_, rank) => {
      const [program, args, env] = command(rank);
      const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...env } });
      child.once('exit', (code) => {
        if (code !== 0) {
          console.error(`${program} ${args.join(' ')} ended with status ${code}`);
          process.exit(1);
        }
      });
      return { child, lines: createInterface(child.stdout)[Symbol.asyncIterator]() };
    });
  }

  tell(message) {
    for (const { child } of this.#members) child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  /** One line of everybody. */
  hear() {
    return Promise.all(this.#members.map(async ({ lines }) => JSON.parse((await lines.next()).value)));
  }

  /** The seconds of each round, which are those of the slowest rank. */
  async run(task) {
    this.tell(task);
    const [first, ...others] = (await this.hear()).map(({ seconds }) => seconds);
    return first.map((own, round) => Math.max(own, ...others.map((seconds) => seconds[round])));
  }

  async stop() {
    const exits = this.#members.map(({ child }) => once(child, 'exit'));
    this.tell({});
    await Promise.all(exits);
  }
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

function numbers(list) {
  const all = list.split(',').map(Number);
  if (all.every((number) => number > 0)) return all;
  console.error(`"${list}" is not a list of positive numbers`);
  return process.exit(1);
}

function median(all) {
  const sorted = all.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.ceil(middle) - 1] + sorted[Math.floor(middle)]) / 2;
}

if (options.rank !== undefined) await serveAsRank(Number(options.rank));
else await measure();
