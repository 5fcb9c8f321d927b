// The layers of docs/design/house.md: a package imports only from lower layers, by the name @weft/<package>; and some
// packages of the registry belong to one of ours, which alone may import them.

import { dirname, join, normalize } from 'node:path';
import { importsOf } from './imports.mjs';

/** @import { SourceFile } from './files.mjs' */

/** From the lowest up. Packages of one layer do not import each other. */
export const LAYERS = [
  ['common', 'proto', 'native-setup'],
  ['command-line', 'contracts', 'topology', 'files', 'native', 'tensor'],
  ['mixture', 'rpc', 'store', 'remote', 'telemetry', 'backend-tensorflow', 'backend-pjrt'],
  ['config', 'monitoring'],
  ['model', 'scaling', 'recipes', 'collectives', 'coordination', 'checkpoint', 'data'],
  ['tasks', 'weights', 'client', 'sweeps', 'demo-data', 'generation', 'planning'],
  ['evaluation', 'launch', 'simulation'],
  ['training'],
  ['coordinator', 'worker', 'cli', 'dashboard'],
];

/** Beside the layers; only tests import it. */
const TESTS_ONLY = 'testing';

/** Which of our packages alone may import one of the registry; a prefix ending in `/` stands for a scope. */
const OWNERS = Object.entries({
  '@tensorflow/': ['tensor'],
  koffi: ['native'],
  commander: ['command-line', 'cli'],
  pino: ['telemetry'],
  'prom-client': ['telemetry'],
  zod: ['config'],
  yaml: ['config', 'monitoring'],
  '@grafana/': ['monitoring'],
  '@grpc/grpc-js': ['rpc', 'proto'],
  'grpc-health-check': ['rpc', 'testing'],
  bullmq: ['store'],
  ioredis: ['store'],
  '@aws-sdk/': ['remote'],
  '@smithy/': ['remote'],
  sharp: ['data', 'demo-data'],
  '@huggingface/': ['data'],
  hyparquet: ['data'],
  'hyparquet-compressors': ['data'],
  fzstd: ['data'],
  'xxhash-wasm': ['data'],
  'apache-arrow': ['data'],
  preact: ['dashboard'],
  '@preact/': ['dashboard'],
  uplot: ['dashboard'],
});

/**
 * A package as its own files describe it.
 *
 * @typedef {object} Package
 * @property {string} name `tensor`
 * @property {string} folder `packages/tensor`
 * @property {readonly string[]} dependencies names in its package.json, of every kind
 * @property {readonly string[]} references names of the packages its tsconfig.json refers to
 */

/**
 * @param {readonly Package[]} packages
 * @param {readonly SourceFile[]} files sources of packages and of the whole-run tests
 * @returns {string[]} one sentence a finding
 */
export function findForbiddenImports(packages, files) {
  return [...packages.flatMap(findForbiddenDependencies), ...files.flatMap((file) => findInFile(packages, file))];
}

/**
 * @param {Package} importer
 * @returns {string[]}
 */
function findForbiddenDependencies({ name, folder, dependencies, references }) {
  const listed = dependencies.flatMap((each) => (each.startsWith('@weft/') ? [each.slice('@weft/'.length)] : []));
  const wrong = listed.filter((each) => each !== TESTS_ONLY && !mayImport(name, each));
  return [
    ...wrong.map((each) => `${folder}/package.json lists @weft/${each}, which is not in a layer below ${name}`),
    ...references
      .filter((each) => !listed.includes(each))
      .map((each) => `${folder}/tsconfig.json refers to ${each}, which its package.json does not list`),
  ];
}

/**
 * @param {readonly Package[]} packages
 * @param {SourceFile} file
 * @returns {string[]}
 */
function findInFile(packages, { path, text }) {
  const importer = packages.find(({ folder }) => path.startsWith(`${folder}/`));
  const isTest =
    /\.test\.ts$|\.child\.m?[jt]s$|\/testing\//.test(path) || importer === undefined || importer.name === TESTS_ONLY;
  return importsOf(text).flatMap((specifier) => {
    if (specifier.startsWith('.')) return relative(path, specifier, importer);
    if (importer === undefined) return [];
    const weft = /^@weft\/([^/]+)(\/.*)?$/.exec(specifier);
    if (weft?.[1] !== undefined) return internal(path, importer, weft[1], weft[2], isTest);
    const owners = OWNERS.find(([name]) => specifier === name || specifier.startsWith(withSlash(name)))?.[1];
    return owners === undefined || owners.includes(importer.name)
      ? []
      : [`${path} imports ${specifier}, which only ${owners[0]} may import`];
  });
}

/** @param {string} name */
const withSlash = (name) => (name.endsWith('/') ? name : `${name}/`);

/**
 * @param {string} path
 * @param {string} specifier
 * @param {Package | undefined} importer
 */
function relative(path, specifier, importer) {
  const target = normalize(join(dirname(path), specifier));
  if (importer === undefined ? !/^(packages|apps)\//.test(target) : target.startsWith(`${importer.folder}/`)) return [];
  return [`${path} imports ${specifier}, which lies in another package`];
}

/**
 * @param {string} path
 * @param {Package} importer
 * @param {string} other
 * @param {string | undefined} inside
 * @param {boolean} isTest
 */
function internal(path, importer, other, inside, isTest) {
  if (other === importer.name) return isTest ? [] : [`${path} imports its own package by name`];
  if (inside !== undefined) return [`${path} imports @weft/${other}${inside}, from inside another package`];
  if (isTest && other === TESTS_ONLY) return [];
  if (!mayImport(importer.name, other)) {
    return [`${path} imports @weft/${other}, which is not in a layer below ${importer.name}`];
  }
  if (!importer.dependencies.includes(`@weft/${other}`)) {
    return [`${path} imports @weft/${other}, which ${importer.folder}/package.json does not list`];
  }
  if (!isTest && !importer.references.includes(other)) {
    return [`${path} imports @weft/${other}, to which ${importer.folder}/tsconfig.json does not refer`];
  }
  return [];
}

/**
 * @param {string} importer
 * @param {string} other
 * @returns {boolean}
 */
function mayImport(importer, other) {
  if (importer === TESTS_ONLY) return true;
  return layerOf(other) !== -1 && layerOf(other) < layerOf(importer);
}

/** @param {string} importer */
const layerOf = (importer) => LAYERS.findIndex((packages) => packages.includes(importer));
