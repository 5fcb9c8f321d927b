// What membership costs, on real processes of this machine: node scripts/membership.mjs kills [count] [minutes] [spares]
//                                                          node scripts/membership.mjs coordinator [seconds]
//                                                          node scripts/membership.mjs cut
//                                                          node scripts/membership.mjs join [recipe]
//                                                          node scripts/membership.mjs experts [backend]
// kills:       kills workers of a run of three, one after the other, and starts a replacement after a second. With a spare
//              (the default is one) a fourth worker waits beside them, ready to take the next place.
// coordinator: kills the coordinator and starts another one after so many seconds.
// cut:         puts each worker into a network namespace, and cuts two of them from each other (needs root and `ip`).
// join:        what the others wait for while a newcomer takes the state from them, step by step.
// experts:     kills expert workers: one is replaced, one is not, another joins, and one is asked to end.
// It prints what must hold with pass or fail, and ends with exit code 1 where something does not.
// It needs the demo data of `npm run quickstart` or `npm run test:e2e`, and `npx tsc -b`.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ROOT } from './lib/root.mjs';

const WEFT = join(ROOT, 'apps/cli/bin/weft.js');
const [scenario = 'kills', ...rest] = process.argv.slice(2);
const home = mkdtempSync(join(tmpdir(), 'weft-membership-'));
/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();

/**
 * @param {string[]} words
 * @param {string[]} inside what it runs in, such as a network namespace
 */
function start(words, inside = []) {
  const command = [...inside, process.execPath, WEFT, ...words, '--home', home, '--exit-with-stdin'];
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    cwd: ROOT,
    stdio: ['pipe', 'ignore', process.env.VERBOSE ? 'inherit' : 'ignore'],
  });
  running.add(child);
  child.once('close', () => running.delete(child));
  return child;
}

/** @param {string[]} words */
function weft(...words) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [WEFT, ...words, '--home', home], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`weft ${words.join(' ')}: ${stderr}${stdout}`);
  return stdout;
}

/** @param {import('node:child_process').ChildProcess} child */
async function kill(child) {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('close', resolve));
  child.kill('SIGKILL');
  await gone;
}

/**
 * @param {string} what
 * @param {() => unknown} isSo
 * @returns {Promise<number>} after how many seconds it was so
 */
async function until(what, isSo, limitSeconds = 180) {
  const beganMs = performance.now();
  while (!isSo()) {
    if (performance.now() - beganMs > limitSeconds * 1000) throw new Error(`waited ${limitSeconds} s for ${what}`);
    await sleep(50);
  }
  return (performance.now() - beganMs) / 1000;
}

const settings = (/** @type {Record<string, string | number>} */ more = {}) =>
  Object.entries({
    'data.directory': join(ROOT, '.weft/data/demo'),
    'engine.threadsPerWorker': 1,
    'engine.backend': 'javascript',
    'checkpoint.everySteps': 50_000,
    workers: 3,
    steps: 100_000,
    ...more,
  }).flatMap(([key, value]) => ['--set', `${key}=${value}`]);

/** @returns {Record<string, any>[]} */
function log(/** @type {string} */ runId) {
  const path = join(home, 'runs', runId, 'events.jsonl');
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
  return lines.map((line) => JSON.parse(line).record);
}
const committed = (/** @type {string} */ runId) => log(runId).filter(({ kind }) => kind === 'committed');
const lastStep = (/** @type {string} */ runId) => committed(runId).at(-1)?.entry.step ?? 0;
const lastMembers = (/** @type {string} */ runId) =>
  log(runId).findLast(({ kind }) => kind === 'assigned')?.workers.length ?? 0;

/** Members of the last generation once it has committed a step. */
function holders(/** @type {string} */ runId) {
  const last = log(runId).findLast(({ kind }) => kind === 'assigned' || kind === 'committed' || kind === 'workerLost');
  return last?.kind === 'committed' ? last.worldSize : 0;
}

/** A coordinator. @param {string[]} more */
async function coordinator(...more) {
  rmSync(join(home, 'coordinator.json'), { force: true });
  const child = start(['coordinator', '--port', '0', '--page', 'off', ...more]);
  await until('a coordinator', () => existsSync(join(home, 'coordinator.json')));
  return child;
}

const launch = (/** @type {string} */ recipe, /** @type {string[]} */ with_) =>
  JSON.parse(weft('launch', recipe, '--detach', '--json', ...with_)).runId;

