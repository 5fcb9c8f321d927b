// `node scripts/compile-for-h100.mjs [--jax PYTHON] [recipe…]`: compiles the sizes of the paper at full depth for H100s that
// are not there, and prints a row of Markdown for each: what a device holds and sends. Each takes minutes. With `--jax`, a
// Python that has JAX and its CUDA plugin compiles an equal program (bench/peers/jax_compile.py), and its temporaries stand
// beside. Progress goes to stderr. The exit code is 1 where a size does not fit, or takes more than 1.3 times JAX's.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { readChip } from '@weft/backend-pjrt';
import { recipe } from '@weft/recipes';
import { requireNode } from './lib/require-node.mjs';
import { ROOT } from './lib/root.mjs';

requireNode();

const GPUS_OF_A_HOST = 8;
/** By recipe: the hosts, the mesh over their GPUs, and the sequences of a microbatch, one a device. */
const SIZES = {
  'mm1-3b': { hosts: 1, mesh: { expert: 1, fsdp: 8 } },
  'mm1-7b': { hosts: 1, mesh: { expert: 1, fsdp: 8 } },
  'mm1-30b': { hosts: 1, mesh: { expert: 1, fsdp: 8 } },
  'mm1-3b-moe-64e': { hosts: 8, mesh: { expert: 8, fsdp: 8 } },
};
const MOST_OF_JAX = 1.3;
const MOST_GIB = 76;
const GIB = 2 ** 30;
const COLUMNS = [
  ...[
    'size',
    'mesh',
    'state',
    'gradients',
    'temporaries',
    'together',
    'gathered at a time',
    'attention',
    'collectives',
  ],
  ...['compiled in', 'JAX: temporaries', 'JAX: compiled in', 'ratio'],
];

const words = process.argv.slice(2);
const jaxAt = words.indexOf('--jax');
const python = jaxAt < 0 ? undefined : words.splice(jaxAt, 2)[1];
const unknown = words.find((word) => !(word in SIZES));
if (unknown !== undefined) {
  console.error(`there is no size ${unknown}: write ${Object.keys(SIZES).join(', ')}`);
  process.exit(2);
}

row(COLUMNS);
row(COLUMNS.map(() => '---'));
for (const name of words.length === 0 ? Object.keys(SIZES) : words) {
  const weft = compiledByWeft(name);
  const jax = python === undefined ? undefined : compiledByJax(name, python);
  row([name, ...cellsOf(weft), ...jaxCells(weft, jax)]);
  if (weft.need.total > MOST_GIB * GIB || (jax && ratioOf(weft, jax) > MOST_OF_JAX)) process.exitCode = 1;
}

/**
 * What `weft compile --json` says.
 *
 * @param {string} name
 */
function compiledByWeft(name) {
  const { hosts, mesh } = sizeOf(name);
  const axes = Object.entries(mesh).map(([axis, size]) => `engine.mesh.${axis}=${size}`);
  const set = ['activationCheckpointing=full', `microbatchSize=${devicesOf(name)}`, ...axes];
  const target = ['--devices', `${GPUS_OF_A_HOST}xh100`, '--hosts', String(hosts)];
  return jsonOf(process.execPath, [
    join(ROOT, 'apps/cli/bin/weft.js'),
    'compile',
    name,
    ...target,
    '--json',
    '--set',
    ...set,
  ]);
}

/**
 * @param {string} name
 * @param {string} interpreter of Python, with JAX
 */
function compiledByJax(name, interpreter) {
  const { hosts, mesh } = sizeOf(name);
  const { model, data } = recipe(name);
  const { targetConfig: chip } = readChip('h100');
  const microbatch = devicesOf(name);
  const asked = { model, mesh, hosts, microbatch, images: data.imagesPerSequence, chip };
  return jsonOf(interpreter, [join(ROOT, 'bench/peers/jax_compile.py'), JSON.stringify(asked)]);
}

/** @param {Record<string, any>} compiled */
function cellsOf({ mesh, need, phases }) {
  const [gradients] = phases;
  const axes = Object.entries(mesh).filter(([, size]) => size > 1);
  const fused = gradients.fusedAttentionCalls;
  const seconds = phases.reduce(
    (/** @type {number} */ sum, /** @type {{ compileSeconds: number }} */ phase) => sum + phase.compileSeconds,
    0,
  );
  return [
    axes.map(([axis, size]) => `${axis} ${size}`).join(' × '),
    ...[need.state, need.gradients, need.temporaries, need.total, gradients.gatheredBytes].map(gib),
    fused > 0 ? `fused, ${fused} calls` : 'not fused',
    gradients.collectives
      .map(
        (/** @type {{ count: number; kind: string; bytes: number }} */ { count, kind, bytes }) =>
          `${count} ${kind} of ${gib(bytes)}`,
      )
      .join(', '),
    `${seconds.toFixed(0)} s`,
  ];
}

/**
 * @param {Record<string, any>} weft
 * @param {Record<string, any> | undefined} jax
 */
function jaxCells(weft, jax) {
  if (jax === undefined) return ['', '', ''];
  return [gib(jax.gradients.temporaries), `${jax.gradients.seconds} s`, ratioOf(weft, jax).toFixed(2)];
}

/**
 * Of the temporaries of the phase that computes gradients.
 *
 * @param {Record<string, any>} weft
 * @param {Record<string, any>} jax
 */
function ratioOf({ need }, { gradients }) {
  return need.temporaries / gradients.temporaries;
}

/** @param {string} name */
function devicesOf(name) {
  return sizeOf(name).hosts * GPUS_OF_A_HOST;
}

/** @param {string} name */
function sizeOf(name) {
  return SIZES[/** @type {keyof typeof SIZES} */ (name)];
}

/**
 * @param {string} program
 * @param {readonly string[]} args
 * @returns {Record<string, any>}
 */
function jsonOf(program, args) {
  const { status, stdout, error } = spawnSync(program, args, {
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  const [last = ''] = stdout?.trim().split('\n').slice(-1) ?? [];
  if (last.startsWith('{')) return JSON.parse(last);
  console.error(error?.message ?? `${program} ended with ${status} and said nothing that could be read`);
  process.exit(2);
}

/** @param {number} bytes */
function gib(bytes) {
  return (bytes / GIB).toFixed(2);
}

/** @param {readonly string[]} cells */
function row(cells) {
  console.log(`| ${cells.join(' | ')} |`);
}
