// The import rule of docs/design: a room imports only from floors below its own, by the name @weft/<room>, and some
// packages have one room that may import them.

import { dirname, join, normalize } from 'node:path';

/** @import { SourceFile } from './files.mjs' */

/** From below to above. Rooms of one floor do not import each other. */
export const FLOORS = [
  ['common', 'proto', 'tensorflow-setup'],
  ['contracts', 'topology', 'files', 'mixture', 'tensor', 'engine'],
  ['config', 'rpc', 'store', 'telemetry'],
  ['model', 'backend-tensorflow', 'scaling', 'recipes', 'collectives', 'coordination', 'checkpoint', 'data'],
  ['tasks', 'client', 'sweeps', 'demo-data'],
  ['evaluation', 'launch', 'simulation'],
  ['training'],
  ['coordinator', 'worker', 'cli'],
];

/** Beside the floors: imported by tests only. */
const TESTS_ONLY = 'testing';

/** Which room alone may import a package; a prefix ending in `/` stands for a scope. */
const OWNERS = Object.entries({
  '@tensorflow/': ['engine', 'tensor', 'backend-tensorflow'],
  koffi: ['engine', 'backend-tensorflow', 'collectives'],
  pino: ['telemetry'],
  'prom-client': ['telemetry'],
  zod: ['config'],
  yaml: ['config'],
  '@grpc/grpc-js': ['rpc', 'proto'],
  'grpc-health-check': ['rpc'],
  bullmq: ['store'],
  ioredis: ['store'],
  sharp: ['data'],
  '@huggingface/': ['data'],
  hyparquet: ['data'],
});

/**
 * A room as its own files describe it.
 *
 * @typedef {object} Room
 * @property {string} name `engine`
 * @property {string} folder `packages/engine`
 * @property {readonly string[]} dependencies names in its package.json, of every kind
 * @property {readonly string[]} references names of the rooms its tsconfig.json refers to
 */

/**
 * @param {readonly Room[]} rooms
 * @param {readonly SourceFile[]} files sources of rooms and of the whole-run tests
 * @returns {string[]} one sentence a finding
 */
export function findForbiddenImports(rooms, files) {
  return [...rooms.flatMap(findForbiddenDependencies), ...files.flatMap((file) => findInFile(rooms, file))];
}

/**
 * @param {Room} room
 * @returns {string[]}
 */
function findForbiddenDependencies({ name, folder, dependencies, references }) {
  const listed = dependencies.flatMap((each) => (each.startsWith('@weft/') ? [each.slice('@weft/'.length)] : []));
  const wrong = listed.filter((each) => each !== TESTS_ONLY && !mayImport(name, each));
  return [
    ...wrong.map((each) => `${folder}/package.json lists @weft/${each}, which is not on a floor below ${name}`),
    ...references
      .filter((each) => !listed.includes(each))
      .map((each) => `${folder}/tsconfig.json refers to ${each}, which its package.json does not list`),
  ];
}

/**
 * @param {readonly Room[]} rooms
 * @param {SourceFile} file
 * @returns {string[]}
 */
function findInFile(rooms, { path, text }) {
  const room = rooms.find(({ folder }) => path.startsWith(`${folder}/`));
  const isTest =
    /\.test\.ts$|\.child\.m?[jt]s$|\/testing\//.test(path) || room === undefined || room.name === TESTS_ONLY;
  return importsOf(text).flatMap((specifier) => {
    if (specifier.startsWith('.')) return relative(path, specifier, room);
    if (room === undefined) return [];
    const weft = /^@weft\/([^/]+)(\/.*)?$/.exec(specifier);
    if (weft?.[1] !== undefined) return internal(path, room, weft[1], weft[2], isTest);
    const owners = OWNERS.find(([name]) => specifier === name || specifier.startsWith(withSlash(name)))?.[1];
    return owners === undefined || owners.includes(room.name)
      ? []
      : [`${path} imports ${specifier}, which only ${owners[0]} may import`];
  });
}

/** @param {string} name */
const withSlash = (name) => (name.endsWith('/') ? name : `${name}/`);

/**
 * @param {string} path
 * @param {string} specifier
 * @param {Room | undefined} room
 */
function relative(path, specifier, room) {
  const target = normalize(join(dirname(path), specifier));
  if (room === undefined ? !/^(packages|apps)\//.test(target) : target.startsWith(`${room.folder}/`)) return [];
  return [`${path} imports ${specifier}, which lies in another room`];
}

/**
 * @param {string} path
 * @param {Room} room
 * @param {string} other
 * @param {string | undefined} inside
 * @param {boolean} isTest
 */
function internal(path, room, other, inside, isTest) {
  if (other === room.name) return isTest ? [] : [`${path} imports its own room by name`];
  if (inside !== undefined) return [`${path} imports @weft/${other}${inside}, from inside another room`];
  if (isTest && other === TESTS_ONLY) return [];
  if (!mayImport(room.name, other)) {
    return [`${path} imports @weft/${other}, which is not on a floor below ${room.name}`];
  }
  if (!room.dependencies.includes(`@weft/${other}`)) {
    return [`${path} imports @weft/${other}, which ${room.folder}/package.json does not list`];
  }
  if (!isTest && !room.references.includes(other)) {
    return [`${path} imports @weft/${other}, to which ${room.folder}/tsconfig.json does not refer`];
  }
  return [];
}

/**
 * @param {string} room
 * @param {string} other
 * @returns {boolean}
 */
function mayImport(room, other) {
  if (room === TESTS_ONLY) return true;
  return floorOf(other) !== -1 && floorOf(other) < floorOf(room);
}

/** @param {string} room */
const floorOf = (room) => FLOORS.findIndex((rooms) => rooms.includes(room));

/**
 * The module names of static and dynamic imports, re-exports and require calls.
 *
 * @param {string} text of a source
 * @returns {string[]}
 */
export function importsOf(text) {
  const code = text.replaceAll(/^\s*(\/\/|\*|\/\*).*$/gm, '');
  const statements = /(?:^|[;}\s])(?:import|export)\s[^'"();]*?from\s*['"]([^'"]+)['"]|^\s*import\s*['"]([^'"]+)['"]/gm;
  const calls = /\b(?:import|require|require\.resolve)\(\s*['"]([^'"]+)['"]/g;
  return [...code.matchAll(statements), ...code.matchAll(calls)].map(([, from, bare]) => from ?? bare ?? '');
}