/** The ledger, and every step once with the loss of a run that nothing happened to. */
async function verify(/** @type {string} */ runId, /** @type {Record<string, string | number>} */ more = {}) {
  const steps = committed(runId).map(({ entry }) => entry.step);
  const isOnce = steps.every((step, index) => step === index + 1);
  bar(`${steps.length} steps, each committed once`, isOnce, 'none is rolled back');
  if (!log(runId).some(({ kind }) => kind === 'stopped')) weft('stop', runId);
  await until('the end', () => log(runId).some(({ kind }) => kind === 'stopped'));
  console.log(weft('data', 'ledger', runId, '--check').trim());
  const last = Math.min(steps.length, 300);
  const undisturbed = launch('debugNano', settings({ ...more, workers: 1 }));
  await until('the undisturbed run', () => lastStep(undisturbed) >= last);
  const losses = (/** @type {string} */ id) =>
    committed(id)
      .slice(0, last)
      .map(({ entry }) => entry.loss);
  const others = losses(undisturbed);
  const worst = Math.max(...losses(runId).map((loss, index) => Math.abs(loss / others[index] - 1)));
  const apart = `losses of ${last} steps and of an undisturbed run ${worst.toExponential(1)} apart at most`;
  bar(apart, worst <= 1e-4, 'at most 1e-4');
  weft('stop', undisturbed, '--no-checkpoint');
}

/** @type {string[]} */
const failures = [];

/** What must hold. @param {string} what @param {boolean} holds @param {string} bar */
function bar(what, holds, bar) {
  console.log(`${holds ? 'pass' : 'FAIL'}: ${what} (${bar})`);
  if (!holds) failures.push(what);
}

/** Of every lost worker: how long until the next step, and until a step of three workers, by the times of the log. */
function recoveries(/** @type {string} */ runId) {
  /** @type {{ next: number, all: number }[]} */
  const found = [];
  const records = log(runId);
  for (const [at, record] of records.entries()) {
    if (record.kind !== 'workerLost') continue;
    const secondsTo = (/** @type {(record: Record<string, any>) => boolean} */ is) => {
      const then = records.slice(at).find((later) => later.kind === 'committed' && is(later));
      return then === undefined ? Number.POSITIVE_INFINITY : (Date.parse(then.time) - Date.parse(record.time)) / 1000;
    };
    found.push({ next: secondsTo(() => true), all: secondsTo(({ worldSize }) => worldSize === 3) });
  }
  return found;
}

const worker = (/** @type {string} */ name) => ({ name, child: start(['worker', '--name', name]) });

async function kills(count = 30, minutes = 5, spares = 1) {
  await coordinator();
  const workers = Array.from({ length: 3 + spares }, (_, i) => worker(`w${i}`));
  const runId = launch('debugNano', settings());
  await until('the first steps', () => lastStep(runId) >= 5);
  if (spares > 0) await until('a spare', () => weft('status', runId).includes('spare is ready'));
  const firstStep = lastStep(runId);
  const beganMs = performance.now();
  const pauses = [];
  for (let i = 0; i < count; i++) {
    const dueMs = beganMs + (i * minutes * 60_000) / count;
    await sleep(Math.max(0, dueMs - performance.now()));
    await until('two that hold the state', () => holders(runId) >= 2);
    // The member that has been there for longest.
    const members = log(runId).findLast(({ kind }) => kind === 'assigned')?.workers ?? [];
    const isMember = (/** @type {string} */ name) =>
      members.some(({ workerId = '' }) => workerId.startsWith(`${name}-`));
    const [victim] = workers.splice(
      workers.findIndex(({ name }) => isMember(name)),
      1,
    );
    const step = lastStep(runId);
    if (victim !== undefined) await kill(victim.child);
    pauses.push(await until('the next step', () => lastStep(runId) > step));
    await sleep(1000);
    workers.push(worker(`w${workers.length + i + 1}`));
  }
  // The time of the last kill counts as well.
  await sleep(Math.max(0, beganMs + minutes * 60_000 - performance.now()));
  await until('the last replacement', () => holders(runId) === 3);
  const steps = committed(runId).filter(({ entry }) => entry.step > firstStep);
  const onAll = steps.filter(({ worldSize }) => worldSize === 3).length;
  const recovered = recoveries(runId);
  const share = onAll / steps.length;
  const most = (/** @type {number[]} */ of) => Math.max(...of);
  const [toStep, toAll] = [most(recovered.map(({ next }) => next)), most(recovered.map(({ all }) => all))];
  weft('stop', runId);
  await until('the end', () => log(runId).some(({ kind }) => kind === 'stopped'));
  const path = join(home, 'runs', runId, 'goodput.json');
  await until('the times', () => JSON.parse(readFileSync(path, 'utf8')).times.open === null);
  const { goodput, spent } = JSON.parse(readFileSync(path, 'utf8'));
  const seconds = (performance.now() - beganMs) / 1000;
  console.log(`${count} kills in ${seconds.toFixed(0)} s beside ${spares} spares, ${steps.length} steps`);
  console.log(
    'seconds of workers:',
    JSON.stringify(Object.fromEntries(Object.entries(spent).filter(([, each]) => each > 0))),
  );
  const goal = count / minutes <= 1 ? 0.9 : 0.8;
  bar(`${(100 * share).toFixed(1)} % of the committed steps on all three`, share >= 0.9, 'at least 90 %');
  bar(`goodput ${goodput.toFixed(3)}`, goodput >= goal, `at least ${goal}`);
  bar(`next step ${toStep.toFixed(1)} s after a loss was noticed, at most`, toStep <= 3, 'at most 3 s');
  bar(`next step ${most(pauses).toFixed(1)} s after a kill, at most`, most(pauses) <= 5, 'at most 5 s');
  bar(
    `all three again ${toAll.toFixed(1)} s after a loss, at most`,
    toAll <= 11,
    'at most 10 s after a replacement came',
  );
  await verify(runId);
}

async function loseCoordinator(seconds = 30) {
  const first = await coordinator();
  for (let i = 0; i < 3; i++) start(['worker']);
  const runId = launch('debugNano', settings());
  await until('the first steps', () => lastStep(runId) >= 20);
  await kill(first);
  const step = lastStep(runId);
  await sleep(seconds * 1000);
  await coordinator();
  const waited = await until('the next step', () => lastStep(runId) > step);
  const kinds = log(runId).map(({ kind }) => kind);
  console.log(
    `killed after step ${step}, away for ${seconds} s; step ${step + 1} came ${waited.toFixed(1)} s after its return`,
  );
  console.log(`continued: ${kinds.includes('continued')}, rolled back: ${kinds.includes('resumed')}`);
  await until('more steps', () => lastStep(runId) > step + 10);
  await verify(runId);
}

async function joinUnderWay(recipe = 'decoder34m') {
  await coordinator();
  for (let i = 0; i < 2; i++) start(['worker']);
  const runId = launch(recipe, settings({ 'engine.backend': 'auto', workers: 3, minWorkers: 2 }));
  await until('a few steps', () => lastStep(runId) >= 4, 900);
  const connected = performance.now();
  start(['worker']);
  await until('the newcomer', () => lastMembers(runId) === 3, 900);
  console.log(`the newcomer is a member ${((performance.now() - connected) / 1000).toFixed(0)} s after its start`);
  const joinedAt = lastStep(runId);
  await until('more steps', () => lastStep(runId) >= joinedAt + 4, 900);
  const times = committed(runId).map(({ entry, time, worldSize }) => ({
    step: entry.step,
    worldSize,
    ms: Date.parse(time),
  }));
  const steps = times.map((each, index) => ({
    ...each,
    seconds: (each.ms - (times[index - 1]?.ms ?? each.ms)) / 1000,
  }));
  for (const { step, worldSize, seconds } of steps)
    console.log(`step ${step} on ${worldSize}: ${seconds.toFixed(1)} s`);
  // Without the first, which compiles, and those beside which the newcomer gets ready, which have less of the processor.
  const before = steps.filter(({ step, worldSize }) => worldSize === 2 && step > 1).map(({ seconds }) => seconds);
  const usual = before.toSorted((a, b) => a - b)[Math.floor(before.length / 2)] ?? 0;
  const joining = steps.find(({ worldSize }) => worldSize === 3)?.seconds ?? Number.POSITIVE_INFINITY;
  const lost = (joining - usual) / usual;
  bar(`the step with the transfer took ${lost.toFixed(2)} steps more than usual`, lost <= 1, 'at most 1');
  const isLost = log(runId).some(({ kind }) => kind === 'ringBroke' || kind === 'workerLost' || kind === 'resumed');
  bar('no step was given up', !isLost, 'none');
  weft('stop', runId, '--no-checkpoint');
}

const sparse = {
  ...{ 'data.weights': '0:0:1', microbatchSize: 1, 'optimizer.learningRate': 3e-4 },
  ...{ 'model.decoder.moe.experts': 8, 'model.decoder.moe.everyLayers': 2 },
  ...{ 'model.decoder.moe.capacityFactor': 2, 'model.decoder.moe.groupSize': 64 },
};

/** Who serves the experts in the last generation, once it has committed a step. */
function expertWorkers(/** @type {string} */ runId) {
  const last = log(runId).findLast(({ kind }) => kind === 'assigned' || kind === 'committed');
  const of = log(runId).findLast(({ kind }) => kind === 'assigned');
  /** @type {{ workerId: string }[]} */
  const workers = of?.expertWorkers ?? [];
  return last?.kind === 'committed' ? workers.map(({ workerId }) => workerId.slice(0, workerId.indexOf('-'))) : [];
}

async function loseExperts(backend = 'tensorflow') {
  await coordinator();
  for (let i = 0; i < 2; i++) worker(`w${i}`);
  const expert = (/** @type {string} */ name) => start(['expert-worker', '--name', name]);
  const [x, y] = [expert('x'), expert('y')];
  const more = { ...sparse, 'engine.backend': backend };
  const runId = launch('debugNano', settings({ ...more, workers: 2, expertWorkers: 2 }));
  await until('the first steps', () => lastStep(runId) >= 5);
  const z = expert('z');
  const targets = join(home, 'prometheus-targets.json');
  await until('an idle one', () => readFileSync(targets, 'utf8').match(/expert/g)?.length === 3);
  const follow = async (/** @type {string} */ what, /** @type {string} */ names) => {
    const seconds = await until(what, () => expertWorkers(runId).toSorted().join() === names);
    const step = lastStep(runId);
    await until('some steps', () => lastStep(runId) >= step + 3);
    console.log(`${what}: the next step came after ${seconds.toFixed(1)} s, on ${names}`);
  };
  await kill(x);
  await follow('an expert worker is killed, and an idle one takes its place', 'y,z');
  await kill(y);
  await follow('another is killed, and one is left', 'z');
  const v = expert('v');
  await follow('another one joins', 'v,z');
  z.kill('SIGTERM');
  await follow('one is asked to end', 'v');
  const rolledBack = log(runId).filter(({ kind }) => kind === 'resumed' || kind === 'requeued').length;
  bar(`rolled back ${rolledBack} times`, rolledBack === 0, 'never');
  await verify(runId, more);
  await kill(v);
}

const ip = (/** @type {string} */ words) => execFileSync('ip', words.split(' '), { stdio: 'pipe' });

async function cut() {
  const names = [1, 2, 3].map((i) => `weft${process.pid % 1000}w${i}`);
  const bridge = `weftbr${process.pid % 1000}`;
  try {
    ip(`link add ${bridge} type bridge`);
    ip(`addr add 10.77.0.254/24 dev ${bridge}`);
    ip(`link set ${bridge} up`);
    for (const [i, name] of names.entries()) {
      ip(`netns add ${name}`);
      ip(`link add ${name} type veth peer name eth0 netns ${name}`);
      ip(`link set ${name} master ${bridge} up`);
      ip(`netns exec ${name} ip addr add 10.77.0.${i + 1}/24 dev eth0`);
      ip(`netns exec ${name} ip link set eth0 up`);
      ip(`netns exec ${name} ip link set lo up`);
    }
    await coordinator('--host', '10.77.0.254');
    for (const [i, name] of names.entries())
      start(['worker', '--host', `10.77.0.${i + 1}`], ['ip', 'netns', 'exec', name]);
    const runId = launch('debugNano', settings());
    await until('the first steps', () => lastStep(runId) >= 20);
    // Packets from the first to the second, and back, are dropped without a word.
    ip(`netns exec ${names[0]} ip route add blackhole 10.77.0.2/32`);
    ip(`netns exec ${names[1]} ip route add blackhole 10.77.0.1/32`);
    const step = await settled(runId);
    console.log(
      `the next step came ${(await until('the next step', () => lastStep(runId) > step)).toFixed(1)} s after the cut`,
    );
    console.log(`on ${lastMembers(runId)} of 3; ${log(runId).findLast(({ kind }) => kind === 'ringBroke')?.reason}`);
    await until('some steps', () => lastStep(runId) > step + 20);
    ip(`netns exec ${names[0]} ip route del blackhole 10.77.0.2/32`);
    ip(`netns exec ${names[1]} ip route del blackhole 10.77.0.1/32`);
    const waited = await until('all three', () => lastMembers(runId) === 3);
    console.log(`all three train again ${waited.toFixed(1)} s after the network healed`);
    await verify(runId);
  } finally {
    for (const child of running) await kill(child);
    for (const name of names) spawnSync('ip', ['netns', 'del', name]);
    spawnSync('ip', ['link', 'del', bridge]);
  }
}

/** The last step once no more of those come that were under way. */
async function settled(/** @type {string} */ runId) {
  let step = lastStep(runId);
  for (;;) {
    await sleep(300);
    if (lastStep(runId) === step) return step;
    step = lastStep(runId);
  }
}

try {
  const numbers = rest.map(Number);
  if (scenario === 'kills') await kills(...numbers);
  else if (scenario === 'coordinator') await loseCoordinator(...numbers);
  else if (scenario === 'join') await joinUnderWay(...rest);
  else if (scenario === 'cut') await cut();
  else if (scenario === 'experts') await loseExperts(...rest);
  else throw new Error(`there is no scenario ${scenario}: kills, coordinator, cut, join or experts`);
} finally {
  for (const child of running) await kill(child);
  if (process.env.KEEP === undefined) rmSync(home, { recursive: true, force: true });
  else console.log(`kept: ${home}`);
}
if (failures.length > 0) {
  console.log(`${failures.length} of these do not hold`);
  process.exitCode = 1;
}
